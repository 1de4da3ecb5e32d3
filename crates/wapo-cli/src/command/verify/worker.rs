//! `wapo verify worker`: evidence of a worker, from the worker itself or from a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::Value;
use wapo_rpc::statement::WorkerEvidence;
use wapo_verify::worker::verify;
use wapo_verify::{evidence_file, report};

use super::live::Live;
use super::{Demands, read_evidence, show};
use crate::terminal::Terminal;
use crate::worker::Common;

/// What a file with evidence of a worker says that it is.
pub(crate) const KIND: &str = evidence_file::WORKER;

/// Command line of `wapo verify worker`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File with the evidence, in place of a worker that is asked; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "cached", "save"])]
    evidence: Option<PathBuf>,

    #[command(flatten)]
    live: Live,

    #[command(flatten)]
    demands: Demands,

    #[command(flatten)]
    common: Common,
}

/// Verifies a worker.
///
/// # Errors
///
/// The worker gives no evidence, or a file cannot be read.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let mut demanded = options.demands.read()?;
    let evidence: WorkerEvidence = match &options.evidence {
        Some(file) => read_evidence(file, KIND)?,
        None => options
            .live
            .worker(&options.common, &mut demanded, terminal, KIND)?,
    };
    let verified = verify(
        &evidence,
        demanded.collateral.as_deref(),
        &demanded.context(),
    );
    let facts = verified.claims.as_ref().map_or(Value::Null, report::worker);
    show::verdict(terminal, options.common.json, &verified.verdict, &facts)
}
