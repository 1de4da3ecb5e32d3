//! A guest's turn on a thread, and what wakes it meanwhile.
//!
//! The engine suspends a guest after each slice by waking it at once. Were that the
//! waker of its task, the runtime would queue the task and wake another thread to take
//! it, thousands of times a second; most of the time the same thread goes on with it
//! anyway. So the guest gets a waker of its own, which remembers what happens during
//! the turn; afterwards it is that of the task. Used by `drive`; whether and when
//! something ends the guest is not looked at here (`halt`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::control::Control;

/// The guest does not run: a wake is one of its task.
const AWAY: u8 = 0;
/// The guest runs.
const RUNNING: u8 = 1;
/// The guest runs, and has been woken since it began.
const WOKEN: u8 = 2;

/// How the guest left its thread.
pub(crate) enum Left<T> {
    /// With a result.
    Done(T),
    /// It goes on as soon as others have had their turn.
    InLine,
    /// It waits, and its task will be woken.
    Waiting,
}

/// What polls the guest.
pub(crate) struct Turn {
    alarm: Arc<Alarm>,
    waker: Waker,
}

struct Alarm {
    state: AtomicU8,
    control: Arc<Control>,
}

impl Turn {
    pub(crate) fn new(control: &Arc<Control>) -> Self {
        let alarm = Arc::new(Alarm {
            state: AtomicU8::new(AWAY),
            control: Arc::clone(control),
        });
        Self {
            waker: Waker::from(Arc::clone(&alarm)),
            alarm,
        }
    }

    /// The switches of the instance.
    pub(crate) fn control(&self) -> &Control {
        &self.alarm.control
    }

    /// Lets the guest run; `cx` is that of its task.
    pub(crate) fn run<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Left<T> {
        let state = &self.alarm.state;
        // Before the turn, so that a wake right after it finds the task.
        self.alarm.control.register(cx);
        state.store(RUNNING, Ordering::Release);
        let polled = poll(&mut Context::from_waker(&self.waker));
        let woken = state.swap(AWAY, Ordering::AcqRel) == WOKEN;
        match polled {
            Poll::Ready(output) => Left::Done(output),
            Poll::Pending if woken => Left::InLine,
            Poll::Pending => Left::Waiting,
        }
    }
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
            self.control.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_wake_during_the_turn_puts_the_guest_in_line_and_a_later_one_wakes_its_task() {
        let turn = Turn::new(&Arc::default());
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        let mut kept = None;
        let left = turn.run(&cx, |cx| {
            kept = Some(cx.waker().clone());
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(matches!(left, Left::InLine));
        assert_eq!(task.0.load(Ordering::SeqCst), 0, "the task was left alone");

        let left = turn.run(&cx, |_| Poll::<()>::Pending);
        assert!(matches!(left, Left::Waiting), "the wake was used up");
        if let Some(waker) = kept {
            waker.wake();
        }
        assert_eq!(task.0.load(Ordering::SeqCst), 1);

        let left = turn.run(&cx, |cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(7)
        });
        assert!(matches!(left, Left::Done(7)));
    }

    #[test]
    fn no_wake_from_another_thread_is_lost() {
        const TURNS: usize = 20_000;
        let turn = Turn::new(&Arc::default());
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Waker>(0);
        let other = std::thread::spawn(move || receiver.into_iter().for_each(Waker::wake));
        for turns in 0..TURNS {
            let before = task.0.load(Ordering::SeqCst);
            let left = turn.run(&cx, |cx| {
                sender.send(cx.waker().clone()).expect("it listens");
                Poll::<()>::Pending
            });
            if matches!(left, Left::Waiting) {
                let begun = std::time::Instant::now();
                while task.0.load(Ordering::SeqCst) == before {
                    assert!(begun.elapsed().as_secs() < 20, "turn {turns}");
                    std::hint::spin_loop();
                }
            }
        }
        drop(sender);
        other.join().expect("it ends");
    }
}
