//! Looks at a module before anything is spent on it.
//!
//! What the file itself tells is told at once, in words for its author:
//! a missing export, an import that no host has, a memory or a table beyond the
//! limits, a part of WebAssembly that is switched off (`outline`, `imports`,
//! `features`), and what would make the compiler work for ever (`costs`). Takes
//! some milliseconds for each megabyte and little memory. A module that passes
//! may still be invalid; the compiler says so. Called by `module_cache`.

mod costs;
mod features;
mod imports;
mod outline;

use crate::limits::MODULE_BYTES_MAX;
use crate::load_error::LoadError;
use imports::KnownImports;
pub(crate) use outline::Outline;
use outline::size;

/// What the modules of an engine are checked against.
pub(crate) struct Precheck {
    imports: KnownImports,
    memory_max_bytes: u64,
}

impl Precheck {
    /// For modules whose instances may have this much linear memory.
    ///
    /// # Errors
    ///
    /// The engine cannot name its imports.
    pub(crate) fn new(engine: &wasmtime::Engine, memory_max_bytes: u64) -> wasmtime::Result<Self> {
        Ok(Self {
            imports: KnownImports::new(engine)?,
            memory_max_bytes,
        })
    }

    /// Checks everything but the bodies of functions.
    ///
    /// # Errors
    ///
    /// [`LoadError`] with the first thing that is wrong.
    pub(crate) fn outline<'a>(&self, wasm: &'a [u8]) -> Result<Outline<'a>, LoadError> {
        check_header(wasm)?;
        let outline = Outline::read(wasm)?;
        self.imports.check(&outline)?;
        outline.check_exports()?;
        outline.check_size(self.memory_max_bytes)?;
        outline.check_segments(wasm)?;
        Ok(outline)
    }

    /// Checks the bodies of functions: what compiling them would cost.
    ///
    /// # Errors
    ///
    /// [`LoadError::TooCostly`], or a part of WebAssembly that is switched off.
    pub(crate) fn costs(&self, outline: &Outline<'_>) -> Result<(), LoadError> {
        costs::check(outline)
    }
}

/// Checks the first bytes and the size.
///
/// # Errors
///
/// It is no module.
pub(crate) fn check_header(wasm: &[u8]) -> Result<(), LoadError> {
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge(wasm.len()));
    }
    match wasm {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Err(LoadError::Component),
        [0, b'a', b's', b'm', ..] => Err(LoadError::Invalid(
            "unknown version of the format".to_owned(),
        )),
        _ => Err(LoadError::NotWasm),
    }
}

/// Checks the memory that a module begins with against that of its app.
///
/// # Errors
///
/// [`LoadError::Exceeds`].
pub(crate) fn check_memory_of_app(needed_bytes: u64, max_bytes: u64) -> Result<(), LoadError> {
    if needed_bytes <= max_bytes {
        return Ok(());
    }
    Err(LoadError::Exceeds(format!(
        "the module begins with {} of memory, and the app may have {}; give it more with -m (--memory)",
        size(needed_bytes),
        size(max_bytes),
    )))
}
