//! `wapo query`: sends a query to an app.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use wapo_rpc::hexbytes::from_hex;
use wapo_rpc::message::QueryArgs;
use wapo_rpc::{AppAddress, Client, ClientError};

use super::verify::answer::{Checked, Checks, Said, users_of};
use super::verify::{show, user_client, whole_address};
use crate::apps::{self, FoundApp};
use crate::terminal::Terminal;
use crate::worker::{self, Common, block_on};

/// Command line of `wapo query`.
#[derive(Args, Debug)]
#[command(after_help = "\
Without --data, --hex or --file, the payload is what standard input has, or nothing
when that is a terminal. The answer goes to standard output as it is.")]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// Path of the query; the app decides what it means.
    path: String,

    /// Text to send along.
    #[arg(
        long,
        value_name = "TEXT",
        group = "payload",
        allow_hyphen_values = true
    )]
    data: Option<String>,

    /// Bytes to send along, as hex digits.
    #[arg(long, value_name = "HEX", group = "payload", value_parser = parse_hex)]
    hex: Option<Bytes>,

    /// File to send along; - for standard input.
    #[arg(long, value_name = "FILE", group = "payload")]
    file: Option<PathBuf>,

    /// Print the answer as hex digits.
    #[arg(long)]
    as_hex: bool,

    #[command(flatten)]
    checks: Checks,

    #[command(flatten)]
    common: Common,
}

/// Bytes, as one value of the command line.
#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

/// Asks and prints the answer.
///
/// # Errors
///
/// There is no such app, or it answers with an error.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let payload = payload(options)?;
    let args = |address: AppAddress| QueryArgs {
        address: address.0.to_vec(),
        path: options.path.clone(),
        payload,
        encoded_signature: Vec::new(),
    };
    if let Some(url) = &options.checks.url {
        let args = args(whole_address(&options.app)?);
        let found = block_on(async {
            let users = user_client(url, &options.common)?;
            options.checks.ask(&users, &args).await
        })?;
        return checked(options, terminal, &found);
    }
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        let args = args(app.address);
        if options.checks.any() {
            let users = users_of(&session.client, &options.common).await?;
            let found = options.checks.ask(&users, &args).await?;
            return checked(options, terminal, &found);
        }
        let output = match session.client.app_query(args).await {
            Ok(answer) => answer.output,
            Err(error) => return Err(explained(&session.client, &app, error).await),
        };
        print(options, terminal, &output)
    })
}

/// Prints an answer that was checked, or why it does not count.
fn checked(options: &Options, terminal: &Terminal, checked: &Checked) -> Result<ExitCode> {
    match &checked.said {
        None => show::verdict(
            terminal,
            options.common.json,
            &checked.verdict,
            &Value::Null,
        ),
        Some(Said::Refused(why)) => bail!("{why}"),
        Some(Said::Output(output)) => {
            terminal.note("Verified", "the answer is the app's, to this question");
            print(options, terminal, output)
        }
    }
}

fn print(options: &Options, terminal: &Terminal, output: &[u8]) -> Result<ExitCode> {
    let digits = hex::encode(output);
    if options.common.json {
        let report = json!({ "output": format!("0x{digits}") });
        terminal.result(&serde_json::to_string_pretty(&report).context("cannot write JSON")?);
        return Ok(ExitCode::SUCCESS);
    }
    if options.as_hex {
        terminal.result(&digits);
        return Ok(ExitCode::SUCCESS);
    }
    terminal.bytes(output);
    // The next prompt is to begin on a line of its own.
    if std::io::stdout().is_terminal() && !output.is_empty() && !output.ends_with(b"\n") {
        terminal.result("");
    }
    Ok(ExitCode::SUCCESS)
}

/// What apps answer when they have failed: the rest is in their log.
const INTERNAL: &str = "internal error";

/// Why there is no answer. Of an app that takes no queries at the moment, the
/// worker's list of apps knows more than its refusal.
async fn explained(client: &Client, app: &FoundApp, error: ClientError) -> anyhow::Error {
    if error.is_for_now()
        && let Ok(Some(app)) = apps::by_address(client, app.address).await
    {
        if let Some(reason) = app.why_silent() {
            return anyhow::Error::msg(reason);
        }
        let mut instances = app.info.instance_list.iter();
        if app.info.state == "running" && !instances.any(|one| one.takes_queries) {
            return anyhow!("{} runs, and answers no queries", app.shown());
        }
    }
    if error.to_string().contains(INTERNAL) {
        return anyhow!("{error}; `wapo logs {}` says more", app.shown());
    }
    error.into()
}

fn payload(options: &Options) -> Result<Vec<u8>> {
    match (&options.data, &options.hex, &options.file) {
        (Some(text), _, _) => Ok(text.clone().into_bytes()),
        (_, Some(Bytes(bytes)), _) => Ok(bytes.clone()),
        (_, _, Some(file)) if file != Path::new("-") => {
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
        }
        (_, _, None) if std::io::stdin().is_terminal() => Ok(Vec::new()),
        _ => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.context("cannot read standard input")?;
            Ok(bytes)
        }
    }
}

fn parse_hex(text: &str) -> Result<Bytes, String> {
    from_hex(text).map(Bytes)
}
