//! WebSockets of programs in JavaScript spoken with by `websockets`, a package of
//! PyPI, in both directions. The tests in `wapo-cli` have every frame of RFC 6455.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::{self, stage};
use crate::python;

/// Names and versions of what is installed.
const REQUIREMENTS: &str = "e2e/websockets/requirements.txt";
/// Where it is installed.
const ENVIRONMENT: &str = "target/websockets";
/// What speaks.
const CLIENT: &str = "e2e/websockets/client.py";
/// The programs.
const PROGRAMS: &str = "guests/wapo-js/tests/websockets";
/// Timeout for all of it, which takes some seconds.
const RUN_LIMIT: Duration = Duration::from_secs(180);

/// Speaks.
///
/// # Errors
///
/// Python or its package cannot be had, or something is not as it should be; what
/// was printed says what.
pub(crate) fn run() -> Result<()> {
    let programs = stage("websockets, installed", || {
        python::environment(ENVIRONMENT, REQUIREMENTS)
    })?;
    stage("websockets", || {
        process::run(&mut process::cargo(&["build", "--workspace", "--bins"]))?;
        // A port that was free a moment ago: the client may connect to it alone.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let egress = format!("127.0.0.1:{port}");
        let server = Served::start("echo.js", &[])?;
        let client = Served::start("client.js", &["--allow-egress", &egress])?;
        let mut command = Command::new(programs.join("python"));
        command.arg(process::root().join(CLIENT)).args([
            &server.address,
            &client.address,
            &port.to_string(),
        ]);
        process::run_limited(&mut command, RUN_LIMIT)
    })
}

/// A program that `wapo run` serves as long as this value lives.
struct Served {
    process: Child,
    address: String,
    /// Kept open: what it logs goes there.
    output: BufReader<ChildStdout>,
}

impl Served {
    fn start(program: &str, more: &[&str]) -> Result<Self> {
        let program = process::root().join(PROGRAMS).join(program);
        let mut process = wapo(&program)?
            .args(["--address", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().context("it is piped")?;
        let mut served = Self {
            process,
            address: String::new(),
            output: BufReader::new(output),
        };
        let mut line = String::new();
        while served.output.read_line(&mut line)? > 0 {
            if let Some((_, rest)) = line.split_once("http://") {
                let end = rest.find(['/', ' ', '\n']).unwrap_or(rest.len());
                served.address = rest[..end].to_owned();
                return Ok(served);
            }
            line.clear();
        }
        bail!("{} is not served", program.display())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends without a trace: `wapo run` keeps nothing.
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("warning: the program does not end: {error}");
        }
    }
}

fn wapo(program: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("wapo"));
    command.arg("run").arg(program);
    Ok(command)
}
