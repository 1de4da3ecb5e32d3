//! Secrets of the app, and random bytes.

use crate::error::Result;
use crate::sys::calls;

/// Derives a secret that only this app on this worker can have.
///
/// The same path gives the same 64 bytes, also after a restart.
///
/// # Errors
///
/// [`crate::Error::INVALID_PARAMETER`] for a path of more than 256 bytes.
pub fn derive(path: impl AsRef<[u8]>) -> Result<[u8; 64]> {
    calls::derive_secret(path.as_ref())
}

/// Fills a buffer with random bytes that are fit for keys.
///
/// # Errors
///
/// [`crate::Error::INVALID_PARAMETER`] when the host refuses so many at a time.
pub fn random(buffer: &mut [u8]) -> Result<()> {
    calls::getrandom(buffer)
}
