//! Deploys an app and finds out whether it runs.
//!
//! An app that crashes at once is often only started again, with growing pauses;
//! for its deployer, it has failed. Reads along in the log from the first
//! moment, because the log of a refused deployment goes with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout};
use wapo_rpc::client::{LogEvent, Tail};
use wapo_rpc::log::{LogLevel, LogLine, LogSource};
use wapo_rpc::message::{DeployArgs, DeployResponse};
use wapo_rpc::{AppAddress, Client, ClientError};

use crate::apps::{FoundApp, Watched};
use crate::human;

/// How long an app is watched that seems to run. What crashes does so in its
/// first seconds, and longer nobody likes to wait.
const WATCH_TIME: Duration = Duration::from_secs(2);
/// Longest wait for an app that is still starting. Its worker has waited some
/// seconds before; what then still computes may do so for ever.
const START_TIME: Duration = Duration::from_secs(5);
/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);
/// Time between two attempts to read along. An app that is deployed has its log
/// a moment later.
const LOG_INTERVAL: Duration = Duration::from_millis(10);
/// Time for lines that were written before a deployment failed.
const LOG_REST: Duration = Duration::from_millis(200);
/// Lines of the log that are shown of an app that failed.
const LINES_MAX: usize = 20;

/// What became of an app.
pub(crate) enum Outcome {
    /// It runs, or has done its work.
    Well(Box<FoundApp>),
    /// It crashed: why, and its last lines.
    Crashed(String, Vec<LogLine>),
}

/// Why there is no app.
pub(crate) struct Refused {
    pub(crate) error: ClientError,
    /// What the app had to say.
    pub(crate) lines: Vec<LogLine>,
}

/// Deploys an app, reading along in its log.
pub(crate) async fn deploy(
    client: &Client,
    address: AppAddress,
    args: DeployArgs,
) -> Result<DeployResponse, Refused> {
    let lines = RefCell::new(VecDeque::new());
    let mut reading = std::pin::pin!(read_along(client, address, &lines));
    let answer = tokio::select! {
        answer = client.app_deploy(args) => answer,
        never = &mut reading => never,
    };
    let Err(error) = answer else {
        return answer.map_err(|error| Refused {
            error,
            lines: Vec::new(),
        });
    };
    let _ = timeout(LOG_REST, reading).await;
    let lines = last_run(lines.take().into());
    Err(Refused { error, lines })
}

/// Keeps the last lines of an app that may not be there yet.
async fn read_along<T>(
    client: &Client,
    address: AppAddress,
    lines: &RefCell<VecDeque<LogLine>>,
) -> T {
    loop {
        if let Ok(mut log) = client.follow_logs(address, Tail::All).await {
            while let Ok(Some(event)) = log.next().await {
                let LogEvent::Line(line) = event else {
                    continue;
                };
                let mut lines = lines.borrow_mut();
                if lines.len() == LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        }
        sleep(LOG_INTERVAL).await;
    }
}

/// Watches a deployed app for its first seconds.
///
/// # Errors
///
/// Those of the connection.
pub(crate) async fn watch(client: &Client, address: AppAddress) -> Result<Outcome> {
    let begin = Instant::now();
    let mut watched = Watched::new(client, address);
    loop {
        let Some(app) = watched.look().await? else {
            let reason = "it was removed".to_owned();
            return Ok(Outcome::Crashed(reason, Vec::new()));
        };
        let has_crashed =
            app.restarts() > 0 || matches!(app.info.state.as_str(), "failed" | "waiting");
        if has_crashed {
            let lines = last_lines(client, address).await;
            let reason = match app.info.reason.as_str() {
                "" => "it crashed and was started again".to_owned(),
                reason => human::first_line(reason),
            };
            return Ok(Outcome::Crashed(reason, lines));
        }
        let limit = match app.info.state.as_str() {
            "starting" => START_TIME,
            "running" => WATCH_TIME,
            _ => Duration::ZERO,
        };
        if begin.elapsed() >= limit {
            return Ok(Outcome::Well(Box::new(app.clone())));
        }
        sleep(INTERVAL).await;
    }
}

/// What an app logged last. Without an answer there is nothing to show.
pub(crate) async fn last_lines(client: &Client, address: AppAddress) -> Vec<LogLine> {
    let tail = Tail::Last(LINES_MAX as u64);
    last_run(client.logs(address, tail).await.unwrap_or_default())
}

/// The lines of the last run that ended. An app that crashes is started again
/// and says the same each time; once is enough.
fn last_run(mut lines: Vec<LogLine>) -> Vec<LogLine> {
    let is_end = |line: &LogLine| line.source == LogSource::Host && line.level == LogLevel::Error;
    if let Some(end) = lines.iter().rposition(is_end) {
        lines.truncate(end + 1);
        if let Some(before) = lines[..end].iter().rposition(is_end) {
            lines.drain(..=before);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(source: LogSource, level: LogLevel, text: &str) -> LogLine {
        LogLine {
            seq: 0,
            time_ms: 0,
            instance: None,
            source,
            level,
            text: text.to_owned(),
        }
    }

    #[test]
    fn what_a_crashing_app_says_is_shown_once() {
        let run = |number: u32| {
            [
                line(
                    LogSource::Guest,
                    LogLevel::Error,
                    &format!("reason {number}"),
                ),
                line(LogSource::Host, LogLevel::Error, "exited with code 1"),
            ]
        };
        let mut lines: Vec<_> = (1..=3).flat_map(run).collect();
        lines.push(line(LogSource::Stdout, LogLevel::Info, "begins again"));
        let shown: Vec<_> = last_run(lines).into_iter().map(|line| line.text).collect();
        assert_eq!(shown, ["reason 3", "exited with code 1"]);
        let healthy = vec![line(LogSource::Stdout, LogLevel::Info, "fine")];
        assert_eq!(last_run(healthy).len(), 1);
    }
}
