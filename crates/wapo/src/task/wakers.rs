//! Wakers that the host has to name.
//!
//! A future that waits with the plain waker of the running task needs no name:
//! the host marks the task ready and that is all. Combinators such as
//! `FuturesUnordered` poll their children with wakers of their own; those go
//! into a table and the host reports their index. An index is freed when the
//! host says that it released it, never earlier, or two futures would share a
//! waker. Called by every future of this crate that asks the host to wait.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, RawWakerVTable, Waker};

use wapo_abi::{WakeCode, WakerId};

use crate::error::{Error, Result};

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table { slots: Vec::new(), free: Vec::new() }) };
    static TASK_WAKER: Cell<Option<Identity>> = const { Cell::new(None) };
}

struct Table {
    slots: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// What makes a waker itself: two wakers with this in common wake the same.
#[derive(Clone, Copy)]
pub(super) struct Identity {
    data: *const (),
    vtable: *const RawWakerVTable,
}

impl Identity {
    fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data(),
            vtable: waker.vtable(),
        }
    }
}

/// Tells which waker means "the running task" until the next call.
pub(super) fn set_task_waker(waker: Option<&Waker>) {
    TASK_WAKER.set(waker.map(Identity::of));
}

/// As [`set_task_waker`], and tells which one it was before.
pub(super) fn swap_task_waker(waker: Option<Identity>) -> Option<Identity> {
    TASK_WAKER.replace(waker)
}

#[inline]
fn is_task_waker(waker: &Waker) -> bool {
    TASK_WAKER
        .get()
        .is_some_and(|own| own.data == waker.data() && std::ptr::eq(own.vtable, waker.vtable()))
}

/// Puts a waker into the table; the answer goes to the host.
pub(crate) fn intern(waker: Waker) -> i32 {
    TABLE.with_borrow_mut(|table| {
        let index = table.free.pop().unwrap_or_else(|| {
            table.slots.push(None);
            table.slots.len() - 1
        });
        table.slots[index] = Some(waker);
        // A 32-bit memory holds fewer wakers than i32 has values.
        i32::try_from(index).unwrap_or(i32::MAX)
    })
}

/// Acts on what the host reports.
pub(super) fn handle(code: WakeCode) {
    match code {
        WakeCode::Wake(id) => {
            let waker = TABLE.with_borrow(|table| {
                let index = usize::try_from(id.0).ok()?;
                table.slots.get(index)?.clone()
            });
            // Outside the borrow: waking may run code of any crate.
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        WakeCode::Released(id) => release(id.0),
    }
}

fn release(id: i32) {
    let waker = TABLE.with_borrow_mut(|table| {
        let index = usize::try_from(id).ok()?;
        let waker = table.slots.get_mut(index)?.take()?;
        table.free.push(index);
        Some(waker)
    });
    drop(waker);
}

/// Makes a call that may have to wait, with whatever stands for the waker.
#[inline]
pub(crate) fn poll_call<T>(
    cx: &Context<'_>,
    call: impl FnOnce(i32) -> Result<T>,
) -> Poll<Result<T>> {
    let id = if is_task_waker(cx.waker()) {
        WakerId::NONE.0
    } else {
        intern(cx.waker().clone())
    };
    match call(id) {
        Err(Error::PENDING) => Poll::Pending,
        Err(Error::UNKNOWN_CALL_NUMBER) => {
            // The call reached no implementation, so nobody will release it.
            release(id);
            Poll::Ready(Err(Error::UNKNOWN_CALL_NUMBER))
        }
        outcome => Poll::Ready(outcome),
    }
}

/// Wakers in the table; for tests that look for leaks.
#[cfg(test)]
pub(crate) fn in_use() -> usize {
    TABLE.with_borrow(|table| table.slots.iter().flatten().count())
}
