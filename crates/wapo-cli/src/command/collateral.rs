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
use wapo_rpc::message::WorkerEvidenceArgs;
use wapo_rpc::statement::{self, Bounded, Quote, WorkerEvidence};
use wapo_rpc::text::is_hidden;
use wapo_verify::collateral::{self, Answer, Plan, Request};

use crate::command::verify::read_bytes;
use crate::terminal::Terminal;
use crate::worker::{self, Common, block_on, read_trusted};

/// Command line of `wapo collateral`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File with a quote of SGX or TDX, as it is or as hex; - for standard input. Without it,
    /// the worker is asked for its quote, and without --pccs for the collateral that it has.
    #[arg(required_unless_present = "from_worker")]
    quote: Option<PathBuf>,

    /// Ask the worker in place of a file.
    #[arg(long, conflicts_with = "quote")]
    from_worker: bool,

    /// URL of the caching service (PCCS), or of Intel's own.
    #[arg(long, value_name = "URL", required_unless_present = "from_worker")]
    pccs: Option<String>,

    /// File for the collateral; standard output without.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// PEM file of certificates to trust for the service in place of the public authorities:
    /// that of an authority, or the service's own.
    #[arg(long, value_name = "FILE")]
    pccs_ca: Option<PathBuf>,

    #[command(flatten)]
    common: Common,
}

/// Fetches collateral.
///
/// # Errors
///
/// The service does not have it, or the file is no quote.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let text = match (&options.quote, &options.pccs) {
        (Some(file), Some(service)) => {
            fetch_all(&read_bytes(file, QUOTE_BYTES_MAX)?, service, options)?
        }
        (_, service) => {
            let evidence = of_worker(options, terminal)?;
            match (service, evidence) {
                (Some(service), (quote, _)) => fetch_all(&quote, service, options)?,
                (None, (_, Some(carried))) => carried,
                (None, (_, None)) => {
                    bail!("the worker has no collateral; fetch it with --pccs URL")
                }
            }
        }
    };
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

/// The worker's quote, and the collateral that it has.
fn of_worker(options: &Options, terminal: &Terminal) -> Result<(Vec<u8>, Option<String>)> {
    let evidence = worker::run(&options.common, terminal, async |session| {
        let args = WorkerEvidenceArgs { nonce: Vec::new() };
        Ok(session.client.worker_evidence(args).await?)
    })?;
    let evidence: WorkerEvidence = statement::decode(&evidence.evidence)?;
    let collateral = evidence.collateral.map(Bounded::into_inner);
    let collateral = collateral.map(parsed).transpose()?;
    match evidence.quote {
        Quote::Sgx(quote) | Quote::Tdx(quote) | Quote::Simulator(quote) => {
            Ok((quote.into_inner(), collateral))
        }
        Quote::SevSnp { .. } => bail!("reports of SEV-SNP need no collateral"),
    }
}

/// The text of a worker's collateral, which may be shown and written into a file.
fn parsed(json: Vec<u8>) -> Result<String> {
    collateral::read(&json).context("the worker gives no collateral")?;
    let text = String::from_utf8(json).context("the worker's collateral is no text")?;
    // JSON lets characters stand in its texts that a terminal obeys.
    if text.chars().any(|one| is_hidden(one) && one != '\n') {
        bail!("the worker's collateral has control characters");
    }
    Ok(text)
}

fn fetch_all(quote: &[u8], service: &str, options: &Options) -> Result<String> {
    let plan = Plan::of(quote)?;
    let trusted = options.pccs_ca.as_deref().map(read_trusted).transpose()?;
    let fetcher = Fetcher::new(trusted.as_ref())?;
    block_on(async {
        let [pck_crl, tcb, identity, root] = plan.requests(service);
        let answers = [
            fetch(&fetcher, pck_crl).await?,
            fetch(&fetcher, tcb).await?,
            fetch(&fetcher, identity).await?,
            fetch(&fetcher, root).await?,
        ];
        Ok(plan.assemble(answers)?)
    })
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
