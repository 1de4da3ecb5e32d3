//! The turn of a connection on its thread. Called by `transport`.

use std::task::{Context, Poll};

/// Bytes that a connection moves before others on its thread have their turn.
///
/// A client that sends or takes as fast as the machine can copy always has more.
/// The runtime lets a connection go on for 128 reads or writes, which are many
/// megabytes, and milliseconds for all others; these are some tens of microseconds.
const TURN_BYTES: usize = 128 * 1024;

/// Counts what a connection has moved in its turn.
#[derive(Default)]
pub(super) struct Turn {
    moved: usize,
}

impl Turn {
    /// Whether the turn goes on; if not, the next one comes after that of others.
    pub(super) fn poll_goes_on(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.moved < TURN_BYTES {
            return Poll::Ready(());
        }
        self.moved = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts bytes that were read or written.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// The connection waits; others have their turn now.
    pub(super) fn ended(&mut self) {
        self.moved = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn others_have_their_turn_after_so_many_bytes_and_whenever_it_waits() {
        let cx = Context::from_waker(Waker::noop());
        let mut turn = Turn::default();
        for _ in 0..2 {
            turn.moved(TURN_BYTES - 1);
            assert!(turn.poll_goes_on(&cx).is_ready());
            turn.moved(1);
            assert!(turn.poll_goes_on(&cx).is_pending());
        }
        turn.moved(TURN_BYTES - 1);
        turn.ended();
        turn.moved(TURN_BYTES - 1);
        assert!(turn.poll_goes_on(&cx).is_ready());
    }
}
