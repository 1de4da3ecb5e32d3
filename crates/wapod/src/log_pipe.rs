//! The queue between the daemon's log and standard output.
//!
//! A thread that logs leaves the line in a queue and goes on: a thread of its own
//! writes, so that a pipe that nobody reads holds this thread and no other. What
//! does not fit the queue is counted and left out. Everything that becomes a line
//! of the log passes [`LogPipe::add`], which keeps it on one line. Used by
//! `logging`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait for standard output.
///
/// Some ten thousand lines: more than a service manager that restarts misses.
const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Bytes of one line. An app's line has 16 KiB at most.
const LINE_BYTES_MAX: usize = 32 << 10;

/// Bytes that are left of a field when a line of JSON is cut. Of nine long ones not
/// all can stay.
const FIELD_BYTES_MIN: usize = LINE_BYTES_MAX / 8;

/// What a line may have in it besides text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Text for a file or a pipe.
    Plain,
    /// Text with colours.
    Coloured,
    /// JSON, which has its own way to write such characters.
    Json,
}

/// The queue and its thread. Clones are the same.
#[derive(Clone)]
pub(crate) struct LogPipe {
    shared: Arc<Shared>,
    shape: Shape,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room since the last word about them.
    dropped: u64,
    is_writing: bool,
}

impl LogPipe {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn start(shape: Shape, output: impl Write + Send + 'static) -> io::Result<Self> {
        let pipe = Self {
            shared: Arc::default(),
            shape,
        };
        let shared = Arc::clone(&pipe.shared);
        std::thread::Builder::new()
            .name("wapod-log".to_owned())
            .spawn(move || shared.write_all(output))?;
        Ok(pipe)
    }

    /// Takes one line, with its line break at the end.
    fn add(&self, line: &[u8]) {
        let line = match self.shape {
            Shape::Json => clean_json(line),
            Shape::Plain => clean(line, true),
            Shape::Coloured => clean(line, false),
        };
        let mut queue = self.shared.queue();
        if queue.bytes + line.len() > QUEUE_BYTES_MAX {
            queue.dropped += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.shared.arrived.notify_one();
    }

    /// Waits until everything is written, but not longer than that.
    pub(crate) fn flush(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut queue = self.shared.queue();
        while queue.is_writing || !queue.lines.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return;
            };
            let waited = self.shared.written.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every state between two statements below is a valid one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut output: impl Write) {
        loop {
            let mut queue = self.queue();
            while queue.lines.is_empty() && queue.dropped == 0 {
                let waited = self.arrived.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut queue.lines);
            let dropped = std::mem::take(&mut queue.dropped);
            queue.bytes = 0;
            queue.is_writing = true;
            drop(queue);
            for line in lines {
                // The reader of the log has gone. There is nobody to tell.
                let _ = output.write_all(&line);
            }
            let _ = output.flush();
            if dropped > 0 {
                tracing::warn!(
                    target: "wapod",
                    "{dropped} lines of this log were left out: standard output took no more"
                );
            }
            self.queue().is_writing = false;
            self.written.notify_all();
        }
    }
}

/// Keeps a line on one line, within the limit, and without what a terminal obeys.
fn clean(line: &[u8], escapes: bool) -> Vec<u8> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = &text[..text.len().min(LINE_BYTES_MAX)];
    let text = String::from_utf8_lossy(text);
    let mut clean = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '\n' => clean.push_str("\\n"),
            '\t' => clean.push(character),
            hidden if escapes && wapo_host::line::is_hidden(hidden) => {
                clean.extend(hidden.escape_default());
            }
            other => clean.push(other),
        }
    }
    clean.push('\n');
    clean.into_bytes()
}

/// The same for a line of JSON, which stays one.
fn clean_json(line: &[u8]) -> Vec<u8> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let mut clean = escape_json(&String::from_utf8_lossy(text));
    if clean.len() > LINE_BYTES_MAX {
        clean = match serde_json::from_str(&clean) {
            Ok(fields) => shorten(fields),
            // The formatter writes objects only.
            Err(_) => LEFT_OUT.to_owned(),
        };
    }
    clean.push('\n');
    clean.into_bytes()
}

/// What stands for a line that cannot be shortened.
const LEFT_OUT: &str =
    r#"{"level":"WARN","target":"wapod","message":"a line was left out: it is too long"}"#;

/// Escapes what a terminal obeys. In JSON it is in strings only.
fn escape_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match wapo_host::line::is_hidden(character) {
            // None of them needs a second unit.
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => escaped.push(character),
        }
    }
    escaped
}

/// Cuts the longest texts of an object until it fits.
fn shorten(mut fields: serde_json::Map<String, Value>) -> String {
    loop {
        let line = escape_json(&Value::Object(fields.clone()).to_string());
        let Some(excess) = line
            .len()
            .checked_sub(LINE_BYTES_MAX)
            .filter(|excess| *excess > 0)
        else {
            return line;
        };
        let texts = fields.values_mut().filter_map(|value| match value {
            Value::String(text) => Some(text),
            _ => None,
        });
        let Some((bytes, longest)) = texts.map(|text| (json_bytes(text), text)).max() else {
            return LEFT_OUT.to_owned();
        };
        if bytes <= FIELD_BYTES_MIN {
            return LEFT_OUT.to_owned();
        }
        let room = bytes.saturating_sub(excess + '…'.len_utf8());
        *longest = cut_json(longest, room.max(FIELD_BYTES_MIN - '…'.len_utf8()));
    }
}

/// Bytes that a text takes in a line of JSON.
fn json_bytes(text: &str) -> usize {
    text.chars().map(json_bytes_of).sum()
}

fn json_bytes_of(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        hidden if wapo_host::line::is_hidden(hidden) => 6,
        other => other.len_utf8(),
    }
}

/// The beginning of a text that takes at most so many bytes in a line of JSON.
fn cut_json(text: &str, bytes_max: usize) -> String {
    let mut bytes = 0;
    let fits = |character: &char| {
        bytes += json_bytes_of(*character);
        bytes <= bytes_max
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

impl<'a> MakeWriter<'a> for LogPipe {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line; the formatter writes each as a whole.
pub(crate) struct Line<'a>(&'a LogPipe);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Writes until the queue is closed.
    struct Held {
        written: Sender<Vec<u8>>,
        go_on: Receiver<()>,
    }

    impl Write for Held {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.written.send(line.to_vec());
            let _ = self.go_on.recv();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_and_what_is_left_out_is_counted() {
        let (written, lines) = channel();
        let (open, go_on) = channel();
        let pipe = LogPipe::start(Shape::Plain, Held { written, go_on }).expect("a thread");
        pipe.add(b"first\n");
        lines.recv().expect("it is being written");
        let line = [vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
        // Cut to their limit they would all fit.
        for _ in 0..QUEUE_BYTES_MAX / LINE_BYTES_MAX + 7 {
            pipe.add(&line);
        }
        let queue = pipe.shared.queue();
        assert!(queue.bytes <= QUEUE_BYTES_MAX);
        assert!(queue.dropped >= 7, "{}", queue.dropped);
        drop(queue);
        pipe.flush(Duration::from_millis(20));
        drop(open);
        pipe.flush(Duration::from_secs(60));
        assert!(pipe.shared.queue().lines.is_empty());
    }

    #[test]
    fn a_line_of_json_is_cut_and_stays_json() {
        let clean = |line: &Value| {
            let clean = clean_json(format!("{line}\n").as_bytes());
            let text = String::from_utf8(clean).expect("text");
            assert!(text.len() <= LINE_BYTES_MAX + 1, "{} bytes", text.len());
            let line = text.strip_suffix('\n').expect("its end");
            assert!(!line.contains(wapo_host::line::is_hidden), "{line}");
            serde_json::from_str::<Value>(line).expect("JSON")
        };
        let plain =
            json!({"level": "INFO", "message": "a\u{1b}[2J\u{9b}2J\n\u{202e}b", "count": 7});
        assert_eq!(clean(&plain), plain, "nothing is lost");
        for character in ["x", "ä", "\"", "\u{1}", "\u{202e}"] {
            let long = character.repeat(LINE_BYTES_MAX);
            let line = json!({"level": "INFO", "message": long, "target": "wapod", "url": long});
            let kept = clean(&line);
            assert_eq!(kept["level"], "INFO");
            let message = kept["message"].as_str().expect("a text");
            assert!(message.starts_with(character) && message.ends_with('…'));
            assert!(message.len() > 500, "{character}: {} bytes", message.len());
        }
        let numbers: Vec<usize> = (0..LINE_BYTES_MAX).collect();
        assert_eq!(clean(&json!({"list": numbers}))["level"], "WARN");
    }

    #[test]
    fn a_line_stays_one_line() {
        let clean =
            |line: &str, escapes| String::from_utf8(clean(line.as_bytes(), escapes)).expect("text");
        assert_eq!(clean("a\nb\u{1b}[2J\n", true), "a\\nb\\u{1b}[2J\n");
        assert_eq!(clean("\u{1b}[2ma\nb\n", false), "\u{1b}[2ma\\nb\n");
        let long = clean(&"ä".repeat(LINE_BYTES_MAX), true);
        assert!(long.len() < LINE_BYTES_MAX + 8);
    }
}
