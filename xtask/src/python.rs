//! Programs from PyPI, each set in a virtual environment of its own: those that test a
//! worker from outside (`openapi`, `grpc`, `sslyze`, `websockets`), with the throw-away
//! worker that they test (`e2e/examples/worker.rs`), and Jinja2 for `sgx`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process;
use crate::setup;

/// Timeout for PyPI: some 20 MB.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// Makes sure that an environment has what a file lists, in these versions; gives
/// the folder of its programs. Both paths are those within the repository.
///
/// # Errors
///
/// Python or the packages cannot be had.
pub(crate) fn environment(folder: &str, requirements: &str) -> Result<PathBuf> {
    let root = process::root();
    let (folder, wanted) = (root.join(folder), root.join(requirements));
    let programs = folder.join("bin");
    let stamp = folder.join("requirements.txt");
    let is_same = fs::read(&stamp).is_ok_and(|old| fs::read(&wanted).is_ok_and(|new| new == old));
    if is_same && programs.join("python").exists() {
        return Ok(programs);
    }
    setup::python()?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    process::run_limited(&mut venv, INSTALL_LIMIT)?;
    let mut pip = Command::new(programs.join("python"));
    pip.args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&wanted);
    process::run_limited(&mut pip, INSTALL_LIMIT)
        .with_context(|| format!("cannot install {requirements}: is there a way to PyPI?"))?;
    fs::copy(wanted, stamp)?;
    Ok(programs)
}

/// A worker that ends with this value: its standard input ends then.
pub(crate) struct Worker {
    process: Child,
    pub(crate) admin: String,
    pub(crate) user: String,
    /// Address of the TLS port that apps share.
    pub(crate) tls: String,
}

impl Worker {
    /// Starts it with the console's sample, and with guests of these names.
    ///
    /// # Errors
    ///
    /// It cannot be built, or does not start.
    pub(crate) fn start(guests: &[&str]) -> Result<Self> {
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
            .args(guests)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("it is piped")?;
        let mut worker = Self {
            process,
            admin: String::new(),
            user: String::new(),
            tls: String::new(),
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the worker did not start")?;
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        (worker.admin, worker.user) = (text("admin"), text("user"));
        worker.tls = text("tls");
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
