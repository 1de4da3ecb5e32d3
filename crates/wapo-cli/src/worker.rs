//! Talking to a worker: the connection that each command begins with, and its
//! failures in words for the person at the keyboard.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Error, Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use wapo_rpc::AppAddress;
use wapo_rpc::client::{Client, ClientError, TrustedCertificates};

use crate::apps::{self, FoundApp};
use crate::human;
use crate::profile::WorkerOptions;
use crate::terminal::Terminal;

/// What a port says that does not have a method.
const NO_METHOD: &str = "method Not Found";

/// What every command that talks to a worker has.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Common {
    #[command(flatten)]
    worker: WorkerOptions,

    /// Print JSON instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Common {
    /// The certificates that are trusted at a URL of the command line.
    ///
    /// # Errors
    ///
    /// As [`read_trusted`], or there is no such profile.
    pub(crate) fn trusted(&self) -> Result<Option<TrustedCertificates>> {
        let file = self.worker.ca()?;
        file.as_deref().map(read_trusted).transpose()
    }
}

/// A worker, and where results go.
pub(crate) struct Session<'a> {
    pub(crate) client: Client,
    pub(crate) terminal: &'a Terminal,
    pub(crate) json: bool,
}

impl Session<'_> {
    /// Prints a value as JSON, if that is what was asked for.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<bool> {
        if self.json {
            let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
            self.terminal.result(&text);
        }
        Ok(self.json)
    }

    /// Tells that something was done to an app: words for people, and the action
    /// for programs.
    pub(crate) fn done(&self, words: &str, action: &str, app: &FoundApp) -> Result<ExitCode> {
        let report = json!({
            "action": action,
            "address": format!("0x{}", app.address),
            "name": app.info.name,
            "label": app.label(),
        });
        if !self.print_json(&report)? {
            // A verb, and perhaps what it was done with.
            let (verb, with) = words.split_once(' ').unwrap_or((words, ""));
            let gap = if with.is_empty() { "" } else { " " };
            let label = human::printable(app.label());
            let text = format!("{with}{gap}{label}, app {}", app.address);
            self.terminal.note(verb, &text);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Connects and does the work of a command.
///
/// # Errors
///
/// Those of the work, or what is wrong with the choice of the worker.
pub(crate) fn run<T>(
    common: &Common,
    terminal: &Terminal,
    work: impl AsyncFnOnce(&Session<'_>) -> Result<T>,
) -> Result<T> {
    let target = common.worker.target()?;
    let trusted = target.ca.as_deref().map(read_trusted).transpose()?;
    let session = Session {
        client: Client::with_trust(&target.url, target.token.as_deref(), trusted.as_ref())?,
        terminal,
        json: common.json,
    };
    block_on(work(&session)).map_err(|error| explain(error, &target.url))
}

/// Waits for something on the network.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot set up input and output")?;
    runtime.block_on(work)
}

/// What is taken from an app, in words.
pub(crate) struct Taking<'a> {
    /// What was done, up to the app's name.
    pub(crate) done: &'a str,
    /// The same for programs.
    pub(crate) action: &'a str,
    /// What is said of an app that does not have it, behind its name.
    pub(crate) lacks: &'a str,
}

/// Takes something from an app, by a call that says whether it had it.
///
/// # Errors
///
/// There is no such app, it does not have it, or the worker refuses.
pub(crate) fn take(
    common: &Common,
    terminal: &Terminal,
    app: &str,
    taking: Taking<'_>,
    call: impl AsyncFnOnce(&Client, AppAddress) -> Result<bool, ClientError>,
) -> Result<ExitCode> {
    run(common, terminal, async |session| {
        let app = apps::find(&session.client, app).await?;
        if !call(&session.client, app.address).await? {
            bail!("{} {}", app.shown(), taking.lacks);
        }
        session.done(taking.done, taking.action, &app)
    })
}

/// Reads the certificates that are trusted.
///
/// # Errors
///
/// The file cannot be read, or has none.
pub(crate) fn read_trusted(file: &Path) -> Result<TrustedCertificates> {
    let shown = file.display();
    let pem = std::fs::read(file)
        .with_context(|| format!("cannot read the trusted certificates {shown}"))?;
    TrustedCertificates::from_pem(&pem).map_err(|error| Error::msg(format!("{shown}: {error}")))
}

/// Adds what to do next to failures of the connection.
fn explain(error: Error, url: &str) -> Error {
    const TOKEN_WAYS: &str =
        "with --token-file FILE, in WAPO_TOKEN, or as `token_file` of a profile";
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unreachable { url, reason }) => Error::msg(format!(
            "no worker answers at {url}: {reason}\n\
             start one with `wapod -m 1g`, or name another one with --worker URL or --profile NAME"
        )),
        Some(ClientError::TokenMissing { url }) => Error::msg(format!(
            "the worker at {url} asks for a token: give it {TOKEN_WAYS}"
        )),
        Some(ClientError::TokenRefused { url }) => Error::msg(format!(
            "the worker at {url} refused the token: give the right one {TOKEN_WAYS}"
        )),
        Some(ClientError::Refused { message, .. }) if message == NO_METHOD => Error::msg(format!(
            "{url} does not know this command; is it the worker's admin port, and a worker of this version?"
        )),
        _ => error,
    }
}
