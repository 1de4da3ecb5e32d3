//! Lines on their way from a guest to the app's log.
//!
//! Cuts long lines, makes control characters visible, limits the rate and says
//! how much it dropped. Used by the `log` call, by standard output and error,
//! and for events in the life of the instance. Keeps nothing; the embedder does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use wapo_abi::message::LogLevel;

use crate::embedder::{Embedder, InstanceId, LogLine, LogSource};
use crate::limits::{LOG_BYTES_PER_SECOND, LOG_LINE_BYTES_MAX, LOG_LINES_PER_SECOND};

/// Writes to the log of one instance.
#[derive(Clone)]
pub(crate) struct Logger {
    instance: InstanceId,
    embedder: Arc<dyn Embedder>,
    budget: Arc<Mutex<Budget>>,
}

struct Budget {
    second: Instant,
    lines: u32,
    bytes: usize,
    dropped: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            lines: LOG_LINES_PER_SECOND,
            bytes: LOG_BYTES_PER_SECOND,
            dropped: 0,
        }
    }

    /// Whether one more line may pass, and how many were dropped before it.
    fn take(&mut self, now: Instant, bytes: usize) -> Option<u64> {
        if now.duration_since(self.second).as_secs() >= 1 {
            let dropped = self.dropped;
            *self = Self::new(now);
            self.dropped = dropped;
        }
        if self.lines == 0 || self.bytes == 0 {
            self.dropped += 1;
            return None;
        }
        self.lines -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(std::mem::take(&mut self.dropped))
    }
}

impl Logger {
    pub(crate) fn new(instance: InstanceId, embedder: Arc<dyn Embedder>) -> Self {
        Self {
            instance,
            embedder,
            budget: Arc::new(Mutex::new(Budget::new(Instant::now()))),
        }
    }

    /// Writes one line that the guest caused, unless there were too many.
    pub(crate) fn write(&self, source: LogSource, level: LogLevel, text: &str) {
        let taken = self
            .budget
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now(), text.len().min(LOG_LINE_BYTES_MAX));
        match taken {
            None => return,
            Some(0) => {}
            Some(dropped) => self.emit(
                LogSource::Lifecycle,
                LogLevel::Warn,
                format!(
                    "{dropped} log lines dropped: more than {LOG_LINES_PER_SECOND} lines or {LOG_BYTES_PER_SECOND} bytes a second"
                ),
            ),
        }
        self.emit(source, level, printable(text));
    }

    /// Writes what nobody may miss: how an instance ended.
    pub(crate) fn announce(&self, level: LogLevel, text: &str) {
        self.emit(LogSource::Lifecycle, level, printable(text));
    }

    fn emit(&self, source: LogSource, level: LogLevel, text: String) {
        self.embedder.log(LogLine {
            time: SystemTime::now(),
            instance: self.instance,
            source,
            level,
            text,
        });
    }
}

/// Cuts a line to its limit and makes control characters visible.
///
/// Line breaks and tabs of the host's own multi-line messages (backtraces)
/// stay; a guest cannot forge a line of another app, since lines are records.
fn printable(text: &str) -> String {
    let mut end = text.len().min(LOG_LINE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = end < text.len();
    let mut line = String::with_capacity(end);
    for character in text[..end].chars() {
        match character {
            '\n' | '\t' => line.push(character),
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    if cut {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_are_cut_and_cleaned() {
        assert_eq!(printable("plain\ttext"), "plain\ttext");
        assert_eq!(printable("\u{1b}[31mred\r"), "\\u{1b}[31mred\\r");
        let long = printable(&"ä".repeat(LOG_LINE_BYTES_MAX));
        assert!(long.len() <= LOG_LINE_BYTES_MAX + '…'.len_utf8());
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_flood_is_counted_and_dropped() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        for _ in 0..LOG_LINES_PER_SECOND {
            assert_eq!(budget.take(start, 1), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(budget.take(start, 1), None);
        }
        let later = start + Duration::from_secs(1);
        assert_eq!(budget.take(later, LOG_BYTES_PER_SECOND), Some(7));
        assert_eq!(budget.take(later, 1), None, "the bytes are used up");
    }
}
