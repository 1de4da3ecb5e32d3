//! Runs the `bench` package, which measures ours beside native code.

use std::env;
use std::process::Command;

use anyhow::Result;

use crate::guests;
use crate::process::{self, stage};

/// Measures. `--smoke` runs each row once, briefly, in the profile and target
/// folder of the tests: it proves that the bench works and says nothing of speed.
///
/// # Errors
///
/// A guest or the bench does not build, or a measurement fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    stage("guests", guests::run)?;
    let smoke = arguments.contains(&"--smoke");
    if smoke {
        stage("bench --smoke", || {
            process::run(smoke_command()?.args(arguments))
        })
    } else {
        stage("bench", || process::run(full_command()?.args(arguments)))
    }
}

/// The bench as it is published: with the daemon that some rows start beside it.
fn full_command() -> Result<Command> {
    let packages = ["--package", "bench", "--package", "wapod"];
    let build = [&["build", "--release"], packages.as_slice()].concat();
    process::run(&mut process::cargo(&build))?;
    let mut command = process::cargo(&["run", "--release", "--package", "bench", "--"]);
    // With it, every error takes a backtrace, also those by which instances end.
    command.env_remove("RUST_BACKTRACE");
    Ok(command)
}

/// The bench as the tests' profile builds it. Built with the whole workspace:
/// a selection of packages has other features, and half the tree would compile
/// again.
fn smoke_command() -> Result<Command> {
    process::run(&mut process::cargo(&["build", "--workspace"]))?;
    let mut command = Command::new(env::current_exe()?.with_file_name("bench"));
    command.current_dir(process::root());
    Ok(command)
}
