//! `wapo collateral`: the maker's statements about the processor of a quote, from a caching
//! service, for `wapo verify --collateral`.
//!
//! The service need not be trusted: what it gives is signed, and checked where a quote is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use wapo_rpc::client::Fetcher;
use wapo_rpc::limits::{COLLATERAL_BYTES_MAX, QUOTE_BYTES_MAX};
use wapo_verify::collateral::{Answer, Plan, Request};

use crate::command::verify::read_bytes;
use crate::terminal::Terminal;
use crate::worker::read_trusted;

/// Command line of `wapo collateral`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File with a quote of SGX or TDX, as it is or as hex; - for standard input.
    quote: PathBuf,

    /// URL of the caching service (PCCS), or of Intel's own.
    #[arg(long, value_name = "URL")]
    pccs: String,

    /// File for the collateral; standard output without.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// PEM file of certificates to trust in place of the public authorities: that of an
    /// authority, or the service's own.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Fetches collateral.
///
/// # Errors
///
/// The service does not have it, or the file is no quote.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let quote = read_bytes(&options.quote, QUOTE_BYTES_MAX)?;
    let plan = Plan::of(&quote)?;
    let trusted = options.ca.as_deref().map(read_trusted).transpose()?;
    let fetcher = Fetcher::new(trusted.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot set up input and output")?;
    let text = runtime.block_on(async {
        let [pck_crl, tcb, identity, root] = plan.requests(&options.pccs);
        let answers = [
            fetch(&fetcher, pck_crl).await?,
            fetch(&fetcher, tcb).await?,
            fetch(&fetcher, identity).await?,
            fetch(&fetcher, root).await?,
        ];
        anyhow::Ok(plan.assemble(answers)?)
    })?;
    match &options.output {
        None => terminal.result(&text),
        Some(file) => {
            let shown = file.display();
            std::fs::write(file, text + "\n").with_context(|| format!("cannot write {shown}"))?;
            terminal.note("Fetched", &format!("collateral into {shown}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn fetch(fetcher: &Fetcher, request: Request) -> Result<Answer> {
    let url = &request.url;
    let fetched = fetcher.get(url, COLLATERAL_BYTES_MAX).await?;
    if fetched.status != 200 {
        bail!(
            "{url} answers with status {}; is it a PCCS, and does it know this platform?",
            fetched.status
        );
    }
    let chain = request
        .chain_headers
        .iter()
        .find_map(|name| fetched.header(name));
    Ok(Answer {
        chain: chain.map(str::to_owned),
        body: fetched.body.to_vec(),
    })
}
