//! How far an upload is, on a terminal; nothing anywhere else.

use std::io::Write as _;
use std::time::{Duration, Instant};

use wapod::ByteSize;

use crate::terminal::Terminal;

/// Characters of the bar.
const BAR: u64 = 30;
/// Time between two pictures.
const INTERVAL: Duration = Duration::from_millis(50);

/// A bar on the last line of a terminal. Gone when it is dropped.
pub(crate) struct Progress {
    total: u64,
    is_watched: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// Begins at nothing of `total` bytes.
    pub(crate) fn new(terminal: &Terminal, total: u64) -> Self {
        Self {
            total,
            is_watched: terminal.is_watched(),
            drawn: None,
        }
    }

    /// Shows that so many bytes are done.
    pub(crate) fn set(&mut self, bytes: u64) {
        let is_fresh = self.drawn.is_some_and(|drawn| drawn.elapsed() < INTERVAL);
        if self.is_watched && !is_fresh {
            self.drawn = Some(Instant::now());
            let line = line(bytes, self.total);
            let _ = write!(std::io::stderr().lock(), "\r{line}\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(bytes: u64, total: u64) -> String {
    let part = |of: u64| {
        let share = u128::from(bytes.min(total)) * u128::from(of) / u128::from(total.max(1));
        usize::try_from(share).unwrap_or(0)
    };
    let bar = "=".repeat(part(BAR));
    let width = usize::try_from(BAR).unwrap_or(0);
    let (done, total) = (ByteSize(bytes), ByteSize(total));
    format!(
        "{:>12} [{bar:<width$}] {:>3}% {done} of {total}",
        "Uploading",
        part(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_to_its_end_and_no_further() {
        assert!(line(0, 1024).contains(&format!("[{}]   0%", " ".repeat(30))));
        assert!(line(512, 1024).contains(&format!("[{}{}]  50%", "=".repeat(15), " ".repeat(15))));
        let full = format!("[{}] 100%", "=".repeat(30));
        assert!(line(1024, 1024).contains(&full));
        assert!(line(2048, 1024).contains(&full));
        assert!(line(0, 0).contains("  0%"));
    }
}
