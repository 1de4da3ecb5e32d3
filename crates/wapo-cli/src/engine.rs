//! The engine of JavaScript apps: in this command, else in the cache, else built
//! now, from the sources that the command carries.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use wapod::{Module, javascript};

use crate::engine_build::EngineBuild;
use crate::folders;
use crate::sdk;
use crate::terminal::Terminal;
use crate::toolchain::Toolchain;

/// The engine in the folder of its version in the cache.
const FILE: &str = "wapo-js.wasm";

/// The engine, at whatever cost. Blocks; a build takes minutes.
///
/// # Errors
///
/// There is none, and the machine lacks what it is built with; the message says
/// what.
pub(crate) fn find(terminal: &Terminal) -> Result<Module> {
    match javascript::engine() {
        Some(engine) => Ok(engine),
        None => of_sources(terminal),
    }
}

/// The engine of the sources that this command carries: from the cache, else built
/// now. Blocks; a build takes minutes.
///
/// # Errors
///
/// As [`find`].
pub(crate) fn of_sources(terminal: &Terminal) -> Result<Module> {
    let folder = folders::cache()?.join(format!("engine-{}", sdk::ENGINE_HASH));
    let file = folder.join(FILE);
    if file.is_file() {
        return Ok(Module::read(&file)?);
    }
    let toolchain = Toolchain::detect().map_err(anyhow::Error::msg)?;
    let (lack, toolchain) = match (EngineBuild::lack(), toolchain) {
        (None, Some(toolchain)) => (None, Some(toolchain)),
        (Some(lack), _) => (Some(lack), None),
        (None, None) => (Some(Toolchain::advice()), None),
    };
    let Some(toolchain) = toolchain else {
        bail!("{}", lack.unwrap_or_default());
    };
    let text = format!(
        "the JavaScript engine into {}; this is done once and takes some minutes",
        folder.display()
    );
    terminal.note("Building", &text);
    build(&folder, &toolchain)?;
    Ok(Module::read(&file)?)
}

/// Builds the engine in a folder of its own, of which only the result is kept.
fn build(folder: &Path, toolchain: &Toolchain) -> Result<()> {
    let work = folder.with_extension(std::process::id().to_string());
    sdk::write_engine(&work).with_context(|| format!("cannot write to {}", work.display()))?;
    let built = EngineBuild::new(work.clone(), work.join("target")).build(toolchain);
    let kept = built.map_err(|text| anyhow!(text)).and_then(|wasm| {
        fs::create_dir_all(folder)?;
        // It appears under its name when it is whole.
        let partial = work.join(FILE);
        fs::write(&partial, wasm)?;
        fs::rename(partial, folder.join(FILE)).context("cannot keep the engine")
    });
    // What it was made of can be made again.
    let _ = fs::remove_dir_all(&work);
    kept
}
