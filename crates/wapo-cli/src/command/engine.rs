//! `wapo engine`: the engine of programs in JavaScript that this command has, or builds.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::engine;
use crate::terminal::Terminal;

/// Command line of `wapo engine`.
#[derive(Args, Debug)]
#[command(after_help = "\
Prints the hash of the engine. `wapo run` and `wapo deploy` find it, or build it, by
themselves; a worker that has none takes the file as a blob.")]
pub(crate) struct Options {
    /// Take the engine that is built from the sources in this command, not the one that
    /// it was compiled with.
    #[arg(long)]
    build: bool,

    /// Write the engine to a file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Finds the engine, or builds it.
///
/// # Errors
///
/// There is none and it cannot be built, or the file cannot be written.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let engine = match options.build {
        true => engine::of_sources(terminal)?,
        false => engine::find(terminal)?,
    };
    if let Some(file) = &options.output {
        let written = std::fs::write(file, engine.wasm());
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    terminal.result(&engine.hash());
    Ok(ExitCode::SUCCESS)
}
