//! A module to native code, in this process, and which engines can load it.
//!
//! Without limits: those are what the child process is for. Called by `compiler` and in
//! the child.

/// Compiles a module in this process.
///
/// # Errors
///
/// What is wrong with the module, or [`wasmtime::OutOfMemory`].
pub(super) fn translate(engine: &wasmtime::Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let nulls = crate::externref::replace(wasm);
    let wasm = nulls.as_deref().unwrap_or(wasm);
    let split = crate::bulk::split(wasm);
    engine.precompile_module(split.as_deref().unwrap_or(wasm))
}

/// Identifies what an engine can load: its version and settings.
pub(crate) fn fingerprint(engine: &wasmtime::Engine) -> [u8; 8] {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish().to_le_bytes()
}
