//! Output for people: messages on standard error, results on standard output.
//!
//! Standard output carries only what another program may want: URLs, paths, and what
//! a guest prints there. Colours are used when a person is looking. A closed pipe is
//! no error. Messages may quote a worker or an app: control sequences in them are
//! escaped.

use std::io::{self, IsTerminal as _, Write as _};

use wapo_rpc::log;
use wapod::{LogLevel, LogLine, LogSource};

use crate::human;
use crate::table::Table;

/// Writes to both standard streams.
pub(crate) struct Terminal {
    /// Whether standard error shows colours.
    colours: bool,
    /// Whether standard output does.
    result_colours: bool,
}

pub(crate) const RED: &str = "1;31";
pub(crate) const GREEN: &str = "1;32";
pub(crate) const YELLOW: &str = "1;33";
const BLUE: &str = "34";
/// Colour of what matters less.
pub(crate) const DIM: &str = "2";
/// No colour.
pub(crate) const PLAIN: &str = "";

impl Terminal {
    pub(crate) fn new() -> Self {
        Self {
            colours: io::stderr().is_terminal() && !no_colour(),
            result_colours: io::stdout().is_terminal() && !no_colour(),
        }
    }

    /// Whether a person sees messages as they come.
    pub(crate) fn is_watched(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Says what is being done: a verb, and what it is done to.
    pub(crate) fn note(&self, verb: &str, text: &str) {
        self.say(&format!(
            "{} {}",
            self.paint(GREEN, &format!("{verb:>12}")),
            human::message(text)
        ));
    }

    /// Says what to do next or to mind.
    pub(crate) fn hint(&self, text: &str) {
        for line in human::message(text).lines() {
            self.say(&self.paint(DIM, &format!("{:>12} {line}", "")));
        }
    }

    /// Says what is suspicious.
    pub(crate) fn warn(&self, text: &str) {
        self.labelled(YELLOW, "warning", text);
    }

    /// Says what failed.
    pub(crate) fn error(&self, text: &str) {
        self.labelled(RED, "error", text);
    }

    /// Writes a line of result.
    pub(crate) fn result(&self, line: &str) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Writes a line of result, for commands that may write lines without end.
    ///
    /// # Errors
    ///
    /// Nobody reads them any more.
    pub(crate) fn stream(&self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    }

    /// Writes a table of results.
    pub(crate) fn table(&self, table: &Table) {
        for line in table.lines(|colour, text| paint(self.result_colours, colour, text)) {
            self.result(&line);
        }
    }

    /// A line of a worker's log, as part of a result.
    pub(crate) fn log_line(&self, line: &log::LogLine) -> String {
        log_line(self.result_colours, line)
    }

    /// Shows a line of a worker's log, to explain something.
    pub(crate) fn aside(&self, line: &log::LogLine) {
        self.say(&log_line(self.colours, line));
    }

    /// A part of a line of result in a colour.
    pub(crate) fn painted(&self, colour: &str, text: &str) -> String {
        paint(self.result_colours, colour, text)
    }

    /// Writes bytes of result as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Shows a line of a guest's log.
    pub(crate) fn log(&self, line: &LogLine) {
        match line.source {
            LogSource::Stdout => self.result(&line.text),
            LogSource::Stderr => self.say(&line.text),
            LogSource::Lifecycle => {
                let colour = match line.level {
                    LogLevel::Error => RED,
                    _ => DIM,
                };
                self.say(&format!("{} {}", self.paint(colour, "wapo:"), line.text));
            }
            LogSource::Guest => {
                let (name, colour) = match line.level {
                    LogLevel::Error => ("ERROR", RED),
                    LogLevel::Warn => (" WARN", YELLOW),
                    LogLevel::Info => (" INFO", GREEN),
                    LogLevel::Debug => ("DEBUG", BLUE),
                    LogLevel::Trace => ("TRACE", DIM),
                };
                let text = console_text(&line.text).replace('\n', "\n      ");
                self.say(&format!("{} {text}", self.paint(colour, name)));
            }
        }
    }

    fn labelled(&self, colour: &str, word: &str, text: &str) {
        let text = human::message(text);
        self.say(&format!("{}: {text}", self.paint(colour, word)));
    }

    fn say(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        paint(self.colours, colour, text)
    }
}

/// The text of a line of a log, without what the engine of JavaScript puts before that
/// of a console.
pub(crate) fn console_text(text: &str) -> &str {
    text.strip_prefix("js::console: ").unwrap_or(text)
}

/// The colour of an app's state.
pub(crate) fn state_colour(state: &str) -> &'static str {
    match state {
        "running" => GREEN,
        "starting" | "waiting" => YELLOW,
        "failed" => RED,
        _ => DIM,
    }
}

/// A line of a worker's log: when, from where, what.
fn log_line(colours: bool, line: &log::LogLine) -> String {
    let (name, colour) = match (line.source, line.level) {
        (log::LogSource::Host, log::LogLevel::Error) => ("wapo", RED),
        (log::LogSource::Host, log::LogLevel::Warn) => ("wapo", YELLOW),
        (log::LogSource::Host, _) => ("wapo", DIM),
        (log::LogSource::Stdout, _) => ("out", DIM),
        (log::LogSource::Stderr, _) => ("err", DIM),
        (log::LogSource::Guest, log::LogLevel::Error) => ("ERROR", RED),
        (log::LogSource::Guest, log::LogLevel::Warn) => ("WARN", YELLOW),
        (log::LogSource::Guest, log::LogLevel::Info) => ("INFO", GREEN),
        (log::LogSource::Guest, log::LogLevel::Debug) => ("DEBUG", BLUE),
        (log::LogSource::Guest, log::LogLevel::Trace) => ("TRACE", DIM),
    };
    let time = paint(colours, DIM, &human::moment(line.time_ms));
    let name = paint(colours, colour, &format!("{name:>5}"));
    // The text of a trap has several lines.
    let text: Vec<String> = console_text(&line.text)
        .lines()
        .map(human::printable)
        .collect();
    format!("{time} {name} {}", text.join("\n      "))
}

fn paint(colours: bool, colour: &str, text: &str) -> String {
    if colours && colour != PLAIN {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Whether the person asked for no colours (<https://no-color.org>).
#[allow(
    clippy::disallowed_methods,
    reason = "a property of the terminal, not a setting of an app"
)]
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
