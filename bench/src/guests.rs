//! Finds the guests that `cargo xtask guests` built.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout.
pub(crate) fn root() -> &'static Path {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench)
}

/// Where the wasm file of a guest is.
pub(crate) fn path(name: &str) -> PathBuf {
    root()
        .join("guests/target/wasm32-wasip1/release")
        .join(name)
        .with_extension("wasm")
}

/// The engine of JavaScript apps, where `cargo xtask guests` puts it.
pub(crate) fn javascript_engine() -> PathBuf {
    root().join("guests/wapo-js/built/wapo-js.wasm")
}

/// The wasm file of a guest.
///
/// # Errors
///
/// It was not built.
pub(crate) fn read(name: &str) -> Result<Vec<u8>> {
    let path = path(name);
    std::fs::read(&path)
        .with_context(|| format!("cannot read {}; run `cargo xtask guests`", path.display()))
}
