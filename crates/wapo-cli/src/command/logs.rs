//! `wapo logs`: what an app has to say.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use wapo_rpc::client::{LogEvent, Tail};
use wapo_rpc::log::LogLine;

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common, Session};

/// Command line of `wapo logs`.
#[derive(Args, Debug)]
#[command(after_help = "\
A line has the time (UTC), where it comes from, and a text. It comes from the app's
log (its level is shown), from its standard output (out) or standard error (err), or
from the worker (wapo), which also tells of starts and crashes. With --json, each line
is an object.")]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// Go on with the lines that come, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,

    /// Begin with the last so many lines. Without this, with all that are kept.
    #[arg(long, value_name = "N")]
    tail: Option<u64>,

    #[command(flatten)]
    common: Common,
}

/// Prints the log.
///
/// # Errors
///
/// There is no such app, or the connection breaks.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        let tail = options.tail.map_or(Tail::All, Tail::Last);
        if !options.follow {
            for line in session.client.logs(app.address, tail).await? {
                if !show(session, &line)? {
                    break;
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut log = session.client.follow_logs(app.address, tail).await?;
        while let Some(event) = log.next().await? {
            match event {
                LogEvent::Line(line) if !show(session, &line)? => return Ok(ExitCode::SUCCESS),
                LogEvent::Line(_) => {}
                LogEvent::Missed(count) => {
                    terminal.warn(&format!("{count} lines were too fast and are missing"));
                }
            }
        }
        terminal.hint("the worker has ended the log");
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints a line; tells whether anybody still reads.
fn show(session: &Session<'_>, line: &LogLine) -> Result<bool> {
    let text = match session.json {
        true => serde_json::to_string(line).context("cannot write JSON")?,
        false => session.terminal.log_line(line),
    };
    Ok(session.terminal.stream(&text).is_ok())
}
