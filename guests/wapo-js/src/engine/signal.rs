//! Waiting within one instance: until a condition holds that another task
//! makes true and tells of.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Those who wait. Clones are the same signal.
#[derive(Clone, Default)]
pub(crate) struct Signal(Rc<RefCell<Waiters>>);

#[derive(Default)]
struct Waiters {
    wakers: Vec<(Owner, Waker)>,
    next_place: u64,
}

/// Whose a waker is. Two places of one task have the same waker and yet an entry each,
/// as one may be given up before the other.
#[derive(Clone, Copy, PartialEq)]
enum Owner {
    Task,
    Place(u64),
}

impl Signal {
    /// Has all who wait look at their condition again.
    pub(crate) fn notify(&self) {
        let wakers = std::mem::take(&mut self.0.borrow_mut().wakers);
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    /// Has a task be woken by the next [`notify`](Self::notify). For tasks that live
    /// as long as the signal; others use [`poll`](Self::poll).
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let wakers = &mut self.0.borrow_mut().wakers;
        let is_known =
            |(owner, known): &(Owner, Waker)| *owner == Owner::Task && known.will_wake(cx.waker());
        if !wakers.iter().any(is_known) {
            wakers.push((Owner::Task, cx.waker().clone()));
        }
    }

    /// Polls now, whenever the signal is given, and whenever what is polled says so.
    /// Nothing of the task stays here afterwards.
    pub(crate) async fn poll<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let place = Place::new(self);
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
    owner: Owner,
}

impl<'a> Place<'a> {
    fn new(signal: &'a Signal) -> Self {
        let mut waiting = signal.0.borrow_mut();
        let owner = Owner::Place(waiting.next_place);
        waiting.next_place += 1;
        Self { signal, owner }
    }

    fn take(&self, cx: &Context<'_>) {
        let wakers = &mut self.signal.0.borrow_mut().wakers;
        match wakers.iter_mut().find(|(owner, _)| *owner == self.owner) {
            Some((_, known)) => known.clone_from(cx.waker()),
            None => wakers.push((self.owner, cx.waker().clone())),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let wakers = &mut self.signal.0.borrow_mut().wakers;
        wakers.retain(|(owner, _)| *owner != self.owner);
    }
}
