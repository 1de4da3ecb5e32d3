//! Lines on their way from a guest to the app's log.
//!
//! Cuts long lines, takes colours out, makes control characters visible, limits
//! the rate and says how much it dropped. The last lines before a pause or the
//! end are never among the dropped ones, because they are the ones that say
//! why. Used by the `log` call, by standard output and error, and for events in
//! the life of the instance. Keeps nothing for long; the embedder does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use wapo_abi::message::LogLevel;

use crate::embedder::{Embedder, InstanceId, LogLine, LogSource};
use crate::limits::{
    LOG_BYTES_PER_SECOND, LOG_LINES_PER_SECOND, LOG_TAIL_BYTES_MAX, LOG_TAIL_LINES_MAX,
};
use crate::line::{LineText, cut};

/// How many lines of an instance's log may pass.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogRate {
    /// So many a second that a guest cannot flood the operator.
    #[default]
    Limited,
    /// All of them: for developers who run a program and read along.
    Unlimited,
}

/// Writes to the log of one instance.
#[derive(Clone)]
pub(crate) struct Logger {
    instance: InstanceId,
    embedder: Arc<dyn Embedder>,
    /// `None` lets every line pass.
    limiter: Option<Arc<Mutex<Limiter>>>,
}

/// A line as the guest wrote it, cut to its limit.
struct Line {
    time: SystemTime,
    source: LogSource,
    level: LogLevel,
    text: String,
}

/// Decides which lines pass.
struct Limiter {
    second: Instant,
    /// Lines and bytes that may still pass in this second.
    lines: u32,
    bytes: usize,
    held: Held,
}

/// What did not pass since a line last did.
#[derive(Default)]
struct Held {
    /// The last of them, in case nothing follows.
    tail: VecDeque<Line>,
    tail_bytes: usize,
    /// How many there were before those.
    dropped: u64,
}

impl Held {
    fn push(&mut self, line: Line) {
        self.tail_bytes += line.text.len();
        self.tail.push_back(line);
        while self.tail.len() > LOG_TAIL_LINES_MAX || self.tail_bytes > LOG_TAIL_BYTES_MAX {
            let Some(oldest) = self.tail.pop_front() else {
                break;
            };
            self.tail_bytes -= oldest.text.len();
            self.dropped += 1;
        }
    }
}

impl Limiter {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            lines: LOG_LINES_PER_SECOND,
            bytes: LOG_BYTES_PER_SECOND,
            held: Held::default(),
        }
    }

    /// Lets a line pass, with what was held back before it, or holds it back.
    fn pass(&mut self, now: Instant, line: Line) -> Option<(Held, Line)> {
        if now.duration_since(self.second).as_secs() >= 1 {
            let held = std::mem::take(&mut self.held);
            *self = Self::new(now);
            self.take(held.tail.len(), held.tail_bytes);
            self.held = held;
        }
        if self.lines == 0 || self.bytes == 0 {
            self.held.push(line);
            return None;
        }
        self.take(1, line.text.len());
        Some((std::mem::take(&mut self.held), line))
    }

    fn take(&mut self, lines: usize, bytes: usize) {
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        self.lines = self.lines.saturating_sub(lines);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Logger {
    pub(crate) fn new(instance: InstanceId, embedder: Arc<dyn Embedder>, rate: LogRate) -> Self {
        let limiter = match rate {
            LogRate::Limited => Some(Arc::new(Mutex::new(Limiter::new(Instant::now())))),
            LogRate::Unlimited => None,
        };
        Self {
            instance,
            embedder,
            limiter,
        }
    }

    /// Writes one line that the guest caused, unless there were too many.
    pub(crate) fn write(&self, source: LogSource, level: LogLevel, text: &str) {
        let line = Line {
            time: SystemTime::now(),
            source,
            level,
            text: cut(text),
        };
        let Some(limiter) = &self.limiter else {
            return self.emit(line);
        };
        let passed = limiter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pass(Instant::now(), line);
        if let Some((held, line)) = passed {
            self.emit_held(held);
            self.emit(line);
        }
    }

    /// Writes how an instance ended, behind the last lines of the guest.
    pub(crate) fn announce(&self, level: LogLevel, text: &str) {
        if let Some(limiter) = &self.limiter {
            let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
            let held = std::mem::take(&mut limiter.held);
            drop(limiter);
            self.emit_held(held);
        }
        self.emit(Line {
            time: SystemTime::now(),
            source: LogSource::Lifecycle,
            level,
            text: cut(text),
        });
    }

    /// Writes the last of the lines that were held back, and how many were not
    /// kept.
    fn emit_held(&self, held: Held) {
        if held.dropped > 0 {
            let text = format!(
                "{} log lines dropped: more than {LOG_LINES_PER_SECOND} lines or \
                 {LOG_BYTES_PER_SECOND} bytes a second",
                held.dropped
            );
            self.emit(Line {
                time: held
                    .tail
                    .front()
                    .map_or_else(SystemTime::now, |line| line.time),
                source: LogSource::Lifecycle,
                level: LogLevel::Warn,
                text,
            });
        }
        held.tail.into_iter().for_each(|line| self.emit(line));
    }

    fn emit(&self, line: Line) {
        self.embedder.log(LogLine {
            time: line.time,
            instance: self.instance,
            source: line.source,
            level: line.level,
            text: LineText::of_cut(&line.text),
        });
    }
}

/// Where a text that is not finished should be cut, at most `limit` bytes from
/// its beginning: neither in a character nor in a control sequence.
pub(crate) fn seam(bytes: &[u8], limit: usize) -> usize {
    /// Colours take some twenty bytes at most; what is longer is cut.
    const SEQUENCE_BYTES: usize = 32;
    /// Bytes that may follow the first one of a character.
    const FOLLOWING: usize = 3;
    if bytes.len() <= limit {
        return bytes.len();
    }
    let is_following = |index: usize| bytes[index] & 0b1100_0000 == 0b1000_0000;
    let mut end = limit;
    while end > limit.saturating_sub(FOLLOWING) && is_following(end) {
        end -= 1;
    }
    if is_following(end) {
        // No text at all.
        end = limit;
    }
    let window = end.saturating_sub(SEQUENCE_BYTES);
    let escape = bytes[window..end].iter().rposition(|byte| *byte == 0x1b);
    if let Some(offset) = escape {
        let start = window + offset;
        let is_letter = |byte: &u8| (b'@'..=b'~').contains(byte) && *byte != b'[';
        if start > 0 && !bytes[start..end].iter().any(is_letter) {
            return start;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOG_LINE_BYTES_MAX;
    use std::time::Duration;

    #[test]
    fn a_seam_is_neither_in_a_character_nor_in_a_colour() {
        for text in ["ä", "€", "🦀", "xä€🦀"] {
            let text = text.repeat(20);
            for limit in 4..text.len() {
                let end = seam(text.as_bytes(), limit);
                assert!(text.is_char_boundary(end), "{text} {limit}: {end}");
                assert!(end + 4 > limit && end <= limit);
            }
        }
        let text = b"0123456789\x1b[31mred";
        for limit in 11..15 {
            assert_eq!(seam(text, limit), 10);
        }
        assert_eq!(seam(text, 15), 15);
        assert_eq!(seam(text, 9), 9);
        // What is no text is cut anywhere, and progress is always made.
        assert_eq!(seam(&[0x80; 100], 50), 50);
        assert_eq!(seam(&[0x1b; 100], 50), 49);
        assert_eq!(seam(b"\x1b[31", 2), 2);
        assert_eq!(seam(b"short", 50), 5);
    }

    fn line(text: &str) -> Line {
        Line {
            time: SystemTime::now(),
            source: LogSource::Stdout,
            level: LogLevel::Info,
            text: text.to_owned(),
        }
    }

    fn texts(held: &Held) -> Vec<&str> {
        held.tail.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_flood_is_counted_and_dropped() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        for _ in 0..LOG_LINES_PER_SECOND {
            assert!(limiter.pass(start, line("x")).is_some());
        }
        for _ in 0..LOG_TAIL_LINES_MAX + 7 {
            assert!(limiter.pass(start, line("x")).is_none());
        }
        let later = start + Duration::from_secs(1);
        let full = line(&"x".repeat(LOG_BYTES_PER_SECOND));
        let (held, _) = limiter.pass(later, full).expect("a new second");
        assert_eq!((held.dropped, held.tail.len()), (7, LOG_TAIL_LINES_MAX));
        assert!(limiter.pass(later, line("x")).is_none(), "no bytes left");
    }

    #[test]
    fn the_last_lines_of_a_flood_are_kept_within_bounds() {
        let now = Instant::now();
        let mut limiter = Limiter::new(now);
        limiter.lines = 0;
        for number in 0..10_000 {
            limiter.pass(now, line(&format!("line {number}")));
        }
        limiter.pass(now, line("the reason"));
        let held = &limiter.held;
        assert_eq!(held.tail.len(), LOG_TAIL_LINES_MAX);
        assert_eq!(texts(held).last(), Some(&"the reason"));
        let total = usize::try_from(held.dropped).expect("small") + held.tail.len();
        assert_eq!(total, 10_001, "each is kept or counted");
        for _ in 0..10 {
            limiter.pass(now, line(&"x".repeat(LOG_LINE_BYTES_MAX)));
            assert!(limiter.held.tail_bytes <= LOG_TAIL_BYTES_MAX);
        }
    }
}
