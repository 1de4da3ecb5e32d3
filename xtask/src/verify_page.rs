//! Builds the verifier that the page `/verify` runs in the browser, into one wasm file
//! that the daemon is compiled with.
//!
//! Without the target or a C compiler for it there is none, and the page says how to get
//! it. Called by `guests`.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result, bail};

use crate::engine_build::{ARCHIVER, CLANG, write_if_changed};
use crate::reproducible;
use crate::setup::{self, PAGE_TARGET};
use crate::{process, toolchain};

/// Where the daemon finds it when it is compiled.
const BUILT: &str = "crates/wapod/console/built/verify.wasm";
/// Cargo's target folder for it, apart from that of the workspace: other flags would have
/// all of that compiled again.
const TARGET_FOLDER: &str = "target/verify-page";

/// Builds it, unless the machine lacks something: then there is none, not an older one
/// that the daemon would be compiled with.
///
/// # Errors
///
/// It does not compile.
pub(crate) fn run_if_possible() -> Result<()> {
    let Some(lack) = lack() else {
        return build();
    };
    println!("the page /verify has no verifier in what is built now: {lack}");
    match fs::remove_file(process::root().join(BUILT)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context(BUILT),
        _ => Ok(()),
    }
}

/// Builds it.
///
/// # Errors
///
/// The machine lacks something, or it does not compile.
pub(crate) fn run() -> Result<()> {
    match lack() {
        None => build(),
        Some(lack) => bail!("the verifier of the page /verify cannot be built: {lack}"),
    }
}

fn build() -> Result<()> {
    let root = process::root();
    let mut cargo = reproducible::cargo(
        &root,
        &[
            "rustc",
            "--package=wapo-verify-page",
            "--lib",
            "--crate-type=cdylib",
            "--profile=dist",
            "--target",
            PAGE_TARGET,
            "--target-dir",
            TARGET_FOLDER,
        ],
    );
    cargo
        .env("CC_wasm32_unknown_unknown", CLANG)
        .env("AR_wasm32_unknown_unknown", ARCHIVER);
    process::run(&mut cargo)?;
    let folder = root.join(TARGET_FOLDER).join(PAGE_TARGET).join("dist");
    let built = folder.join("wapo_verify_page.wasm");
    let wasm = fs::read(&built).with_context(|| built.display().to_string())?;
    // A file that is as it was does not have the daemon compiled again.
    write_if_changed(&root.join(BUILT), &wasm).context(BUILT)?;
    println!("{BUILT}: {} bytes", wasm.len());
    Ok(())
}

/// What the machine lacks.
fn lack() -> Option<String> {
    if !setup::has_target(PAGE_TARGET) {
        return Some(format!("rustup target add {PAGE_TARGET}"));
    }
    let mut programs = [CLANG, ARCHIVER].into_iter();
    let missing = programs.find(|program| !toolchain::on_path(program))?;
    Some(format!(
        "no {missing} here; `cargo xtask setup` installs it"
    ))
}
