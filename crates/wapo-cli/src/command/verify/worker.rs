//! `wapo verify worker`: evidence of a worker, from the worker itself or from a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use wapo_rpc::statement::{WorkerClaims, WorkerEvidence};
use wapo_verify::worker::verify;

use super::live::Live;
use super::{Demands, read_evidence, show};
use crate::terminal::Terminal;
use crate::worker::Common;

/// What a file with evidence of a worker says that it is.
pub(crate) const KIND: &str = "wapo-worker-evidence";

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
    let facts = verified.claims.as_ref().map_or(Value::Null, facts);
    show::verdict(terminal, options.common.json, &verified.verdict, &facts)
}

fn facts(claims: &WorkerClaims) -> Value {
    let host_controlled: Vec<_> = claims
        .host_controlled
        .iter()
        .map(|name| name.as_str())
        .collect();
    json!({
        "pubkey": hex::encode(claims.pubkey),
        "query_pubkey": hex::encode(claims.query_pubkey),
        "answer_pubkey": hex::encode(claims.answer_pubkey.as_slice()),
        "session": hex::encode(claims.session),
        "software": claims.software.as_str(),
        "host_controlled": host_controlled,
        "key_version": claims.key_version,
        "issued_at": claims.issued_at,
        "expires_at": claims.expires_at,
        "nonce": hex::encode(claims.nonce.as_slice()),
    })
}
