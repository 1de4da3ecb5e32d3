//! The last lines of an app's log, for clients that follow it.
//!
//! A [`LogBook`] keeps a bounded number of lines. Any number of [`LogReader`]s
//! follow it at their own pace; one that falls behind is told how many lines it
//! missed instead of holding up the guest. Written by `embedder`, read by `wapo
//! run` and by tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use wapo_host::LogLine;

use crate::limits::{LOG_BYTES_KEPT, LOG_LINES_KEPT};

/// Keeps the last lines of one app.
#[derive(Default)]
pub(crate) struct LogBook {
    pages: Mutex<Pages>,
    changed: Notify,
}

#[derive(Default)]
struct Pages {
    lines: VecDeque<Arc<KeptLine>>,
    /// Bytes of all texts in `lines`.
    bytes: usize,
    /// Number of the first line in `lines`; lines are counted from 0.
    first: u64,
}

impl LogBook {
    /// Adds a line; drops old ones when the book is full.
    pub(crate) fn add(&self, line: LogLine) {
        let mut pages = self.pages();
        pages.bytes += line.text.len();
        pages.lines.push_back(Arc::new(KeptLine {
            line,
            sent: OnceLock::new(),
        }));
        while pages.lines.len() > LOG_LINES_KEPT || pages.bytes > LOG_BYTES_KEPT {
            let Some(dropped) = pages.lines.pop_front() else {
                break;
            };
            pages.bytes -= dropped.line.text.len();
            pages.first += 1;
        }
        drop(pages);
        self.changed.notify_waiters();
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Every state between two statements of `add` is a valid one.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line of the book.
pub(crate) struct KeptLine {
    pub(crate) line: LogLine,
    /// As it is sent to those who follow; the same for all of them.
    sent: OnceLock<Bytes>,
}

impl KeptLine {
    /// The line as it is sent; `write` makes it when nobody was sent it yet.
    pub(crate) fn sent(&self, write: impl FnOnce(&LogLine) -> Bytes) -> &Bytes {
        self.sent.get_or_init(|| write(&self.line))
    }
}

/// What a reader finds next, not copied.
pub(crate) enum KeptEvent {
    Line(Arc<KeptLine>),
    Missed(u64),
}

/// What a reader finds next.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// A line.
    Line(LogLine),
    /// So many lines were dropped before they could be read.
    Missed(u64),
}

/// Follows the log of an app from the oldest line that is kept.
pub struct LogReader {
    book: Arc<LogBook>,
    next: u64,
}

impl LogReader {
    pub(crate) fn new(book: Arc<LogBook>) -> Self {
        let next = book.pages().first;
        Self { book, next }
    }

    /// Number of the line that was read last; lines are counted from 0.
    pub fn last_seq(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Goes on with the last `lines` of those that are kept.
    pub fn skip_to_last(&mut self, lines: u64) {
        let pages = self.book.pages();
        let end = pages.first + pages.lines.len() as u64;
        self.next = self.next.max(end.saturating_sub(lines));
    }

    /// The next line, if there is one already.
    pub fn try_next(&mut self) -> Option<LogEvent> {
        Some(match self.try_next_kept()? {
            KeptEvent::Line(kept) => LogEvent::Line(kept.line.clone()),
            KeptEvent::Missed(missed) => LogEvent::Missed(missed),
        })
    }

    /// The same without a copy.
    pub(crate) fn try_next_kept(&mut self) -> Option<KeptEvent> {
        let pages = self.book.pages();
        if self.next < pages.first {
            let missed = pages.first - self.next;
            self.next = pages.first;
            return Some(KeptEvent::Missed(missed));
        }
        let index = usize::try_from(self.next - pages.first).ok()?;
        let line = Arc::clone(pages.lines.get(index)?);
        self.next += 1;
        Some(KeptEvent::Line(line))
    }

    /// Waits until there is a next line. Never returns when there is none any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn ready(&self) {
        loop {
            let mut changed = std::pin::pin!(self.book.changed.notified());
            // Registered before looking, so that no line slips through between.
            changed.as_mut().enable();
            if self.has_next() {
                return;
            }
            changed.await;
        }
    }

    /// Whether there is a next line already.
    pub(crate) fn has_next(&self) -> bool {
        let pages = self.book.pages();
        self.next < pages.first + pages.lines.len() as u64
    }

    /// Waits for the next line. Never returns when there is none any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a line is either returned or still there.
    pub async fn next(&mut self) -> LogEvent {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.ready().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wapo_abi::message::LogLevel;
    use wapo_host::{InstanceId, LineText, LogSource};

    fn line(text: &str) -> LogLine {
        LogLine {
            instance: InstanceId(1),
            time: std::time::SystemTime::now(),
            source: LogSource::Guest,
            level: LogLevel::Info,
            text: LineText::new(text),
        }
    }

    fn text(event: Option<LogEvent>) -> String {
        match event {
            Some(LogEvent::Line(line)) => line.text.into(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_starts_with_the_oldest_line() {
        let book = Arc::new(LogBook::default());
        book.add(line("a"));
        let mut reader = LogReader::new(Arc::clone(&book));
        book.add(line("b"));
        assert_eq!(text(reader.try_next()), "a");
        assert_eq!(text(reader.try_next()), "b");
        assert!(reader.try_next().is_none());
    }

    #[test]
    fn a_slow_reader_learns_what_it_missed() {
        let book = Arc::new(LogBook::default());
        let mut reader = LogReader::new(Arc::clone(&book));
        for number in 0..LOG_LINES_KEPT + 3 {
            book.add(line(&number.to_string()));
        }
        assert!(matches!(reader.try_next(), Some(LogEvent::Missed(3))));
        assert_eq!(text(reader.try_next()), "3");
    }

    #[test]
    fn a_reader_can_begin_near_the_end() {
        let book = Arc::new(LogBook::default());
        for number in 0..9 {
            book.add(line(&number.to_string()));
        }
        let mut reader = LogReader::new(Arc::clone(&book));
        reader.skip_to_last(2);
        assert_eq!(text(reader.try_next()), "7");
        assert_eq!(reader.last_seq(), 7);
        let mut reader = LogReader::new(book);
        reader.skip_to_last(100);
        assert_eq!(text(reader.try_next()), "0");
    }

    #[test]
    fn long_lines_are_bounded_by_bytes() {
        let book = LogBook::default();
        for _ in 0..100 {
            book.add(line(&"x".repeat(16 * 1024)));
        }
        assert!(book.pages().bytes <= LOG_BYTES_KEPT);
    }

    #[tokio::test]
    async fn waiting_readers_are_woken() {
        let book = Arc::new(LogBook::default());
        let mut reader = LogReader::new(Arc::clone(&book));
        let reading = tokio::spawn(async move { text(Some(reader.next().await)) });
        tokio::task::yield_now().await;
        book.add(line("late"));
        assert_eq!(reading.await.expect("task"), "late");
    }
}
