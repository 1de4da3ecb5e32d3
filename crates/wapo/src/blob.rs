//! Blobs: files of the worker, known by their hash.

use crate::error::Result;
use crate::sys::calls;

/// Reads a blob by its hash: `sha256:` or `sha512:` and hexadecimal digits.
///
/// The other tasks of the guest stand still while the host reads.
///
/// # Errors
///
/// [`crate::Error::NOT_FOUND`] when the worker does not have it,
/// [`crate::Error::IO_ERROR`] for a hash that is none or contents that do not
/// match it, [`crate::Error::RESOURCE_LIMITED`] when it is too large.
pub fn get(hash: &str) -> Result<Vec<u8>> {
    calls::blob_get(hash)
}
