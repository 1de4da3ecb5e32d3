//! `wapo verify app`: evidence of an app, from its worker, from a file, or from the
//! certificate that the app shows to its clients.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgGroup, Args};
use serde_json::Value;
use wapo_rpc::AppAddress;
use wapo_rpc::statement::AppEvidence;
use wapo_verify::app::{CERTIFICATE_BYTES_MAX, from_certificate, verify};
use wapo_verify::{evidence_file, report};

use super::files::read_bounded;
use super::live::Live;
use super::{Demands, peer, read_evidence, show};
use crate::terminal::Terminal;
use crate::worker::Common;

/// What a file with evidence of an app says that it is.
pub(crate) const KIND: &str = evidence_file::APP;

/// Command line of `wapo verify app`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("source").required(true)))]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of an app whose worker is asked.
    #[arg(group = "source")]
    app: Option<String>,

    /// File with the evidence; - for standard input.
    #[arg(long, value_name = "FILE", group = "source", conflicts_with_all = ["url", "cached", "save"])]
    evidence: Option<PathBuf>,

    /// File with a certificate that carries the evidence, in DER or PEM.
    #[arg(long, value_name = "FILE", group = "source", conflicts_with_all = ["url", "cached", "save"])]
    certificate: Option<PathBuf>,

    /// A server of TLS whose certificate carries the evidence. The handshake proves that
    /// the server has the app's key.
    #[arg(long, value_name = "HOST:PORT", group = "source", conflicts_with_all = ["url", "cached", "save"])]
    connect: Option<String>,

    /// The name to ask the server for, where it is not HOST.
    #[arg(long, value_name = "NAME", requires = "connect")]
    server_name: Option<String>,

    #[command(flatten)]
    live: Live,

    #[command(flatten)]
    demands: Demands,

    #[command(flatten)]
    common: Common,
}

/// Evidence, whose it has to be, and the key that was seen in use with it.
struct Found {
    evidence: AppEvidence,
    asked: Option<AppAddress>,
    key: Option<Vec<u8>>,
}

/// Verifies an app.
///
/// # Errors
///
/// There is no evidence.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let mut demanded = options.demands.read()?;
    let found = match &options.app {
        Some(app) => {
            let live = &options.live;
            let (asked, evidence) =
                live.app(app, &options.common, &mut demanded, terminal, KIND)?;
            Found {
                evidence,
                asked: Some(asked),
                key: None,
            }
        }
        None => find(options)?,
    };
    let own = demanded.collateral.as_deref();
    let verified = verify(
        &found.evidence,
        own,
        found.asked,
        found.key.as_deref(),
        &demanded.context(),
    );
    let facts = verified.claims.as_ref().map_or(Value::Null, report::app);
    show::verdict(terminal, options.common.json, &verified.verdict, &facts)
}

fn find(options: &Options) -> Result<Found> {
    let certificate = match (&options.evidence, &options.certificate, &options.connect) {
        (Some(file), _, _) => {
            let evidence = read_evidence(file, KIND)?;
            return Ok(Found {
                evidence,
                asked: None,
                key: None,
            });
        }
        (_, Some(file), _) => {
            let bytes = read_bounded(file, 2 * CERTIFICATE_BYTES_MAX)?;
            evidence_file::certificate(&bytes)
        }
        (_, _, server) => {
            let server = server.as_deref().unwrap_or_default();
            peer::certificate(server, options.server_name.as_deref())?
        }
    };
    let carried = from_certificate(&certificate)?;
    Ok(Found {
        evidence: carried.evidence,
        asked: None,
        key: Some(carried.key),
    })
}
