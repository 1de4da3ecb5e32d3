//! Polls the future of a connection again at once when it was woken while it was polled.
//!
//! The parts of a connection wake each other: hyper reads a body and wakes what waits for
//! it, both in the task of the connection. The runtime takes a task that was woken while it
//! ran for one that lets others go first: it queues it behind them, and wakes another thread
//! that may take it. A connection that has used up its turn (`transport/turn`) is not polled
//! again here; it does let others go first. Called by `connection`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls in a row, before other tasks go first.
///
/// A request with a body takes two, and its parts may come in two pieces. hyper works off at
/// most 16 requests that it has read already in one poll, and these polls as many times that.
const POLLS_MAX: u32 = 3;

/// The future is not polled now: a wake is for its task.
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

/// Runs a future, and polls it again at once when it was woken while it was polled, unless
/// the poll has used up a turn. The future is pinned by the caller: moved in here, it would
/// have its room twice.
pub(super) async fn run<F: Future>(
    mut future: Pin<&mut F>,
    used_up_turn: impl Fn() -> bool,
) -> F::Output {
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(Arc::clone(&alarm));
    std::future::poll_fn(|cx| {
        // Before the future is polled, so that a wake right after it finds the task.
        alarm.task.register(cx.waker());
        for _ in 0..POLLS_MAX {
            alarm.state.store(POLLED, Ordering::Release);
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            let woken = alarm.state.swap(AWAY, Ordering::AcqRel) == WOKEN;
            // Asked after every poll: an older answer is of no use.
            let is_over = used_up_turn();
            if polled.is_ready() || !woken {
                return polled;
            }
            if is_over {
                break;
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
    fn poll(self_wakes: u32, used_up_turn: bool) -> (u32, usize, usize) {
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
            let outer = pin!(run(inner, || used_up_turn));
            assert!(outer.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let wakes = task.0.load(Ordering::SeqCst);
        kept.expect("it was polled").wake();
        (polls, wakes, task.0.load(Ordering::SeqCst))
    }

    #[test]
    fn a_future_that_wakes_itself_goes_on_and_its_task_is_left_alone() {
        assert_eq!(poll(0, false), (1, 0, 1), "a later wake is for the task");
        assert_eq!(poll(POLLS_MAX - 1, false), (POLLS_MAX, 0, 1));
    }

    #[test]
    fn a_future_that_always_wakes_itself_lets_others_go_first() {
        let (polls, wakes, _) = poll(u32::MAX, false);
        assert_eq!((polls, wakes), (POLLS_MAX, 1));
    }

    #[test]
    fn a_future_that_has_used_up_its_turn_lets_others_go_first() {
        let (polls, wakes, _) = poll(u32::MAX, true);
        assert_eq!((polls, wakes), (1, 1));
        assert_eq!(poll(0, true), (1, 0, 1), "it waits for what wakes it");
    }

    #[test]
    fn no_wake_from_another_thread_is_lost() {
        const POLLS: usize = 20_000;
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Waker>(0);
        let other = std::thread::spawn(move || receiver.into_iter().for_each(Waker::wake));
        let mut polls = 0;
        let inner = std::future::poll_fn(move |cx| {
            if polls == POLLS {
                return Poll::Ready(());
            }
            polls += 1;
            // Each poll has one wake, while it lasts or after it.
            sender.send(cx.waker().clone()).expect("it listens");
            Poll::Pending
        });
        let inner = Box::pin(inner);
        let mut outer = Box::pin(async move { run(pin!(inner), || false).await });
        loop {
            let before = task.0.load(Ordering::SeqCst);
            let cx = &mut Context::from_waker(&waker);
            if outer.as_mut().poll(cx).is_ready() {
                break;
            }
            let begun = std::time::Instant::now();
            while task.0.load(Ordering::SeqCst) == before {
                assert!(begun.elapsed().as_secs() < 20, "a wake is lost");
                std::hint::spin_loop();
            }
        }
        drop(outer);
        other.join().expect("it ends");
    }
}
