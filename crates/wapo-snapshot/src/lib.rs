//! A module starts from the image of its memory.
//!
//! [`snapshot`] runs one export of a module and gives a module that begins where
//! that call ended: what the export computed is in its data segments and globals.
//! It works on one that needs nothing of the host meanwhile, so that every
//! instance can begin there; what would bring the outside world into the image is
//! an error. The same bytes in give the same bytes out.
//!
//! Not a host: nothing of Wapo is known here. Used when the engine of JavaScript
//! apps is built, by `cargo xtask guests` and by the `wapo` command.

#![forbid(unsafe_code)]

mod check;
mod error;
mod execute;
mod rewrite;

pub use error::Error;

/// Runs an export of a module and gives a module that begins with the result.
///
/// The export takes and returns nothing, and is not in the result. Calls to the
/// host are errors, except `clock_time_get`, which says 0 at all times, and
/// `fd_write`, whose text becomes part of the error when the call traps.
///
/// # Errors
///
/// The module is none, has something that an image cannot keep (imported or
/// shared memory, passive segments, tables that change), calls the host, or traps.
pub fn snapshot(module: &[u8], export: &str) -> Result<Vec<u8>, Error> {
    let facts = check::check(module, export)?;
    let prepared = rewrite::with_exports(module, &facts)?;
    let image = execute::run(&prepared, export, &facts)?;
    let result = rewrite::with_image(module, export, &facts, &image)?;
    // What was written by hand above is a module, or nobody gets it.
    wasmparser::Validator::new().validate_all(&result)?;
    Ok(result)
}
