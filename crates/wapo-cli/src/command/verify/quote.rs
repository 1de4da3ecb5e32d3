//! `wapo verify quote`: a quote from a file, by itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::Args;
use wapo_rpc::limits::{QUOTE_BYTES_MAX, QUOTE_CERTIFICATES_BYTES_MAX};
use wapo_verify::demands::of_quote;
use wapo_verify::quote::{recognise, verify};
use wapo_verify::report;

use super::files::read_bytes;
use super::{Demands, show};
use crate::terminal::Terminal;

/// Command line of `wapo verify quote`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File with the quote, as it is or as hex; - for standard input.
    file: PathBuf,

    /// Certificates of the chip beside a report of SEV-SNP: DER, one behind the other, that
    /// of the chip first.
    #[arg(long, value_name = "FILE")]
    certificates: Option<PathBuf>,

    /// Print JSON instead of text for people.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    demands: Demands,
}

/// Verifies a quote.
///
/// # Errors
///
/// A file cannot be read, or has no quote.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let demanded = options.demands.read()?;
    let context = demanded.context();
    of_quote(context.policy, context.nonce).map_err(Error::msg)?;
    let bytes = read_bytes(&options.file, QUOTE_BYTES_MAX)?;
    let certificates = options.certificates.as_deref();
    let certificates = certificates
        .map(|file| read_bytes(file, QUOTE_CERTIFICATES_BYTES_MAX))
        .transpose()?;
    let quote = recognise(&bytes, &certificates.unwrap_or_default(), demanded.roots())?;
    let quoted = verify(&quote, demanded.collateral.as_deref(), &context);
    let facts = report::quote(quoted.report_data);
    if let (Some(report_data), false) = (quoted.report_data, options.json) {
        terminal.result(&format!("report data: {}", hex::encode(report_data)));
    }
    show::verdict(terminal, options.json, &quoted.verdict, &facts)
}
