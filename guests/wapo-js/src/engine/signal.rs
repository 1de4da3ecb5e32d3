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

    /// Has a task be woken by the next [`notify`](Self::notify).
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut wakers = self.0.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    /// Waits until there is an answer.
    pub(crate) async fn wait_for<T>(&self, mut answer: impl FnMut() -> Option<T>) -> T {
        poll_fn(|cx| match answer() {
            Some(answer) => Poll::Ready(answer),
            None => {
                self.register(cx);
                Poll::Pending
            }
        })
        .await
    }
}
