//! Proving to others what runs here: signatures and hardware quotes.

use crate::error::Result;
use crate::sys::calls;

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
