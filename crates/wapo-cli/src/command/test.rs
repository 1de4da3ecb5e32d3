//! `wapo test`: runs the tests of programs in JavaScript and TypeScript.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use wapod::mistakes::value;

use crate::engine;
use crate::helper::{Allowed, Helper};
use crate::terminal::Terminal;
use crate::testing::{self, Current, Outcome, Run, Wish};

/// Command line of `wapo test`.
#[derive(Args, Debug)]
#[command(after_help = "\
Tests are written as for Node: import { test } from \"node:test\" and assert from
\"node:assert\". They run in the engine and the sandbox that programs have.

Exit code: 0 when all tests passed, 1 when one failed, 130 after Ctrl-C.")]
pub(crate) struct Options {
    /// Files with tests, or folders in which files called NAME.test.js or NAME.test.ts
    /// are looked for.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,

    /// Run only tests whose names, with those of their suites, contain this text; or
    /// match a regular expression between slashes.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Time that a test may take where it does not say so itself; 0 for no limit.
    /// [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = value::<u64>)]
    timeout: Option<u64>,

    /// Print what happens as JSON, an object per line.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    allowed: Allowed,
}

/// Runs the tests.
///
/// # Errors
///
/// No tests, or no engine.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let files = testing::find(&options.paths)?;
    let engine = engine::find(terminal)?;
    let wish = Wish {
        filter: options.filter.clone(),
        limit: options.timeout.map(Duration::from_secs),
        is_json: options.json,
    };
    let runtime = wapod::runtime_builder()
        .build()
        .context("cannot start threads")?;
    let mut signals = wapod::Signals::listen(|| {}).context("cannot listen to signals")?;
    let outcome = runtime.block_on(async {
        let current = Current::default();
        let listener = testing::listener(&current);
        let helper = Helper::start(engine, options.allowed.clone(), listener).await?;
        let run = Run {
            helper,
            terminal: Arc::new(Terminal::new()),
            current,
            wish,
        };
        run.all(&files, &mut signals).await
    });
    runtime.shutdown_timeout(crate::command::run::THREADS_GRACE);
    Ok(match outcome? {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
        Outcome::Interrupted(cause) => ExitCode::from(cause.exit_code()),
    })
}
