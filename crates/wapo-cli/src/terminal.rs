//! What people see: messages on standard error, results on standard output.
//!
//! Standard output carries only what another program may want: URLs, paths, and
//! what a guest prints there. Colours are used when a person is looking. A
//! closed pipe is no error.

use std::io::{self, IsTerminal as _, Write as _};

use wapod::{LogEvent, LogLevel, LogSource};

/// Writes to both standard streams.
pub(crate) struct Terminal {
    colours: bool,
}

const RED: &str = "1;31";
const GREEN: &str = "1;32";
const YELLOW: &str = "1;33";
const BLUE: &str = "34";
const DIM: &str = "2";

impl Terminal {
    pub(crate) fn new() -> Self {
        Self {
            colours: io::stderr().is_terminal() && !no_colour(),
        }
    }

    /// Says what is being done: a verb, and what it is done to.
    pub(crate) fn note(&self, verb: &str, text: &str) {
        self.say(&format!(
            "{} {text}",
            self.paint(GREEN, &format!("{verb:>12}"))
        ));
    }

    /// Says what to do next or to mind.
    pub(crate) fn hint(&self, text: &str) {
        for line in text.lines() {
            self.say(&self.paint(DIM, &format!("{:>12} {line}", "")));
        }
    }

    /// Says what is suspicious.
    pub(crate) fn warn(&self, text: &str) {
        self.say(&format!("{}: {text}", self.paint(YELLOW, "warning")));
    }

    /// Says what failed.
    pub(crate) fn error(&self, text: &str) {
        self.say(&format!("{}: {text}", self.paint(RED, "error")));
    }

    /// Writes a line of result.
    pub(crate) fn result(&self, line: &str) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Writes bytes of result as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Shows a line of a guest's log.
    pub(crate) fn log(&self, event: &LogEvent) {
        let line = match event {
            LogEvent::Missed(count) => {
                self.warn(&format!("{count} lines of the log were too fast to show"));
                return;
            }
            LogEvent::Line(line) => line,
        };
        match line.source {
            LogSource::Stdout => self.result(&line.text),
            LogSource::Stderr => self.say(&line.text),
            LogSource::Lifecycle => self.say(&self.paint(DIM, &format!("wapo: {}", line.text))),
            LogSource::Guest => {
                let (name, colour) = match line.level {
                    LogLevel::Error => ("ERROR", RED),
                    LogLevel::Warn => (" WARN", YELLOW),
                    LogLevel::Info => (" INFO", GREEN),
                    LogLevel::Debug => ("DEBUG", BLUE),
                    LogLevel::Trace => ("TRACE", DIM),
                };
                self.say(&format!("{} {}", self.paint(colour, name), line.text));
            }
        }
    }

    fn say(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
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
