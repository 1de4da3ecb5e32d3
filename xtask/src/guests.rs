//! Builds the guests: everything in `guests/`, then the workspaces inside it
//! that cannot be members (they depend on another crate named `wapo`).
//!
//! All of them share one target folder, so tests find every wasm file in
//! `guests/target/wasm32-wasip1/release/`.

use anyhow::{Result, bail};

use crate::{process, setup};

/// Workspaces below `guests/`; the first is `guests/` itself.
const WORKSPACES: &[&str] = &["guests", "guests/compat-v0"];

/// Builds what has changed.
///
/// # Errors
///
/// No compiler for guests, or a guest does not compile.
pub(crate) fn run() -> Result<()> {
    let toolchain = setup::run()?;
    let root = process::root();
    let target = root.join("guests/target");
    for workspace in WORKSPACES {
        let folder = root.join(workspace);
        if !folder.join("Cargo.toml").exists() {
            bail!("{workspace}/Cargo.toml is missing");
        }
        let mut cargo = toolchain.cargo("build", &target)?;
        cargo
            .args(["--release", "--workspace"])
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", &target);
        process::run(&mut cargo)?;
    }
    Ok(())
}
