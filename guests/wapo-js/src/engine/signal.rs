//! Waiting within one instance: until a condition holds that somebody else
//! makes true and tells of.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Those who wait. Clones are the same signal.
#[derive(Clone, Default)]
pub(crate) struct Signal(Rc<RefCell<Vec<Waker>>>);

impl Signal {
    /// Has all who wait look at their condition again.
    pub(crate) fn notify(&self) {
        for waker in self.0.take() {
            waker.wake();
        }
    }

    /// Has a task be woken by the next [`notify`](Self::notify). For tasks that live
    /// as long as the signal; others use [`poll`](Self::poll).
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut wakers = self.0.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    /// Polls now, whenever the signal is given, and whenever what is polled says so.
    /// Nothing of the task stays here afterwards.
    pub(crate) async fn poll<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let mut place = Place {
            signal: self,
            waker: None,
        };
        poll_fn(|cx| {
            let outcome = poll(cx);
            if outcome.is_pending() {
                place.take(cx);
            }
            outcome
        })
        .await
    }

    /// Waits until there is an answer.
    pub(crate) async fn wait_for<T>(&self, mut answer: impl FnMut() -> Option<T>) -> T {
        self.poll(|_| answer().map_or(Poll::Pending, Poll::Ready))
            .await
    }
}

/// A task's place among those who wait, given up when it is dropped.
struct Place<'a> {
    signal: &'a Signal,
    waker: Option<Waker>,
}

impl Place<'_> {
    fn take(&mut self, cx: &Context<'_>) {
        self.signal.register(cx);
        match &mut self.waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            let mut wakers = self.signal.0.borrow_mut();
            wakers.retain(|known| !known.will_wake(&waker));
        }
    }
}
