//! The app's log: a logger for the crate [`log`](https://docs.rs/log) that writes to the host.
//!
//! Call [`init`] first thing in `main`, then use `log::info!` and the others.
//! What is logged shows in `wapo logs` and on the operator's console.

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};
use wapo_abi::message::LogLevel;

pub use crate::compat::log::*;
use crate::sys::calls;

/// Starts logging with the filter of the environment variable `RUST_LOG`,
/// or from level `info` when there is none.
///
/// ```no_run
/// #[wapo::main]
/// async fn main() {
///     wapo::log::init();
///     log::info!("hello");
/// }
/// ```
///
/// The first logger stays: calling this again does nothing.
#[allow(
    clippy::disallowed_methods,
    reason = "an app's settings are its environment"
)]
pub fn init() {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    // Fails only when there is a logger already, which is then used.
    let _ = Logger::new(filter.as_str()).init();
}

/// Sends records that pass a filter to the host.
#[derive(Debug, Default)]
pub struct Logger {
    filter: Filter,
}

impl Logger {
    /// A logger with a filter, for instance `Logger::new("warn,my_app=debug")`.
    pub fn new(filter: impl Into<Filter>) -> Self {
        Self {
            filter: filter.into(),
        }
    }

    /// Makes this the program's logger.
    ///
    /// # Errors
    ///
    /// When the program has one already.
    pub fn init(self) -> Result<(), SetLoggerError> {
        log::set_max_level(self.filter.most());
        log::set_boxed_logger(Box::new(self))
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.filter.level_of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Trace => LogLevel::Trace,
        };
        let text = format!("{}: {}", record.target(), record.args());
        // A log that fails has nowhere to say so.
        let _ = calls::log(level, &text);
    }

    fn flush(&self) {}
}

/// Which records are logged: a list of `level` or `module=level`, with commas.
///
/// The longest module that a record's target starts with decides; a module
/// without a level means all of it. Words that are no directive are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Longest module first; the empty module matches everything.
    directives: Vec<(String, LevelFilter)>,
}

impl From<&str> for Filter {
    fn from(text: &str) -> Self {
        let mut directives: Vec<_> = text.split(',').filter_map(directive).collect();
        directives.sort_by_key(|(module, _)| std::cmp::Reverse(module.len()));
        Self { directives }
    }
}

impl From<String> for Filter {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

fn directive(word: &str) -> Option<(String, LevelFilter)> {
    let word = word.trim();
    if let Some((module, level)) = word.split_once('=') {
        return Some((module.trim().to_owned(), level.trim().parse().ok()?));
    }
    match word.parse() {
        Ok(level) => Some((String::new(), level)),
        Err(_) if word.is_empty() => None,
        Err(_) => Some((word.to_owned(), LevelFilter::Trace)),
    }
}

impl Filter {
    fn level_of(&self, target: &str) -> LevelFilter {
        self.directives
            .iter()
            .find(|(module, _)| is_within(target, module))
            .map_or(LevelFilter::Off, |(_, level)| *level)
    }

    fn most(&self) -> LevelFilter {
        self.directives
            .iter()
            .map(|(_, level)| *level)
            .max()
            .unwrap_or(LevelFilter::Off)
    }
}

/// Whether a target is a module or lies below it.
fn is_within(target: &str, module: &str) -> bool {
    target
        .strip_prefix(module)
        .is_some_and(|rest| module.is_empty() || rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_module_decides() {
        let filter = Filter::from("warn, app=debug, app::noisy=off");
        assert_eq!(filter.level_of("other"), LevelFilter::Warn);
        assert_eq!(filter.level_of("app"), LevelFilter::Debug);
        assert_eq!(filter.level_of("app::part"), LevelFilter::Debug);
        assert_eq!(filter.level_of("application"), LevelFilter::Warn);
        assert_eq!(filter.level_of("app::noisy::x"), LevelFilter::Off);
        assert_eq!(filter.most(), LevelFilter::Debug);
    }

    #[test]
    fn odd_filters_are_no_errors() {
        assert_eq!(Filter::from("").level_of("x"), LevelFilter::Off);
        assert_eq!(Filter::from("a=b,,=").level_of("x"), LevelFilter::Off);
        assert_eq!(Filter::from("app").level_of("app"), LevelFilter::Trace);
    }
}
