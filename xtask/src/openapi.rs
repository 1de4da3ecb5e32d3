//! Compares a worker with `docs/openapi.json`: schemathesis, a program from PyPI,
//! makes up requests from the document and checks that the answers are those that
//! it promises.
//!
//! The worker is a throw-away one (`python::Worker`). Same seed, same requests.
//! `Operation.WorkerExit` is left out, because it ends the worker.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{self, stage};
use crate::python::{self, Worker};

/// Names and versions of what is installed.
const REQUIREMENTS: &str = "e2e/openapi/requirements.txt";
/// Where it is installed.
const ENVIRONMENT: &str = "target/schemathesis";
/// Timeout for one port. Half a minute on two quiet cores does for both.
const RUN_LIMIT: Duration = Duration::from_secs(240);
/// Requests per operation of the phase that makes them up at random.
const EXAMPLES_MAX: &str = "10";
/// Timeout for one answer, in seconds.
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
    let programs = stage("schemathesis, installed", || {
        python::environment(ENVIRONMENT, REQUIREMENTS)
    })?;
    stage("schemathesis", || compare(&programs.join("schemathesis")))
}

/// Each port has its own calls.
fn compare(program: &Path) -> Result<()> {
    let worker = Worker::start(&[])?;
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
