//! `wapo verify worker`: evidence of a worker, from a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use wapo_rpc::statement::{WorkerClaims, WorkerEvidence};
use wapo_verify::worker::verify;

use super::{Demands, read_evidence, show};
use crate::terminal::Terminal;

/// What a file with evidence of a worker says that it is.
pub(crate) const KIND: &str = "wapo-worker-evidence";

/// Command line of `wapo verify worker`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File with the evidence; - for standard input.
    #[arg(long, value_name = "FILE")]
    evidence: PathBuf,

    /// Print JSON instead of text for people.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    demands: Demands,
}

/// Verifies a worker.
///
/// # Errors
///
/// A file cannot be read.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let demanded = options.demands.read()?;
    let evidence: WorkerEvidence = read_evidence(&options.evidence, KIND)?;
    let verified = verify(
        &evidence,
        demanded.collateral.as_deref(),
        &demanded.context(),
    );
    let facts = verified.claims.as_ref().map_or(Value::Null, facts);
    show::verdict(terminal, options.json, &verified.verdict, &facts)
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
