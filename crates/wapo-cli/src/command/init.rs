//! `wapo init`: begins a worker's session.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use wapo_rpc::hexbytes::to_hex;
use wapo_rpc::message::InitArgs;
use wapo_rpc::statement::{self, SessionUpdate};

use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of `wapo init`.
#[derive(Args, Debug)]
#[command(after_help = "\
A worker begins a session by itself; apps can be deployed without this command. Usage
is counted per session. The worker refuses while an app is deployed.")]
pub(crate) struct Options {
    /// Account that is paid for what apps use, as an SS58 address.
    #[arg(long, value_name = "SS58", value_parser = parse_account)]
    recipient: Option<String>,

    #[command(flatten)]
    common: Common,
}

/// Begins the session and prints its id.
///
/// # Errors
///
/// The worker refuses.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let args = InitArgs {
            pnonce: Vec::new(),
            recipient: options.recipient.clone().unwrap_or_default(),
        };
        let answer = session.client.worker_init(args).await?;
        let update: SessionUpdate = statement::decode(&answer.session_update)
            .context("the worker signed something this version does not know")?;
        let id = hex::encode(update.session);
        if session.print_json(&json!({
            "session": format!("0x{id}"),
            "recipient": options.recipient,
            "session_update": to_hex(&answer.session_update),
            "signature": to_hex(&answer.signature),
            "pubkey": to_hex(&answer.pubkey),
        }))? {
            return Ok(ExitCode::SUCCESS);
        }
        let whom = options.recipient.as_deref().unwrap_or("nobody");
        terminal.note("Began", &format!("a session in which {whom} is paid"));
        terminal.result(&id);
        Ok(ExitCode::SUCCESS)
    })
}

/// Finds typing mistakes before anything is asked.
fn parse_account(text: &str) -> Result<String, wapo_rpc::ss58::AccountError> {
    wapo_rpc::ss58::decode(text).map(|_| text.to_owned())
}
