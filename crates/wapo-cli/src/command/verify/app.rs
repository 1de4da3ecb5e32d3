//! `wapo verify app`: evidence of an app, from its worker, from a file, or from the
//! certificate that the app shows to its clients.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use wapo_rpc::AppAddress;
use wapo_rpc::statement::{AppClaims, AppEvidence};
use wapo_verify::app::{CERTIFICATE_BYTES_MAX, from_certificate, verify};

use super::files::read_bounded;
use super::live::Live;
use super::{Demands, peer, read_evidence, show};
use crate::terminal::Terminal;
use crate::worker::Common;

/// What a file with evidence of an app says that it is.
pub(crate) const KIND: &str = "wapo-app-evidence";

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
    let facts = verified.claims.as_ref().map_or(Value::Null, facts);
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
            first_pem(&bytes).unwrap_or(bytes)
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

/// The first certificate of a text. What is no text is none in PEM, though the evidence in
/// a certificate has some: those of the quote.
fn first_pem(bytes: &[u8]) -> Option<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let text = std::str::from_utf8(bytes).ok()?;
    CertificateDer::from_pem_slice(text.as_bytes())
        .ok()
        .map(|der| der.to_vec())
}

fn facts(claims: &AppClaims) -> Value {
    let args: Vec<_> = claims.args.iter().map(|arg| arg.as_str()).collect();
    json!({
        "worker": hex::encode(claims.worker),
        "worker_session": hex::encode(claims.worker_session),
        "address": format!("0x{}", claims.address),
        "deployment": hex::encode(claims.deployment),
        "code_hash": claims.code_hash.as_str(),
        "args": args,
        "env_hash": hex::encode(claims.env_hash),
        "label": claims.label.as_str(),
        "limits": {
            "memory_bytes": claims.limits.memory_bytes,
            "instances": claims.limits.instances,
            "gas_max": claims.limits.gas_max,
        },
        "key_version": claims.key_version,
        "app_pubkey": hex::encode(claims.app_pubkey.as_slice()),
        "issued_at": claims.issued_at,
        "expires_at": claims.expires_at,
        "nonce": hex::encode(claims.nonce.as_slice()),
    })
}
