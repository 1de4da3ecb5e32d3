//! `wapo verify usage`: whether a bill is a chain that one worker has signed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;
use wapo_rpc::AppAddress;
use wapo_rpc::statement::{AppEvidence, WorkerEvidence};
use wapo_verify::demands::{key, link};
use wapo_verify::report;
use wapo_verify::usage::{self, Expected};

use super::{EvidenceFile, app, read_bounded, show, worker};
use crate::command::usage::BILL_BYTES_MAX;
use crate::terminal::Terminal;

/// Command line of `wapo verify usage`.
#[derive(Args, Debug)]
#[command(after_help = "\
A chain shows that nothing between its first and last report is missing or was
changed. Whether something was cut off at its end it shows only when --last-seq or
--until says how far it has to reach. The worker of --evidence is taken from the file;
`wapo verify worker` or `wapo verify app` checks the evidence itself.")]
pub(crate) struct Options {
    /// File that `wapo usage export` has written; - for standard input.
    file: PathBuf,

    /// Public key of the worker, as hex digits.
    #[arg(long, value_name = "KEY", value_parser = key)]
    worker: Option<[u8; 32]>,

    /// Evidence of the worker or of an app on it, whose bill this has to be; - for standard
    /// input.
    #[arg(long, value_name = "FILE", conflicts_with = "worker")]
    evidence: Option<PathBuf>,

    /// Address of the app that it has to be about.
    #[arg(long, value_name = "ADDRESS")]
    app: Option<AppAddress>,

    /// The report that the file has to go on after: its number and hash, as
    /// `wapo usage show` tells.
    #[arg(long, value_name = "SEQ:HASH", value_parser = link)]
    after: Option<(u64, [u8; 32])>,

    /// Number of a report that the file has to reach.
    #[arg(long, value_name = "SEQ")]
    last_seq: Option<u64>,

    /// Time that the file has to reach, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,

    /// Print JSON instead of text for people.
    #[arg(long)]
    json: bool,
}

/// Verifies a bill.
///
/// # Errors
///
/// A file cannot be read.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let content = read_bounded(&options.file, BILL_BYTES_MAX)?;
    let worker = match &options.evidence {
        Some(file) => Some(worker_of(file)?),
        None => options.worker,
    };
    let expected = Expected {
        worker,
        app: options.app,
        after: options.after,
        last_seq: options.last_seq,
        until_ms: options.until.map(|seconds| seconds.saturating_mul(1000)),
    };
    let (verdict, bill) = usage::check(&content, &expected);
    let facts = bill.as_ref().map_or(Value::Null, report::bill);
    show::verdict(terminal, options.json, &verdict, &facts)
}

/// The worker's key in evidence, which is not checked here.
fn worker_of(file: &Path) -> Result<[u8; 32]> {
    // Read once: it may be standard input.
    let found = EvidenceFile::read(file)?;
    let worker: Result<WorkerEvidence> = found.decode(worker::KIND);
    let worker = worker.or_else(|_| {
        let app: Result<AppEvidence> = found.decode(app::KIND);
        app.map(|evidence| evidence.worker)
    });
    let claims = worker?.worker_claims();
    let claims = claims.with_context(|| format!("{} has no claims", file.display()))?;
    Ok(claims.pubkey)
}
