//! The host's own lines in an app's log about what it refused a guest.
//!
//! A guest can be refused thousands of times a second. The first lines of a
//! second are written, the others counted and told of with the next line that
//! is. Shared by the host calls and the attempts to connect of one instance.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wapo_abi::message::LogLevel;

use crate::embedder::LogSource;
use crate::limits::NOTICES_PER_SECOND;
use crate::logs::Logger;

/// Writes such lines; clones share one limit.
#[derive(Clone)]
pub(crate) struct Notices {
    logger: Logger,
    rate: Arc<Mutex<Rate>>,
}

struct Rate {
    second: Instant,
    left: u32,
    kept_back: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            left: NOTICES_PER_SECOND,
            kept_back: 0,
        }
    }

    /// How many lines were kept back before this one, unless it is kept back, too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.second).as_secs() >= 1 {
            let kept_back = self.kept_back;
            *self = Self::new(now);
            self.kept_back = kept_back;
        }
        if self.left == 0 {
            self.kept_back += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.kept_back))
    }
}

impl Notices {
    pub(crate) fn new(logger: Logger) -> Self {
        Self {
            logger,
            rate: Arc::new(Mutex::new(Rate::new(Instant::now()))),
        }
    }

    /// Writes a line, unless there were too many in this second.
    pub(crate) fn warn(&self, text: &str) {
        let taken = self
            .rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now());
        match taken {
            None => {}
            Some(0) => self.write(text),
            Some(kept_back) => self.write(&format!("{text} ({kept_back} such lines left out)")),
        }
    }

    fn write(&self, text: &str) {
        self.logger
            .write(LogSource::Lifecycle, LogLevel::Warn, text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..NOTICES_PER_SECOND {
            assert_eq!(rate.take(start), Some(0));
        }
        assert_eq!(rate.take(start), None);
        assert_eq!(rate.take(start), None);
        let later = start + Duration::from_secs(1);
        assert_eq!(rate.take(later), Some(2));
        assert_eq!(rate.take(later), Some(0));
    }
}
