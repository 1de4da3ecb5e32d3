//! The engine's reports about tests, one event per line.
//! `guests/wapo-js/js/wapo/test-run.js` writes them.

use serde::Deserialize;

/// An event.
#[derive(Deserialize, Debug)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event {
    /// A test or a suite begins.
    Begin {
        /// Its number in the file, if it is at its top.
        top: Option<u64>,
        kind: Kind,
        name: String,
        depth: usize,
        /// Time that a test may take, in milliseconds; none where there is no limit.
        limit: Option<f64>,
    },
    /// It has come to its end.
    End(End),
    /// A line that a test reports.
    Note { depth: usize, text: String },
    /// The file failed as a whole.
    Failed { text: String },
    /// Nothing comes any more.
    Done {
        /// Tests that nobody has asked for.
        left: u64,
    },
}

/// What begins.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Test,
    Suite,
}

/// The end of a test or a suite.
#[derive(Deserialize, Debug)]
pub(super) struct End {
    /// Names from the outermost suite to the test itself.
    pub(super) path: Vec<String>,
    pub(super) depth: usize,
    pub(super) state: State,
    /// Tests that it stands for: one, none, or those of a suite that was skipped.
    pub(super) tests: u64,
    /// Time that it took, in milliseconds.
    pub(super) ms: f64,
    /// Why it was skipped, or is still to be done.
    pub(super) reason: Option<String>,
    /// What it failed with.
    pub(super) error: Option<String>,
}

/// How a test ended.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Pass,
    Fail,
    /// Something inside of it failed, and was told.
    Inside,
    Skip,
    /// Still to be done: it may fail.
    #[serde(rename = "todo")]
    Later,
}
