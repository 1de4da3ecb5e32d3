//! Whether the program still has something to do.
//!
//! A program is over when no task of it runs and nothing listens, as with
//! Wapo 0.x, or when it says so.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::Engine;

/// What [`Engine::finished`] and [`Engine::serving`] wait for.
#[derive(Default)]
pub(super) struct Life {
    wakers: RefCell<Vec<Waker>>,
    has_exited: Cell<bool>,
}

impl Life {
    /// Has those who wait look again: something has ended, or begun.
    pub(super) fn look(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}

impl Engine {
    /// Ends the program after the present turn.
    pub(crate) fn exit(&self) {
        self.0.life.has_exited.set(true);
        self.0.life.look();
    }

    /// Waits until a question is answered with yes.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            if is_so(self) {
                return Poll::Ready(());
            }
            let mut wakers = self.0.life.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether the program has said that it is over.
    pub(crate) fn has_exited(&self) -> bool {
        self.0.life.has_exited.get()
    }

    /// Whether it has nothing to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.tasks.borrow().is_empty() && !self.0.runtime.is_job_pending()
    }
}
