//! What CI runs, and the long runs that it does not.
//!
//! One profile, one target folder, one feature set: two cores finish within 40
//! minutes. The order is that of cost, so that a slip shows early.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::process::{self, stage};
use crate::{
    bench, codegen, grpc, guests, instructions, openapi, reproducible, sgx, sslyze, test, tidy,
    toolchain, types, websockets,
};

/// A longer run is a defect: people stop waiting for it.
const MINUTES_MAX: u64 = 40;
/// How long each fuzz target runs: the corpus grows from run to run, so many
/// short ones find as much as a long one, and all of them end in a coffee break.
const FUZZ_SECONDS: u32 = 60;
/// Targets that run guests, which are not looked at for leaks.
///
/// The search for leaks has reported the runtime's own tasks, which live as long as its
/// threads and are held by their stacks. A guest has another stack; most likely the search
/// fell into a moment at which a thread was on that one.
const WITH_GUESTS: &[&str] = &["dispatch"];

/// Everything CI runs, in order of cost.
///
/// # Errors
///
/// The first stage that fails, or all of them together took too long.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    checks()?;
    test::run(&[])?;
    rest()?;
    let minutes = start.elapsed().as_secs() / 60;
    println!("== ci: {minutes} min");
    ensure!(
        minutes < MINUTES_MAX,
        "CI must take less than {MINUTES_MAX} minutes"
    );
    Ok(())
}

/// What runs before the tests, because it is quick.
///
/// # Errors
///
/// The first stage that fails.
pub(crate) fn checks() -> Result<()> {
    stage("fmt", fmt)?;
    stage("tidy", tidy::run)?;
    stage("codegen --check", || codegen::run(codegen::Mode::Check))?;
    stage("modules of the console", console_modules)?;
    stage("clippy", clippy)
}

/// What runs after the tests.
///
/// # Errors
///
/// The first stage that fails.
pub(crate) fn rest() -> Result<()> {
    stage("docs", docs)?;
    stage("clippy of the JavaScript engine", guests::clippy)?;
    types::run()?;
    openapi::run()?;
    grpc::run()?;
    sslyze::run()?;
    websockets::run()?;
    sgx::check()?;
    stage("a small crate in two folders", reproducible::small)?;
    instructions::gate()?;
    bench::run(&["--smoke"])
}

/// Long runs, by hand before a release: engine and daemon built twice, the engine by the command at
/// first use, fuzzing, a minute for each target, and the full bench.
///
/// # Errors
///
/// The first that fails.
pub(crate) fn nightly() -> Result<()> {
    stage("the engine in two folders", guests::reproducible)?;
    stage("the daemon in two folders", reproducible::daemon)?;
    stage("the engine at first use", guests::first_use)?;
    fuzz()?;
    instructions::run(&[])?;
    bench::run(&[])
}

fn fmt() -> Result<()> {
    process::run(&mut process::cargo(&["fmt", "--all", "--check"]))?;
    let guests = process::root().join("guests");
    process::run(process::cargo(&["fmt", "--all", "--check"]).current_dir(guests))
}

/// The tests beside the console's modules. What they cover is also used by the
/// browser's tests, so a machine without node loses only the better messages.
fn console_modules() -> Result<()> {
    if !toolchain::on_path("node") {
        println!("node is not installed; the browser's tests use these modules, too");
        return Ok(());
    }
    let folder = process::root().join("crates/wapod/console/tests");
    process::run(Command::new("node").arg("--test").arg(folder))
}

fn clippy() -> Result<()> {
    process::run(&mut process::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs() -> Result<()> {
    process::run(
        process::cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// The fuzzing of the long runs alone.
///
/// # Errors
///
/// A tool is missing, or a target has found something.
pub(crate) fn fuzz() -> Result<()> {
    stage("fuzz", run_fuzzers)
}

/// Runs each target for a minute, with the seeds that the tests use and what
/// earlier runs have found.
fn run_fuzzers() -> Result<()> {
    let folder = process::root().join("fuzz");
    let works = |command: &mut Command| process::read(command).is_ok();
    ensure!(
        works(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])),
        "no nightly compiler, which fuzzing needs: rustup toolchain install nightly"
    );
    ensure!(
        works(Command::new("cargo").args(["fuzz", "--version"])),
        "cargo-fuzz is not installed: cargo install cargo-fuzz --locked"
    );
    let fuzz = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "fuzz"]);
        command.args(arguments).current_dir(&folder);
        command
    };
    // A workspace of its own would take the newest version of everything: what is looked
    // at is what is built. cargo adds what fuzzing alone needs.
    fs::copy(
        process::root().join("Cargo.lock"),
        folder.join("Cargo.lock"),
    )?;
    let limit = format!("-max_total_time={FUZZ_SECONDS}");
    for target in process::read(&mut fuzz(&["list"]))?.lines() {
        println!("-- {target}, {FUZZ_SECONDS} s");
        let corpus = format!("corpus/{target}");
        plant(&folder.join("seeds").join(target), &folder.join(&corpus))?;
        let mut arguments = vec!["run", target, &corpus, "--", &limit];
        if WITH_GUESTS.contains(&target) {
            arguments.push("-detect_leaks=0");
        }
        process::run(&mut fuzz(&arguments))?;
    }
    Ok(())
}

/// Puts the seeds of a target, if there are any, into its corpus. What is no text
/// is written in hex there, and as bytes here; texts of modules stay what they are,
/// and their target translates them.
fn plant(seeds: &Path, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus)?;
    if !seeds.exists() {
        return Ok(());
    }
    for file in fs::read_dir(seeds)? {
        let path = file?.path();
        let mut bytes = fs::read(&path)?;
        if path.extension().is_some_and(|extension| extension == "hex") {
            let text = String::from_utf8(bytes)?;
            let digits = text.trim().as_bytes().chunks(2);
            let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
            bytes = digits.map(byte).collect::<Result<_>>()?;
        }
        if let Some(name) = path.file_name() {
            fs::write(corpus.join(name), bytes)?;
        }
    }
    Ok(())
}
