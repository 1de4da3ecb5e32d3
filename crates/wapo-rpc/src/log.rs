//! A line of an app's log, as JSON has it.
//!
//! Written by the daemon (`GET /logs/<address>`), read by `client`.

use serde::{Deserialize, Serialize};

/// A line of an app's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// Number of the line in the app's log, without gaps.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// Number of the instance; none for a line about the app as a whole.
    #[serde(default)]
    pub instance: Option<u64>,
    /// Who wrote it.
    pub source: LogSource,
    /// How much it matters.
    pub level: LogLevel,
    /// What it says.
    pub text: String,
}

/// Who wrote a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The guest, through the call for it.
    Guest,
    /// The guest, to its standard output.
    Stdout,
    /// The guest, to its standard error.
    Stderr,
    /// The worker, about the app.
    Host,
}

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may be wrong.
    Warn,
    /// Something happened.
    Info,
    /// For debugging.
    Debug,
    /// Every step.
    Trace,
}

/// What followers are told when they were too slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Missed {
    /// Lines that they do not get.
    pub missed: u64,
}

/// Name of the server-sent event that carries [`Missed`].
pub const MISSED_EVENT: &str = "missed";

/// Whether a worker works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Health {
    /// It answers.
    pub live: bool,
    /// It takes requests.
    pub ready: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_documented_json() {
        let line = LogLine {
            seq: 1,
            time_ms: 1_700_000_000_000,
            instance: Some(3),
            source: LogSource::Guest,
            level: LogLevel::Info,
            text: "hi".into(),
        };
        let text = r#"{"seq":1,"time_ms":1700000000000,"instance":3,"source":"guest","level":"info","text":"hi"}"#;
        assert_eq!(serde_json::to_string(&line).expect("json"), text);
        assert_eq!(serde_json::from_str::<LogLine>(text).expect("line"), line);
        let about_the_app = text.replace("\"instance\":3,", "");
        let line: LogLine = serde_json::from_str(&about_the_app).expect("line");
        assert_eq!(line.instance, None);
    }
}
