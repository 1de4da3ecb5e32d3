//! Builds the guests: everything in `guests/`, then the workspaces inside it
//! that cannot be members (they depend on another crate named `wapo`).
//!
//! All of them share one target folder, so tests find every wasm file in
//! `guests/target/wasm32-wasip1/release/`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain;
use crate::{process, setup};

/// Guests in C.
const C_FOLDER: &str = "guests/fixtures/c";

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
    c_programs(&target.join(toolchain::TARGET).join("release"))
}

/// Builds the guests in C, each of one file, as reactors.
fn c_programs(target: &Path) -> Result<()> {
    if !toolchain::on_path(setup::CLANG) {
        println!(
            "no {} here: guests in C are not built; `cargo xtask setup` installs it",
            setup::CLANG
        );
        return Ok(());
    }
    let folder = process::root().join(C_FOLDER);
    for entry in std::fs::read_dir(&folder).context(C_FOLDER)? {
        let source = entry?.path();
        let Some(name) = source.file_stem() else {
            continue;
        };
        let mut clang = Command::new(setup::CLANG);
        // Debian's C library has its folders below this name of the target.
        clang
            .args(["--target=wasm32-wasi", "-Wno-deprecated"])
            .args(["-mexec-model=reactor", "-O2", "-Wall", "-Werror", "-o"])
            .arg(target.join(name).with_extension("wasm"))
            .arg(&source);
        process::run(&mut clang)?;
    }
    Ok(())
}
