//! `wapo logs`: shows and follows the log of an app.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::time::sleep;
use wapo_rpc::client::{LogEvent, LogStream, Tail};
use wapo_rpc::log::LogLine;
use wapo_rpc::{AppAddress, ClientError};
use wapod::mistakes::value;

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common, Session};

/// Pauses between two attempts to connect again, the first and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Time after which a worker that is away is given up. An update of the machine
/// takes some minutes; a user who waits longer has forgotten the command.
const AWAY_MAX: Duration = Duration::from_secs(30 * 60);

/// Command line of `wapo logs`.
#[derive(Args, Debug)]
#[command(after_help = "\
A line has the time (UTC), where it comes from, and a text. It comes from the app's
log (its level is shown), from its standard output (out) or standard error (err), or
from the worker (wapo), which also tells of starts and crashes. With --json, each line
is an object. When the connection breaks while it is followed, it is made again; an app
that has taken the place of this one is followed then.")]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// Go on with the lines that come, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,

    /// Begin with the last so many lines. Without this, with all that are kept.
    #[arg(long, value_name = "N", value_parser = value::<u64>)]
    tail: Option<u64>,

    #[command(flatten)]
    common: Common,
}

/// Prints the log.
///
/// # Errors
///
/// There is no such app, or the worker refuses, or is away for too long.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        let tail = options.tail.map_or(Tail::All, Tail::Last);
        if options.follow {
            follow(session, &options.app, app.address, tail).await?;
            return Ok(ExitCode::SUCCESS);
        }
        for line in session.client.logs(app.address, tail).await? {
            if !show(session, &line)? {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Follows the log until the app is gone, or nobody reads any more. A connection
/// that breaks is made again.
async fn follow(
    session: &Session<'_>,
    word: &str,
    mut address: AppAddress,
    tail: Tail,
) -> Result<()> {
    let mut log = session.client.follow_logs(address, tail).await?;
    let mut last = None;
    loop {
        let end = match log.next().await {
            Ok(Some(LogEvent::Missed(count))) => {
                let text = format!("{count} lines were too fast and are missing");
                session.terminal.warn(&text);
                continue;
            }
            Ok(Some(LogEvent::Line(line))) if is_new(&line, last) => {
                last = Some((line.time_ms, line.seq));
                match show(session, &line)? {
                    true => continue,
                    false => return Ok(()),
                }
            }
            // Shown before the connection broke.
            Ok(Some(LogEvent::Line(_))) => continue,
            Ok(None) => "the worker has ended the connection".to_owned(),
            Err(error) if error.is_of_connection() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        session.terminal.warn(&format!("{end}; connecting again"));
        let Some(found) = again(session, word).await? else {
            session.terminal.hint("the app is not there any more");
            return Ok(());
        };
        if found.0 != address {
            // Its numbers and times begin anew.
            last = None;
        }
        (address, log) = found;
        let text = format!("to {}, the log goes on", session.client.base_url());
        session.terminal.note("Connected", &text);
    }
}

/// Whether a line came after the last one that was shown. A worker that was
/// started again counts from the beginning, but its clock goes on.
fn is_new(line: &LogLine, last: Option<(u64, u64)>) -> bool {
    last.is_none_or(|(time_ms, seq)| line.time_ms > time_ms || line.seq > seq)
}

/// Finds the app again and follows its log, or that of the app that has taken its
/// place; `None` when the worker has neither.
///
/// # Errors
///
/// The worker refuses, or is away for longer than [`AWAY_MAX`].
async fn again(session: &Session<'_>, word: &str) -> Result<Option<(AppAddress, LogStream)>> {
    let begun = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        let error = match apps::list(&session.client).await {
            Ok(apps) => {
                let Ok(app) = apps::choose(apps, word) else {
                    return Ok(None);
                };
                match session.client.follow_logs(app.address, Tail::All).await {
                    Ok(log) => return Ok(Some((app.address, log))),
                    Err(error) => error.into(),
                }
            }
            Err(error) => error,
        };
        let may_pass = error
            .downcast_ref::<ClientError>()
            .is_some_and(|error| error.is_of_connection() || error.is_for_now());
        if !may_pass || begun.elapsed() > AWAY_MAX {
            return Err(error);
        }
    }
}

/// Prints a line; tells whether the output is still read.
fn show(session: &Session<'_>, line: &LogLine) -> Result<bool> {
    let text = match session.json {
        true => serde_json::to_string(line).context("cannot write JSON")?,
        false => session.terminal.log_line(line),
    };
    Ok(session.terminal.stream(&text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wapo_rpc::log::{LogLevel, LogSource};

    #[test]
    fn lines_are_shown_once_also_when_the_worker_counts_anew() {
        let line = |time_ms, seq| LogLine {
            seq,
            time_ms,
            instance: None,
            source: LogSource::Guest,
            level: LogLevel::Info,
            text: String::new(),
        };
        let last = Some((1_000, 7));
        assert!(is_new(&line(5, 0), None));
        assert!(!is_new(&line(990, 6), last) && !is_new(&line(1_000, 7), last));
        assert!(is_new(&line(1_000, 8), last), "the next of the same moment");
        assert!(is_new(&line(1_001, 0), last), "the first after a restart");
    }
}
