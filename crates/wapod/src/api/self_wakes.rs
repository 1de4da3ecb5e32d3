//! Polls a future again at once that woke itself while it was polled.
//!
//! The parts of a connection wake each other: hyper reads a body and wakes what waits for
//! it, both in the task of the connection. The runtime takes a task that was woken while it
//! ran for one that lets others go first: it queues it behind them, and wakes another thread
//! that may take it. Not for turns: who has used up a turn waits for
//! [`tokio::task::yield_now`], which wakes after the poll. Called by `connection`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls in a row, before other tasks go first.
///
/// A request with a body takes two, one more for each part of a body that was read. The
/// runtime gives a task a budget of reads and writes, which all polls share, so that more
/// polls cannot move more bytes.
const POLLS_MAX: u32 = 4;

/// Nobody polls the future: a wake is for its task.
const AWAY: u8 = 0;
/// The future is polled.
const POLLED: u8 = 1;
/// The future is polled, and was woken meanwhile.
const WOKEN: u8 = 2;

#[derive(Default)]
struct Alarm {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let next = |state| (state != AWAY).then_some(WOKEN);
        let noted = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if noted.is_err() {
            self.task.wake();
        }
    }
}

/// Runs a future, and polls it again at once when it woke itself. The future is pinned by the
/// caller: moved in here, it would have its room twice.
pub(super) async fn run<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(Arc::clone(&alarm));
    std::future::poll_fn(|cx| {
        // Before the future is polled, so that a wake right after it finds the task.
        alarm.task.register(cx.waker());
        for _ in 0..POLLS_MAX {
            alarm.state.store(POLLED, Ordering::Release);
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            let woken = alarm.state.swap(AWAY, Ordering::AcqRel) == WOKEN;
            if polled.is_ready() || !woken {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls a future once that wakes itself in so many polls, and then waits: how often it was
    /// polled, how often its task was woken, and after a later wake.
    fn poll(self_wakes: u32) -> (u32, usize, usize) {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let (mut polls, mut kept) = (0, None);
        {
            let inner = pin!(std::future::poll_fn(|cx| {
                polls += 1;
                if polls <= self_wakes {
                    cx.waker().wake_by_ref();
                }
                kept = Some(cx.waker().clone());
                Poll::<()>::Pending
            }));
            let outer = pin!(run(inner));
            assert!(outer.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let wakes = task.0.load(Ordering::SeqCst);
        kept.expect("it was polled").wake();
        (polls, wakes, task.0.load(Ordering::SeqCst))
    }

    #[test]
    fn a_future_that_wakes_itself_goes_on_and_its_task_is_left_alone() {
        assert_eq!(poll(0), (1, 0, 1), "a wake between polls is for the task");
        assert_eq!(poll(POLLS_MAX - 1), (POLLS_MAX, 0, 1));
    }

    #[test]
    fn a_future_that_always_wakes_itself_lets_others_go_first() {
        let (polls, wakes, _) = poll(u32::MAX);
        assert_eq!((polls, wakes), (POLLS_MAX, 1));
    }
}
