//! `wapo build`: compiles a project.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use wapod::ByteSize;

use crate::project::{BuildOptions, Project};
use crate::terminal::Terminal;

/// Command line of `wapo build`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folder of the project.
    #[arg(default_value = ".")]
    project: PathBuf,

    /// Compile quickly and without optimisation.
    #[arg(long)]
    debug: bool,

    /// Program to build, when the project has several.
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
}

/// Compiles the project and prints the path of the wasm file.
///
/// # Errors
///
/// As [`Project::open`] and [`Project::build`].
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let project = Project::open(&options.project)?;
    let file = project.build(&BuildOptions {
        is_debug: options.debug,
        bin: options.bin.clone(),
    })?;
    let bytes = std::fs::metadata(&file)
        .context("the wasm file is gone")?
        .len();
    terminal.note("Built", &format!("{} ({})", project.name, ByteSize(bytes)));
    terminal.result(&file.display().to_string());
    Ok(ExitCode::SUCCESS)
}
