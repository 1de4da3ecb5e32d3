//! `wapo repl`: an interactive prompt on the engine of JavaScript.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::run::THREADS_GRACE;
use crate::helper::Allowed;
use crate::script::Script;
use crate::terminal::Terminal;
use crate::{engine, prompt};

/// Command line of `wapo repl`.
#[derive(Args, Debug)]
#[command(after_help = "\
Texts may have several lines and may await. Ctrl-C ends what runs. Standard input may be
a pipe: each whole text of it is evaluated, and the exit code is 1 when one has failed.")]
pub(crate) struct Options {
    /// A program that is evaluated first; what it leaves in the global scope is there,
    /// and its files can be imported.
    program: Option<PathBuf>,

    #[command(flatten)]
    allowed: Allowed,
}

/// Reads and evaluates until the person has had enough.
///
/// # Errors
///
/// No engine, or the terminal fails.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let script = options.program.as_deref().map(|path| {
        Script::find(path)?
            .with_context(|| format!("{} is no program in JavaScript", path.display()))
    });
    let script = script.transpose()?;
    let engine = engine::find(terminal)?;
    let runtime = wapod::runtime_builder()
        .build()
        .context("cannot start threads")?;
    let outcome = runtime.block_on(prompt::run(engine, options.allowed.clone(), script));
    runtime.shutdown_timeout(THREADS_GRACE);
    outcome
}
