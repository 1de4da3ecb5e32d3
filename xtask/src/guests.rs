//! Builds the guests: everything in `guests/`, then the workspaces inside it
//! that cannot be members (they depend on another crate named `wapo`). Also what the console has
//! besides its own files: the editor, and the verifier of the page `/verify`.
//!
//! All of them share one target folder, so tests find every wasm file in
//! `guests/target/wasm32-wasip1/release/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::engine_build::{CLANG, EngineBuild, write_if_changed};
use crate::reproducible::in_two_folders;
use crate::toolchain::{self, Toolchain};
use crate::{editor, process, setup, verify_page};

/// Guests in C.
const C_FOLDER: &str = "guests/fixtures/c";

/// Workspaces below `guests/`, each with the package that is built in another
/// way; the first is `guests/` itself.
const WORKSPACES: &[(&str, Option<&str>)] =
    &[("guests", Some("wapo-js")), ("guests/compat-v0", None)];

/// Where the daemon and the command find the engine of JavaScript apps when they
/// are compiled.
const ENGINE: &str = "guests/wapo-js/built/wapo-js.wasm";

/// Builds what has changed.
///
/// # Errors
///
/// No compiler for guests, or a guest does not compile.
pub(crate) fn run() -> Result<()> {
    let toolchain = setup::run()?;
    let root = process::root();
    let target = root.join("guests/target");
    for (workspace, left_out) in WORKSPACES {
        let folder = root.join(workspace);
        if !folder.join("Cargo.toml").exists() {
            bail!("{workspace}/Cargo.toml is missing");
        }
        let mut cargo = toolchain.cargo("build", &target)?;
        cargo
            .args(["--release", "--workspace"])
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", &target);
        if let Some(package) = left_out {
            cargo.args(["--exclude", package]);
        }
        process::run(&mut cargo)?;
    }
    engine_with(&toolchain)?;
    editor::run()?;
    verify_page::run_if_possible()?;
    c_programs(&target.join(toolchain::TARGET).join("release"))
}

/// Builds the engine of JavaScript apps alone.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn engine() -> Result<()> {
    engine_with(&setup::run()?)
}

/// Builds the engine and puts it where the daemon is compiled with it, unless the
/// machine lacks something.
fn engine_with(toolchain: &Toolchain) -> Result<()> {
    if let Some(lack) = EngineBuild::lack() {
        println!("JavaScript apps cannot be run by what is built now: {lack}");
        return Ok(());
    }
    let root = process::root();
    let build = EngineBuild::new(root.clone(), root.join("guests/target/wapo-js"));
    let wasm = build.build(toolchain).map_err(|text| anyhow!(text))?;
    let path = root.join(ENGINE);
    // A file that is as it was does not have the daemon compiled again.
    write_if_changed(&path, &wasm).context(ENGINE)?;
    println!("{ENGINE}: {} bytes", wasm.len());
    Ok(())
}

/// Has clippy look at the engine of JavaScript apps, which is compiled for wasm only.
///
/// # Errors
///
/// A warning, or the machine lacks something.
pub(crate) fn clippy() -> Result<()> {
    let toolchain = setup::run()?;
    if let Some(lack) = EngineBuild::lack() {
        bail!("{lack}");
    }
    let root = process::root();
    let build = EngineBuild::new(root.clone(), root.join("guests/target/wapo-js"));
    build.clippy(&toolchain).map_err(|text| anyhow!(text))
}

/// Has the `wapo` command build the engine as it does at first use, where it was
/// compiled without one: from the sources that it carries, into an empty cache. It has
/// to be the engine of this checkout, and the second use has to build nothing.
///
/// # Errors
///
/// It is another engine, or the machine lacks something.
pub(crate) fn first_use() -> Result<()> {
    let root = process::root();
    process::run(&mut process::cargo(&["build", "--workspace"]))?;
    let place = root.join("target/first-use");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let file = place.join("engine.wasm");
    let ask = || {
        let mut wapo = Command::new(root.join("target/debug/wapo"));
        wapo.args(["engine", "--build", "--output"]).arg(&file);
        wapo.env("XDG_CACHE_HOME", place.join("cache"));
        wapo
    };
    process::run(&mut ask())?;
    let ours = fs::read(root.join(ENGINE)).context(ENGINE)?;
    ensure!(
        fs::read(&file)? == ours,
        "wapo builds another engine than `cargo xtask guests`"
    );
    // Without a compiler on the path.
    process::run(ask().env("PATH", "/nowhere"))?;
    fs::remove_dir_all(&place)?;
    println!("wapo builds the same engine at first use, once");
    Ok(())
}

/// Builds the engine in two folders of other names and compares: its hash is
/// what apps are pinned to.
///
/// # Errors
///
/// As [`run`], or the two differ.
pub(crate) fn reproducible() -> Result<()> {
    let toolchain = setup::run()?;
    if let Some(lack) = EngineBuild::lack() {
        bail!("{lack}");
    }
    let built = in_two_folders(|folder| {
        let build = EngineBuild::new(folder.to_owned(), folder.join("guests/target/wapo-js"));
        build.build(&toolchain).map_err(|text| anyhow!(text))
    })?;
    ensure!(
        built[0] == built[1],
        "the engine depends on the folder that it is built in"
    );
    println!(
        "the engine is the same in two folders: {} bytes",
        built[0].len()
    );
    Ok(())
}

/// Builds the guests in C, each of one file, as reactors.
fn c_programs(target: &Path) -> Result<()> {
    if !toolchain::on_path(CLANG) {
        println!(
            "no {} here: guests in C are not built; `cargo xtask setup` installs it",
            CLANG
        );
        return Ok(());
    }
    let folder = process::root().join(C_FOLDER);
    for entry in fs::read_dir(&folder).context(C_FOLDER)? {
        let source = entry?.path();
        let Some(name) = source.file_stem() else {
            continue;
        };
        let mut clang = Command::new(CLANG);
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
