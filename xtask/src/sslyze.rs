//! A scan of the TLS port that apps share with sslyze, a program from PyPI, on a
//! throw-away worker: nothing weak is spoken there.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{self, stage};
use crate::python::{self, Worker};

/// Names and versions of what is installed.
const REQUIREMENTS: &str = "e2e/sslyze/requirements.txt";
/// Where it is installed.
const ENVIRONMENT: &str = "target/sslyze";
/// What scans and judges.
const CLIENT: &str = "e2e/sslyze/client.py";
/// The guest that serves a name, and the name.
const GUEST: &str = "sni-tls-server";
const NAME: &str = "localhost";
/// Timeout for the scan, which takes some seconds.
const RUN_LIMIT: Duration = Duration::from_secs(180);

/// Scans.
///
/// # Errors
///
/// Python or its packages cannot be had, or something weak was found; what was
/// printed says what.
pub(crate) fn run() -> Result<()> {
    let programs = stage("sslyze, installed", || {
        python::environment(ENVIRONMENT, REQUIREMENTS)
    })?;
    stage("sslyze", || {
        let worker = Worker::start(&[GUEST])?;
        let mut command = Command::new(programs.join("python"));
        command
            .arg(process::root().join(CLIENT))
            .arg(&worker.tls)
            .arg(NAME);
        process::run_limited(&mut command, RUN_LIMIT)
    })
}
