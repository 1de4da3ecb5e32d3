//! Proving to others what runs here: signatures, hardware quotes, evidence.
//!
//! For TLS with a certificate that has the evidence see
//! [`crate::net::ListenOptions::attested`] and [`crate::net::SniOptions::attested`].

use std::future::poll_fn;

use crate::error::Result;
use crate::handle::Handle;
use crate::sys::calls;
use crate::task::poll_call;

/// Signs data with the worker's key in the name of this app.
///
/// The signature is sr25519 over the app's address and the data, marked so
/// that it can never pass for anything else the worker signs.
///
/// # Errors
///
/// [`crate::Error::INVALID_PARAMETER`] when there is too much data.
pub fn sign(data: &[u8]) -> Result<Vec<u8>> {
    calls::sign(data)
}

/// The worker's public key, which checks what [`sign`] signs.
///
/// # Errors
///
/// Only when there is no host.
pub fn worker_key() -> Result<[u8; 32]> {
    calls::worker_pubkey()
}

/// A hardware quote that binds data to this app; `None` outside an enclave.
///
/// The other tasks of the guest stand still while the hardware works.
///
/// # Errors
///
/// [`crate::Error::INVALID_PARAMETER`] when there is too much data.
pub fn quote(data: &[u8]) -> Result<Option<Vec<u8>>> {
    calls::sgx_quote(data)
}

/// Evidence that this app runs on this worker, inside what hardware attests: an encoded
/// `AppEvidence`, which `wapo verify app` and the crate `wapo-verify` read.
///
/// With a nonce (at most 64 bytes, of the verifier) the hardware makes a quote
/// for it, which costs gas and has to wait for its turn; with an empty one it is some hours
/// old at most. The nonce may also be the hash of a key that the guest keeps to itself:
/// the evidence then says that the key is this app's.
///
/// # Errors
///
/// [`crate::Error::UNSUPPORTED_OPERATION`] where the worker can prove nothing,
/// [`crate::Error::INVALID_PARAMETER`] when the nonce is too long,
/// [`crate::Error::RESOURCE_LIMITED`] while the app waits for too many,
/// [`crate::Error::IO_ERROR`] when the hardware has made no quote. The app's log says more.
///
/// # Cancel safety
///
/// Dropping the future gives the wish up.
pub async fn evidence(nonce: &[u8]) -> Result<Vec<u8>> {
    let handle: Handle = calls::make_evidence(nonce)?.into();
    poll_fn(|cx| poll_call(cx, |waker| calls::take_evidence(waker, handle.get()))).await
}
