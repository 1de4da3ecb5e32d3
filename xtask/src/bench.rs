//! Runs the `bench` package, which measures ours beside native code.

use std::env;
use std::process::Command;

use anyhow::Result;

use crate::engine_build::fetch_packages;
use crate::guests;
use crate::process::{self, stage};

/// The lock file of workerd, beside which JavaScript apps are measured.
const WORKERD: &str = "bench/workerd";
/// Where it is fetched to, and where the bench looks for it.
const WORKERD_FETCHED: &str = "target/workerd";

/// Measures. `--smoke` runs each row once, briefly, in the profile and target
/// folder of the tests: it proves that the bench works and says nothing of speed.
///
/// # Errors
///
/// A guest or the bench does not build, or a measurement fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    stage("guests", guests::run)?;
    stage("quickjs", || process::run(&mut quickjs_command()))?;
    let smoke = arguments.contains(&"--smoke");
    if smoke {
        stage("bench --smoke", || {
            process::run(smoke_command()?.args(arguments))
        })
    } else {
        // Some 100 MB, and only one row's: without it the row says that it goes without.
        let root = process::root();
        if let Err(error) = fetch_packages(&root.join(WORKERD), &root.join(WORKERD_FETCHED)) {
            println!("workerd is not fetched: {error}");
        }
        stage("bench", || process::run(full_command()?.args(arguments)))
    }
}

/// The engine of JavaScript apps natively. A workspace of its own, because features
/// of packages that both need would be others in all that is built.
fn quickjs_command() -> Command {
    process::cargo(&[
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "bench/quickjs/Cargo.toml",
        "--target-dir",
        "target/quickjs",
    ])
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
