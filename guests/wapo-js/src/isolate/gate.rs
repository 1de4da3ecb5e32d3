//! Where isolates wait while one of them lets others run in the middle of its script.
//!
//! Such an isolate is on the stack, and what runs on top of it must not enter it again.
//! Tasks of the program do run; tasks of isolates wait until the gate is open.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::engine::Signal;

thread_local! {
    static IS_CLOSED: Cell<bool> = const { Cell::new(false) };
    static OPENED: Signal = Signal::default();
}

/// Polls a future only while the gate is open.
pub(crate) async fn pass<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if IS_CLOSED.get() {
            OPENED.with(|opened| opened.register(cx));
            return Poll::Pending;
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// Does something while the gate is closed.
pub(super) fn closed<T>(action: impl FnOnce() -> T) -> T {
    IS_CLOSED.set(true);
    let result = action();
    IS_CLOSED.set(false);
    OPENED.with(Signal::notify);
    result
}
