//! Listeners whose guests wait for room: they may hold no more handles, descriptors
//! or memory at the moment.
//!
//! A connection is not accepted then and stays with the kernel, where another
//! instance that shares the port may take it. The guest is told that it has to
//! wait, as if there were none: an error would make most programs ask again at once,
//! or give up. It is woken when it closes something, and looks again from time to
//! time, because others may give something back. Used by the `tcp_accept` calls and
//! by `close`.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::time::{Sleep, sleep};

use crate::limits::{ROOM_LOOK_INTERVAL, ROOM_NOTICE_INTERVAL};
use crate::resource::Handle;

/// What listeners of one guest wait for room.
#[derive(Default)]
pub(crate) struct RoomWaits {
    waits: Vec<RoomWait>,
    /// When the app's log was told last.
    told: Option<Instant>,
}

struct RoomWait {
    listener: Handle,
    waker: Waker,
    /// Wakes the guest to look again.
    _look: Pin<Box<Sleep>>,
}

impl RoomWaits {
    /// A listener waits; says whether that is to be told.
    pub(crate) fn wait(&mut self, listener: Handle, waker: Waker) -> bool {
        self.over(listener);
        let mut look = Box::pin(sleep(ROOM_LOOK_INTERVAL));
        // It has just begun; this leaves the waker with it.
        let _ = look.as_mut().poll(&mut Context::from_waker(&waker));
        self.waits.push(RoomWait {
            listener,
            waker,
            _look: look,
        });
        let now = Instant::now();
        let passed = |told| now.duration_since(told) >= ROOM_NOTICE_INTERVAL;
        let is_news = self.told.is_none_or(passed);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }

    /// A listener does not wait for room any more.
    pub(crate) fn over(&mut self, listener: Handle) {
        self.waits.retain(|one| one.listener != listener);
    }

    /// The guest has closed something.
    pub(crate) fn closed_something(&mut self) {
        self.waits.drain(..).for_each(|one| one.waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_woken_by_a_close_or_looks_again_and_is_kept_once() {
        let woken = Arc::<Woken>::default();
        let mut waits = RoomWaits::default();
        for number in 0..3 {
            let is_news = waits.wait(Handle(7), Arc::clone(&woken).into());
            assert_eq!(is_news, number == 0, "told once");
        }
        assert_eq!(waits.waits.len(), 1);
        waits.closed_something();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        waits.wait(Handle(7), Arc::clone(&woken).into());
        let looking = async {
            while woken.0.load(Ordering::Relaxed) < 2 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let looked = tokio::time::timeout(Duration::from_secs(20), looking).await;
        looked.expect("it looks again by itself");
        waits.over(Handle(7));
        waits.closed_something();
        assert_eq!(Arc::strong_count(&woken), 1);
    }
}
