//! The engine of JavaScript apps that the daemon was compiled with.
//!
//! To the worker it is a blob like any other: an app is pinned to the engine that
//! its manifest names, by hash, and engines of several releases run side by side.
//! The daemon never builds one. It keeps its own when the first app that names it
//! is deployed.

use crate::config::Module;

/// The engine and its sha256, if `cargo xtask guests` had built it when the daemon
/// was compiled.
const EMBEDDED: Option<(&[u8], [u8; 32])> =
    include!(concat!(env!("OUT_DIR"), "/javascript_engine.rs"));

/// The hash of the engine, as manifests have it; `None` when there is none.
pub fn engine_hash() -> Option<String> {
    EMBEDDED.map(|(_, hash)| format!("sha256:{}", hex::encode(hash)))
}

/// The engine as a module; `None` when there is none.
pub fn engine() -> Option<Module> {
    EMBEDDED.map(|(wasm, sha256)| Module::with_hash(wasm.to_vec(), sha256))
}
