//! What people see of tests: a tree as they end, what failed in detail, a count.

use std::path::Path;

use super::event::{End, State};
use super::place::Place;
use crate::human::printable;
use crate::terminal::{DIM, GREEN, PLAIN, RED, Terminal, YELLOW};

/// What failed, for the end.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The file, and names from the outermost suite to the test.
    pub(super) title: String,
    /// What it failed with.
    pub(super) text: String,
    pub(super) place: Option<Place>,
}

/// How many tests ended how.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    /// Still to be done.
    pub(super) later: u64,
    /// Nobody has asked for them.
    pub(super) left: u64,
}

impl Tally {
    pub(super) fn count(&mut self, end: &End) {
        match end.state {
            State::Pass => self.passed += end.tests,
            // A suite that fails by itself is told like a test.
            State::Fail => self.failed += end.tests.max(1),
            State::Inside => self.failed += end.tests,
            State::Skip => self.skipped += end.tests,
            State::Later => self.later += end.tests,
        }
    }

    /// Tests that were asked for by name.
    pub(super) fn chosen(&self) -> u64 {
        self.passed + self.failed + self.skipped + self.later
    }

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.later += other.later;
        self.left += other.left;
    }
}

/// Two spaces for each level, one more than the depth: files are at the edge.
fn indent(depth: usize) -> String {
    "  ".repeat(depth + 1)
}

/// A suite, or a test with others in it, that begins.
pub(super) fn begin(terminal: &Terminal, name: &str, depth: usize) {
    let mark = terminal.painted(DIM, "▸");
    terminal.result(&format!("{}{mark} {}", indent(depth), printable(name)));
}

/// The end of a test.
pub(super) fn end(terminal: &Terminal, end: &End) {
    let (mark, colour, word) = match end.state {
        State::Pass => ("✔", GREEN, ""),
        State::Fail | State::Inside => ("✖", RED, ""),
        State::Skip => ("-", YELLOW, "skipped"),
        State::Later => ("…", YELLOW, "to do"),
    };
    let name = end.path.last().map_or("", String::as_str);
    let name = match colour {
        RED => terminal.painted(RED, &printable(name)),
        _ => printable(name),
    };
    let mut notes = Vec::new();
    if !word.is_empty() {
        notes.push(word.to_owned());
    }
    notes.extend(end.reason.as_deref().map(printable));
    if end.state != State::Skip {
        notes.push(format!("{:.1} ms", end.ms));
    }
    let notes = terminal.painted(DIM, &format!("({})", notes.join(", ")));
    terminal.result(&format!(
        "{}{} {name} {notes}",
        indent(end.depth),
        terminal.painted(colour, mark)
    ));
}

/// What a test has to say.
pub(super) fn note(terminal: &Terminal, depth: usize, text: &str) {
    for line in text.lines() {
        let line = terminal.painted(DIM, &format!("ℹ {}", printable(line)));
        terminal.result(&format!("{}{line}", indent(depth + 1)));
    }
}

/// What failed, with its place.
pub(super) fn failure(terminal: &Terminal, failure: &Failure, folder: &Path) {
    terminal.result("");
    terminal.result(&terminal.painted(RED, &format!("✖ {}", printable(&failure.title))));
    if let Some(place) = &failure.place {
        terminal.result(&format!("  {}", place.shown_from(folder)));
        terminal.result("");
        for line in place.excerpt() {
            let colour = if line.starts_with('>') { PLAIN } else { DIM };
            terminal.result(&format!("  {}", terminal.painted(colour, &line)));
        }
        terminal.result("");
    }
    for line in failure.text.lines() {
        // Lines of a comparison.
        let colour = match line.get(..2) {
            Some("+ ") => GREEN,
            Some("- ") => RED,
            _ if line.trim_start().starts_with("at ") => DIM,
            _ => PLAIN,
        };
        terminal.result(&format!("  {}", terminal.painted(colour, &printable(line))));
    }
}

/// The last line.
pub(super) fn summary(terminal: &Terminal, tally: Tally, files: usize, time: &str) {
    let mut parts = Vec::new();
    let mut part = |count: u64, word: &str, colour| {
        if count > 0 {
            parts.push(terminal.painted(colour, &format!("{count} {word}")));
        }
    };
    part(tally.failed, "failed", RED);
    part(tally.passed, "passed", GREEN);
    part(tally.skipped, "skipped", YELLOW);
    part(tally.later, "to do", YELLOW);
    part(tally.left, "left out", DIM);
    if parts.is_empty() {
        parts.push("no tests".to_owned());
    }
    let files = if files == 1 {
        "1 file".to_owned()
    } else {
        format!("{files} files")
    };
    let rest = terminal.painted(DIM, &format!("in {files}, {time}"));
    terminal.result("");
    terminal.result(&format!("{} {rest}", parts.join(", ")));
}
