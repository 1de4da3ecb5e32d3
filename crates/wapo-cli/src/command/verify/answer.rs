//! `wapo verify answer`: a request and its signed answer from a file; and for
//! `wapo query --verify` and `--private` what is asked of a worker that is checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;
use wapo_rpc::client::{Client, UserClient, message_of};
use wapo_rpc::message::{AppEvidenceArgs, Empty, PrivateQueryArgs, QueryArgs, QueryResponse};
use wapo_rpc::private_query::PrivateAnswer;
use wapo_rpc::signed_answer::Kind;
use wapo_rpc::signed_answer::file::Exchange;
use wapo_rpc::statement::{self, AppEvidence};
use wapo_rpc::{AppAddress, Encoding};
use wapo_verify::answer::{self, FILE_BYTES_MAX};
use wapo_verify::{Verdict, report};

use super::demands::{Demanded, draw, now};
use super::files::read_bounded;
use super::live::user_client;
use super::{Demands, app, read_evidence, show};
use crate::endpoints;
use crate::human::printable;
use crate::terminal::Terminal;
use crate::worker::Common;

/// Command line of `wapo verify answer`.
#[derive(Args, Debug)]
#[command(after_help = "\
The signature of an answer counts for some minutes. For a file that was kept, --at says
at which time it has to be good; the file says when it was received.")]
pub(crate) struct Options {
    /// File that `wapo query --verify --save-answer` has written; - for standard input.
    file: PathBuf,

    /// File with evidence of the app, in place of that in the file.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,

    /// Address of the app that has to have answered.
    #[arg(long, value_name = "ADDRESS")]
    app: Option<AppAddress>,

    #[command(flatten)]
    demands: Demands,

    /// Print JSON instead of text for people.
    #[arg(long)]
    json: bool,
}

/// Verifies an answer.
///
/// # Errors
///
/// A file cannot be read, or there is no evidence.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let demanded = options.demands.read()?;
    let shown = options.file.display();
    let content = read_bounded(&options.file, FILE_BYTES_MAX)?;
    let exchange = Exchange::read(&content);
    let exchange = exchange.map_err(|why| anyhow::anyhow!("{shown} is no answer: {why}"))?;
    let evidence: AppEvidence = match &options.evidence {
        Some(file) => read_evidence(file, app::KIND)?,
        None if exchange.evidence.is_empty() => {
            bail!("{shown} has no evidence of the app: give it with --evidence")
        }
        None => statement::decode(&exchange.evidence)
            .with_context(|| format!("the evidence in {shown} cannot be read"))?,
    };
    let (verdict, kind) = verified(&exchange, &evidence, options.app, &demanded);
    let facts = kind.map_or(Value::Null, |kind| report::answer(&exchange, kind));
    show::verdict(terminal, options.json, &verdict, &facts)
}

fn verified(
    exchange: &Exchange,
    evidence: &AppEvidence,
    wanted: Option<AppAddress>,
    demanded: &Demanded,
) -> (Verdict, Option<Kind>) {
    let collateral = demanded.collateral.as_deref();
    answer::verify(exchange, evidence, wanted, collateral, &demanded.context())
}

/// Options of `wapo query` for an answer that is checked.
#[derive(Args, Debug)]
pub(crate) struct Checks {
    /// Have the answer signed by the app's key and check it, down to the hardware.
    #[arg(long, group = "checked")]
    verify: bool,

    /// Check the worker down to the hardware, encrypt the query for it alone, and
    /// have the answer encrypted as well.
    #[arg(long, group = "checked")]
    private: bool,

    /// Ask the user port of a worker at this URL, which needs no token; the app is named
    /// by its whole address then.
    #[arg(long, value_name = "URL", requires = "checked", conflicts_with_all = ["worker", "token", "token_file"])]
    pub(crate) url: Option<String>,

    /// Write request, answer and evidence into a file, for `wapo verify answer`.
    #[arg(long, value_name = "FILE", requires = "verify")]
    save_answer: Option<PathBuf>,

    #[command(flatten)]
    demands: Demands,
}

/// What was found out about an answer.
pub(crate) struct Checked {
    pub(crate) verdict: Verdict,
    /// What was answered; absent when the verdict is not good.
    pub(crate) said: Option<Said>,
}

/// An answer that counts.
pub(crate) enum Said {
    /// What the app answered.
    Output(Vec<u8>),
    /// Who has refused, and why.
    Refused(String),
}

impl Checks {
    /// Whether one is asked for.
    pub(crate) fn any(&self) -> bool {
        self.verify || self.private
    }

    /// Asks at the user port, and checks evidence and answer, both with nonces of this
    /// call.
    ///
    /// # Errors
    ///
    /// The worker cannot be reached, or has no evidence.
    pub(crate) async fn ask(&self, users: &UserClient, args: &QueryArgs) -> Result<Checked> {
        let mut demanded = self.demands.read()?;
        let nonce = demanded.nonce_or_drawn()?;
        let address = args.address.clone();
        let given = users.app_evidence(AppEvidenceArgs { address, nonce }).await;
        let given = given.context("the worker gives no evidence of the app")?;
        let evidence: AppEvidence = statement::decode(&given.evidence)
            .context("the worker gives no evidence that can be read")?;
        let wanted = AppAddress::from_bytes(&args.address)?;
        if self.private {
            return ask_privately(users, args, (wanted, &evidence), &demanded).await;
        }
        let nonce = hex::encode(draw()?);
        let mut exchange = users.signed_query(args, &nonce).await?;
        exchange.evidence = given.evidence;
        if let Some(file) = &self.save_answer {
            save(file, &exchange)?;
        }
        let (verdict, kind) = verified(&exchange, &evidence, Some(wanted), &demanded);
        let said = kind.map(|kind| said(kind, &exchange)).transpose()?;
        Ok(Checked { verdict, said })
    }
}

/// What a good answer says.
fn said(kind: Kind, exchange: &Exchange) -> Result<Said> {
    let answer = &exchange.answer;
    if answer.status != 200 {
        let text = message_of(&answer.body);
        let text = text.unwrap_or_else(|| format!("status {}", answer.status));
        let who = if kind == Kind::App { "app" } else { "worker" };
        return Ok(Said::Refused(format!(
            "the {who} says: {}",
            printable(&text)
        )));
    }
    if kind != Kind::App {
        let text = "the worker has answered in place of the app";
        return Ok(Said::Refused(text.to_owned()));
    }
    let read = Encoding::Protobuf.decode::<QueryResponse>(&answer.body);
    Ok(Said::Output(
        read.context("the answer cannot be read")?.output,
    ))
}

/// Encrypts a question, once its worker is known to be good, and reads the answer.
async fn ask_privately(
    users: &UserClient,
    args: &QueryArgs,
    (wanted, evidence): (AppAddress, &AppEvidence),
    demanded: &Demanded,
) -> Result<Checked> {
    let collateral = demanded.collateral.as_deref();
    let context = demanded.context();
    let checked = wapo_verify::app::verify(evidence, collateral, Some(wanted), None, &context);
    let verdict = checked.verdict;
    if !verdict.is_good() {
        // Nothing was sent.
        return Ok(Checked {
            verdict,
            said: None,
        });
    }
    let worker = evidence.worker.worker_claims()?;
    let (sealed, reader) = PrivateQueryArgs::seal(args, &worker, now()?, &draw()?)?;
    let answer = users.private_query(sealed).await?;
    let said = match reader.read(&answer)? {
        PrivateAnswer::Output(output) => Said::Output(output),
        PrivateAnswer::AppError(text) => {
            Said::Refused(format!("the app says: {}", printable(&text)))
        }
        PrivateAnswer::WorkerError(text) => {
            Said::Refused(format!("the worker says: {}", printable(&text)))
        }
    };
    Ok(Checked {
        verdict,
        said: Some(said),
    })
}

/// The user port of a worker whose admin port is asked.
///
/// # Errors
///
/// The worker does not say where it is.
pub(crate) async fn users_of(client: &Client, common: &Common) -> Result<UserClient> {
    let info = client.info(Empty {}).await?;
    let url = endpoints::users(&info, client.base_url());
    let url = url.context("the worker does not say where its user port is: give it with --url")?;
    user_client(&url, common)
}

fn save(file: &Path, exchange: &Exchange) -> Result<()> {
    let text = serde_json::to_string(exchange).context("cannot write JSON")?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}
