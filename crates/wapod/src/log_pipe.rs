//! Between the daemon's log and standard output.
//!
//! Whoever logs leaves the line in a queue and goes on: a thread of its own
//! writes, so that a pipe that nobody reads holds this thread and no other. What
//! does not fit the queue is counted and left out. Everything that becomes a line
//! of the log passes [`LogPipe::add`], which keeps it on one line. Used by
//! `logging`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait for standard output.
///
/// Some ten thousand lines: more than a service manager that restarts misses.
const QUEUE_BYTES_MAX: usize = 4 << 20;

/// Bytes of one line as text. An app's line has 16 KiB at most.
const LINE_BYTES_MAX: usize = 32 << 10;

/// What a line may have in it besides text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Text for a file or a pipe.
    Plain,
    /// Text with colours.
    Coloured,
    /// JSON, which has its own way to write control characters.
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
            Shape::Json => line.to_vec(),
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
                // Whoever read the log has gone. There is nobody to tell.
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
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Writes as long as somebody lets it.
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
    fn a_line_stays_one_line() {
        let clean =
            |line: &str, escapes| String::from_utf8(clean(line.as_bytes(), escapes)).expect("text");
        assert_eq!(clean("a\nb\u{1b}[2J\n", true), "a\\nb\\u{1b}[2J\n");
        assert_eq!(clean("\u{1b}[2ma\nb\n", false), "\u{1b}[2ma\\nb\n");
        let long = clean(&"ä".repeat(LINE_BYTES_MAX), true);
        assert!(long.len() < LINE_BYTES_MAX + 8);
    }
}
