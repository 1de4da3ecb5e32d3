//! Received but unread bodies of requests on a connection of HTTP/2.
//!
//! The windows bound them for each connection, and there may be thousands of
//! connections. So they are counted, by stream, as they come; what is beyond a free
//! part is on a budget of the port. A connection for which the budget has no room is
//! not read on until something is taken, or others give something back: whatever is
//! read at once needs no room. Counted by `frames` and `http2`, asked by `transport`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use super::budget::Share;
use crate::limits::{STREAMS_MAX, UNREAD_FREE_BYTES};

/// Streams of a connection that may be counted at a time.
///
/// Those that the library refused never had a reader, and stay. A client of whose
/// streams so many are refused, each with a body, makes nothing but work.
const COUNTED_MAX: usize = 4 * STREAMS_MAX as usize;

/// What came on one connection and was not taken.
#[derive(Default)]
pub(super) struct Unread(Mutex<State>);

#[derive(Default)]
struct State {
    /// Bytes of each stream whose body may be read.
    streams: HashMap<u32, u64>,
    /// All of them together.
    bytes: u64,
    /// `None` where there is no budget.
    share: Option<Share>,
    /// The reader of the connection, while there is no room.
    reader: Option<Waker>,
}

impl State {
    fn beyond(&self) -> u64 {
        self.bytes.saturating_sub(UNREAD_FREE_BYTES)
    }

    /// Gives back what is not needed any more.
    fn lower(&mut self, bytes: u64) -> Option<Waker> {
        self.bytes = self.bytes.saturating_sub(bytes);
        let beyond = self.beyond();
        if let Some(share) = &mut self.share {
            share.shrink(beyond);
        }
        self.reader.take()
    }
}

impl Unread {
    pub(super) fn new(share: Share) -> Self {
        Self(Mutex::new(State {
            share: Some(share),
            ..State::default()
        }))
    }

    /// A request with a body has come; false when there are too many.
    pub(super) fn begin(&self, stream: u32) -> bool {
        let mut state = self.state();
        state.streams.entry(stream).or_default();
        state.streams.len() <= COUNTED_MAX
    }

    /// Bytes of a body have come. What comes for others is thrown away.
    pub(super) fn arrived(&self, stream: u32, bytes: u64) {
        let mut state = self.state();
        if let Some(of) = state.streams.get_mut(&stream) {
            *of += bytes;
            state.bytes += bytes;
        }
    }

    /// Bytes of a body were taken.
    pub(super) fn taken(&self, stream: u32, bytes: u64) {
        let mut state = self.state();
        let Some(of) = state.streams.get_mut(&stream) else {
            return;
        };
        let bytes = bytes.min(*of);
        *of -= bytes;
        let reader = state.lower(bytes);
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Nobody takes any more of a body.
    pub(super) fn over(&self, stream: u32) {
        let mut state = self.state();
        let Some(bytes) = state.streams.remove(&stream) else {
            return;
        };
        let reader = state.lower(bytes);
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Whether there is room for what has come, so that more may. If not, the task that
    /// reads is woken when some of it was taken.
    pub(super) fn has_room(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        let beyond = state.beyond();
        let has_room = match &mut state.share {
            Some(share) => share.grow_to(beyond).is_ok(),
            None => true,
        };
        state.reader = (!has_room).then(|| cx.waker().clone());
        has_room
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Unread {
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::api::budget::{Bounds, Budget};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_beyond_the_free_part_is_on_the_budget_until_it_is_taken() {
        let budget: Arc<Budget> = Budget::new(Bounds {
            total: 100,
            each: 100,
            for_small: 0,
        });
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let one = Unread::new(budget.share(None));
        assert!(one.begin(1) && one.begin(3));
        one.arrived(1, UNREAD_FREE_BYTES);
        one.arrived(3, 60);
        one.arrived(5, 1000);
        assert!(one.has_room(&cx));
        assert_eq!(budget.reading().used, 60);
        let other = Unread::new(budget.share(None));
        other.begin(1);
        other.arrived(1, UNREAD_FREE_BYTES + 41);
        assert!(!other.has_room(&cx));
        one.taken(3, 1);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "it waits for itself");
        assert!(other.has_room(&cx));
        assert_eq!(budget.reading().used, 100);
        other.arrived(1, 10);
        assert!(!other.has_room(&cx));
        other.taken(1, 10);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        other.over(1);
        one.over(1);
        one.taken(1, 1000);
        assert_eq!(budget.reading().used, 0);
    }

    #[test]
    fn streams_that_nobody_reads_are_bounded() {
        let unread = Unread::default();
        let most = u32::try_from(COUNTED_MAX).expect("few");
        assert!((0..most).all(|stream| unread.begin(stream)));
        assert!(unread.begin(0), "the same");
        assert!(!unread.begin(most));
    }
}
