//! How fast a client has to send the body of a request.
//!
//! No I/O. Used by the readers of bodies: the gateway, `collect` and `blob`.

use std::time::Duration;

use crate::limits::BODY_WINDOW_BYTES_MIN;

/// How fast a client sends, counted while it is waited for.
pub(super) struct Pace {
    window: Duration,
    /// Time that is left of the window.
    left: Duration,
    /// Bytes that came within the window.
    bytes: u64,
}

impl Pace {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            left: window,
            bytes: 0,
        }
    }

    /// Time that is left for the client to go on.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Counts bytes that took some time; false when it was too long for them.
    pub(super) fn count(&mut self, bytes: u64, time: Duration) -> bool {
        self.bytes += bytes;
        self.left = self.left.saturating_sub(time);
        if self.bytes >= BODY_WINDOW_BYTES_MIN {
            *self = Self::new(self.window);
        }
        !self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_to_keep_up_within_each_window() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(10 * second);
        assert!(pace.count(BODY_WINDOW_BYTES_MIN - 1, 9 * second));
        assert!(pace.count(1, second / 2), "enough, just in time");
        assert!(pace.count(1, 9 * second), "a new window");
        assert!(!pace.count(1, second));
        assert_eq!(pace.left(), Duration::ZERO);
    }
}
