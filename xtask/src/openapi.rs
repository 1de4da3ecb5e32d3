//! Compares a worker with `docs/openapi.json`: schemathesis, a program from PyPI,
//! makes up requests from the document and checks that the answers are those that
//! it promises.
//!
//! The worker is a throw-away one (`e2e/examples/worker.rs`). Same seed, same
//! requests. `Operation.WorkerExit` is left out, because it ends the worker.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process::{self, stage};
use crate::setup;

/// Names and versions of what is installed.
const REQUIREMENTS: &str = "e2e/openapi/requirements.txt";
/// Where it is installed.
const ENVIRONMENT: &str = "target/schemathesis";
/// Patience with PyPI: some 20 MB.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
/// Patience with one port. Half a minute on two quiet cores does for both.
const RUN_LIMIT: Duration = Duration::from_secs(240);
/// Requests per operation of the phase that makes them up at random.
const EXAMPLES_MAX: &str = "10";
/// Patience with one answer, in seconds.
const ANSWER_LIMIT_S: &str = "30";
/// The calls of the user port; all else is on the admin port.
const USER_PATHS: &str = "^/prpc/User[.]";
/// Any number; a failure can be had again with the same.
const SEED: &str = "20220";
/// What is checked of each answer. Whether a bad request is refused is not: the
/// document says what a worker must understand, and it may understand more.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";

/// Compares.
///
/// # Errors
///
/// Python or its packages cannot be had, or an answer is not as promised; what
/// was printed says which.
pub(crate) fn run() -> Result<()> {
    let program = stage("schemathesis, installed", install)?;
    stage("schemathesis", || compare(&program))
}

/// Makes sure that the program is there in the right version.
fn install() -> Result<PathBuf> {
    let root = process::root();
    let (folder, wanted) = (root.join(ENVIRONMENT), root.join(REQUIREMENTS));
    let program = folder.join("bin/schemathesis");
    let stamp = folder.join("requirements.txt");
    let is_same = fs::read(&stamp).is_ok_and(|old| fs::read(&wanted).is_ok_and(|new| new == old));
    if is_same && program.exists() {
        return Ok(program);
    }
    setup::python()?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    process::run_limited(&mut venv, INSTALL_LIMIT)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&wanted);
    process::run_limited(&mut pip, INSTALL_LIMIT)
        .with_context(|| format!("cannot install {REQUIREMENTS}: is there a way to PyPI?"))?;
    fs::copy(wanted, stamp)?;
    Ok(program)
}

/// Each port has its own calls.
fn compare(program: &Path) -> Result<()> {
    let worker = Worker::start()?;
    let check = |url: &str, select: &str| {
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg(process::root().join("docs/openapi.json"))
            .args(["--url", url, select, USER_PATHS, "--seed", SEED])
            .args(["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES_MAX])
            .args(["--checks", CHECKS, "--warnings", "off", "--no-shrink"])
            .args(["--exclude-operation-id", "Operation.WorkerExit"])
            .args(["--request-timeout", ANSWER_LIMIT_S, "--continue-on-failure"])
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", process::root().join("e2e/openapi"))
            .env("WAPO_ADMIN_URL", &worker.admin)
            // Where it keeps what it has seen failing, to try that first.
            .current_dir(process::root().join("target"));
        process::run_limited(&mut command, RUN_LIMIT)
    };
    check(&worker.admin, "--exclude-path-regex")?;
    check(&worker.user, "--include-path-regex")
}

/// A worker that ends with this value: its standard input ends then.
struct Worker {
    process: Child,
    admin: String,
    user: String,
}

impl Worker {
    fn start() -> Result<Self> {
        // Of the whole workspace: one package alone has other features, and half
        // the tree would be compiled again.
        process::run(&mut process::cargo(&[
            "build",
            "--workspace",
            "--example",
            "worker",
        ]))?;
        let program = std::env::current_exe()?.with_file_name("examples");
        let mut process = Command::new(program.join("worker"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("it is piped")?;
        let mut worker = Self {
            process,
            admin: String::new(),
            user: String::new(),
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the worker did not start")?;
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        (worker.admin, worker.user) = (text("admin"), text("user"));
        ensure!(!worker.admin.is_empty(), "the worker said {line}");
        Ok(worker)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            eprintln!("warning: the worker does not end: {error}");
        }
    }
}
