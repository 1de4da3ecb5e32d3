//! Follows the tests of one file by what the engine tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wapod::LogSource;

use super::event::{End, Event, Kind, State};
use super::place::Place;
use super::show::{self, Failure, Tally};
use crate::helper::Said;
use crate::terminal::Terminal;

/// Time for a file to be evaluated. The engine stops a script that computes for longer;
/// this is for one that awaits what never comes.
const LOAD_TIME: Duration = Duration::from_secs(75);
/// Time for which the engine is waited for beyond the limit of a test, which it keeps
/// itself where it can.
const GRACE: Duration = Duration::from_secs(5);

/// A test or a suite that has begun.
struct Open {
    name: String,
    depth: usize,
    is_shown: bool,
    /// Time that it may take.
    limit: Duration,
}

/// The state of a file.
pub(crate) struct Progress {
    terminal: Arc<Terminal>,
    /// Its name for people.
    file: String,
    is_json: bool,
    sources: BTreeMap<String, PathBuf>,
    open: Vec<Open>,
    /// Number of the test at the top of the file that runs or ran last.
    top: Option<u64>,
    /// Until when the next event has to come; `None` for ever.
    deadline: Option<Instant>,
    /// All is told.
    pub(super) is_done: bool,
    /// The file failed as a whole, and it was told why.
    has_failed: bool,
    pub(super) tally: Tally,
    pub(super) failures: Vec<Failure>,
}

impl Progress {
    pub(super) fn new(
        terminal: Arc<Terminal>,
        file: String,
        is_json: bool,
        sources: BTreeMap<String, PathBuf>,
    ) -> Self {
        Self {
            terminal,
            file,
            is_json,
            sources,
            open: Vec::new(),
            top: None,
            deadline: Some(Instant::now() + LOAD_TIME),
            is_done: false,
            has_failed: false,
            tally: Tally::default(),
            failures: Vec::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes what the program says.
    pub(super) fn hear(&mut self, said: &Said<'_>) {
        match said {
            Said::Event(text) => match serde_json::from_str(text) {
                Ok(event) => {
                    self.pass_on(text);
                    self.event(event);
                }
                // It was too long for a line, or is of another engine.
                Err(error) => self.terminal.warn(&format!("{}: {error}", self.file)),
            },
            // How it ended is said in other words.
            Said::Line(line) if line.source == LogSource::Lifecycle || self.has_failed => {}
            Said::Line(line) => self.terminal.log(line),
        }
    }

    fn pass_on(&self, text: &str) {
        if !self.is_json {
            return;
        }
        if let Ok(Value::Object(mut event)) = serde_json::from_str(text) {
            event.insert("file".to_owned(), json!(self.file));
            self.terminal.result(&Value::Object(event).to_string());
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Begin {
                top,
                kind,
                name,
                depth,
                limit,
            } => {
                let limit = match (kind, limit) {
                    // Its hooks have limits of their own.
                    (Kind::Suite, _) => LOAD_TIME,
                    (Kind::Test, None) => Duration::MAX,
                    (Kind::Test, Some(ms)) => Duration::from_secs_f64(ms.clamp(0.0, 1e12) / 1000.0),
                };
                self.top = top.or(self.top);
                self.open.truncate(depth);
                self.show_open();
                self.open.push(Open {
                    name,
                    depth,
                    is_shown: false,
                    limit,
                });
                self.wait();
            }
            Event::End(end) => self.end(&end),
            Event::Note { depth, text } => {
                if !self.is_json {
                    show::note(&self.terminal, depth, &text);
                }
            }
            Event::Failed { text } => self.fail(Vec::new(), text),
            Event::Done { left } => {
                self.tally.left = left;
                self.is_done = true;
                self.deadline = Some(Instant::now() + GRACE);
            }
        }
    }

    /// Sets the time until the next event: the longest that one of those that have
    /// begun may take.
    fn wait(&mut self) {
        let longest = self.open.iter().map(|open| open.limit).max();
        let time = longest.unwrap_or(LOAD_TIME).saturating_add(GRACE);
        self.deadline = Instant::now().checked_add(time);
    }

    /// Shows the names of those that others begin in.
    fn show_open(&mut self) {
        if self.is_json {
            return;
        }
        for open in self.open.iter_mut().filter(|open| !open.is_shown) {
            open.is_shown = true;
            show::begin(&self.terminal, &open.name, open.depth);
        }
    }

    fn end(&mut self, end: &End) {
        self.tally.count(end);
        let was_shown = self.open.get(end.depth).is_some_and(|open| open.is_shown);
        self.open.truncate(end.depth);
        self.wait();
        if !self.is_json && (!was_shown || end.state == State::Fail) {
            show::end(&self.terminal, end);
        }
        if end.state == State::Fail {
            let text = end.error.clone().unwrap_or_default();
            self.note_failure(&end.path, text);
        }
    }

    /// Fails a test, or the file as a whole, which counts as one.
    fn fail(&mut self, path: Vec<String>, text: String) {
        self.has_failed = true;
        self.tally.failed += 1;
        self.note_failure(&path, text);
    }

    fn note_failure(&mut self, path: &[String], text: String) {
        let title: Vec<&str> = std::iter::once(self.file.as_str())
            .chain(path.iter().map(String::as_str))
            .collect();
        self.failures.push(Failure {
            title: title.join(" › "),
            place: Place::find(&text, &self.sources),
            text,
        });
    }

    /// The program ended before all was told: whatever ran has failed. Gives the
    /// number of the next test at the top of the file, if any had begun.
    pub(super) fn broke_off(&mut self, why: &str) -> Option<u64> {
        if self.has_failed {
            return None;
        }
        let path: Vec<String> = self.open.iter().map(|open| open.name.clone()).collect();
        let next = (!path.is_empty())
            .then(|| self.top.map(|top| top + 1))
            .flatten();
        if self.is_json {
            let event = json!({
                "event": "end", "path": path, "state": "fail", "error": why, "file": self.file,
            });
            self.terminal.result(&event.to_string());
        } else if let Some(open) = self.open.last() {
            let end = End {
                path: vec![open.name.clone()],
                depth: open.depth,
                state: State::Fail,
                tests: 1,
                ms: 0.0,
                reason: Some(why.to_owned()),
                error: None,
            };
            show::end(&self.terminal, &end);
        }
        self.fail(path, why.to_owned());
        // The others of the file get an instance of their own.
        self.has_failed = next.is_none();
        self.open.clear();
        self.deadline = Some(Instant::now() + LOAD_TIME);
        next
    }
}
