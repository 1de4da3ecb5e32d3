//! Boot data: one sealed record of the app that outlives its instances.
//!
//! Meant for what an app needs to find its feet again, such as a key or a
//! pointer to its state: at most 64 KiB, encrypted by the worker, readable by
//! this app on this worker only.

use crate::error::Result;
use crate::sys::calls;

/// Reads the record; `None` when none was written yet.
///
/// # Errors
///
/// [`crate::Error::IO_ERROR`] when it cannot be read or was tampered with.
pub fn read() -> Result<Option<Vec<u8>>> {
    calls::read_boot_data()
}

/// Replaces the record.
///
/// # Errors
///
/// [`crate::Error::INVALID_PARAMETER`] when it is too long,
/// [`crate::Error::IO_ERROR`] when it cannot be written.
pub fn write(data: &[u8]) -> Result<()> {
    calls::write_boot_data(data)
}
