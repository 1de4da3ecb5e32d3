//! Calls of gRPC with grpcio, a program from PyPI, through the gateway of a
//! throw-away worker. The tests in `e2e` make the same calls with tonic.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::{self, stage};
use crate::python::{self, Worker};

/// Names and versions of what is installed.
const REQUIREMENTS: &str = "e2e/grpc/requirements.txt";
/// Where it is installed.
const ENVIRONMENT: &str = "target/grpcio";
/// The calls.
const CLIENT: &str = "e2e/grpc/client.py";
/// The guest that answers them.
const GUEST: &str = "sdk-suite";
/// Timeout for all calls together; they take some seconds.
const RUN_LIMIT: Duration = Duration::from_secs(180);

/// Makes the calls.
///
/// # Errors
///
/// Python or its packages cannot be had, or an answer is not as it should be; what
/// was printed says which.
pub(crate) fn run() -> Result<()> {
    let programs = stage("grpcio, installed", || {
        python::environment(ENVIRONMENT, REQUIREMENTS)
    })?;
    stage("grpcio", || {
        let worker = Worker::start(&[GUEST])?;
        let address = worker.user.strip_prefix("http://").context("an http URL")?;
        let mut command = Command::new(programs.join("python"));
        command
            .arg(process::root().join(CLIENT))
            .arg(address)
            .arg(format!("{GUEST}.localhost"));
        process::run_limited(&mut command, RUN_LIMIT)
    })
}
