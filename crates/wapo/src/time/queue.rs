//! All waits of a program for time, on one timer of the host.
//!
//! A program may have any number of sleeping tasks, while the host gives it a
//! bounded number of handles. So the deadlines are kept here, in order, and
//! the host is told the earliest only. Giving a wait up is a removal from the
//! map and no host call. Fed by [`super::Sleep`], driven by the executor: it
//! passes on the timer's event, and has the timer set before it waits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::handle::Handle;
use crate::sys::calls;

/// The id under which the host reports the timer; no task ever has it.
pub(crate) const TASK: i32 = i32::MAX;

/// Longest wait the host takes in one go: its timers count milliseconds in an
/// `i32`, about 24.8 days. Longer waits are made of several.
const LEG_MAX: Duration = Duration::from_millis(i32::MAX.cast_unsigned() as u64);

/// Timeout of a timer that is not meant to fire yet.
const NOT_SET: i32 = -1;

thread_local! {
    static QUEUE: Queue = const { Queue::new() };
}

/// When a wait ends; the number tells waits with the same deadline apart, in
/// the order in which they began.
pub(super) type Key = (Instant, u64);

struct Queue {
    waits: RefCell<BTreeMap<Key, Waker>>,
    /// Number of the next wait.
    next: Cell<u64>,
    timer: RefCell<Timer>,
}

/// The timer of the host.
struct Timer {
    /// `None` before the program starts, and while the host has none to give.
    handle: Option<Handle>,
    /// When the host will report; `None` when it will not.
    set_to: Option<Instant>,
}

impl Queue {
    const fn new() -> Self {
        Self {
            waits: RefCell::new(BTreeMap::new()),
            next: Cell::new(0),
            timer: RefCell::new(Timer {
                handle: None,
                set_to: None,
            }),
        }
    }

    fn earliest(&self) -> Option<Instant> {
        let waits = self.waits.borrow();
        waits.first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    /// Wakes all sleepers whose time has come.
    fn expire(&self, now: Instant) {
        loop {
            let waker = {
                let mut waits = self.waits.borrow_mut();
                match waits.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            // Outside the borrow: waking may run code of any crate.
            waker.wake();
        }
    }

    fn set(&self) {
        let mut timer = self.timer.borrow_mut();
        while let Some(earliest) = self.earliest() {
            if timer.set_to.is_some_and(|set_to| set_to <= earliest) {
                return;
            }
            let now = Instant::now();
            if earliest <= now {
                self.expire(now);
                continue;
            }
            match timer.set(earliest, now) {
                Ok(true) => return,
                // It was over before it was asked.
                Ok(false) => {}
                Err(_) => {
                    // No timer to be had. Costs cycles, but is on time: the
                    // host comes back at once.
                    let _ = calls::mark_task_ready(TASK);
                    return;
                }
            }
        }
    }
}

impl Timer {
    /// Has the host report at `deadline`; false when that is already over.
    fn set(&mut self, deadline: Instant, now: Instant) -> Result<bool, Error> {
        let millis = leg(deadline.saturating_duration_since(now));
        let handle = match &self.handle {
            Some(handle) => handle,
            None => self.handle.insert(calls::create_timer(NOT_SET)?.into()),
        };
        let outcome = calls::reset_timer(handle.get(), millis).and_then(|()| {
            if self.set_to.is_some() {
                // Its wait was registered before and goes on.
                return Ok(true);
            }
            let wait = || calls::poll_read(wapo_abi::WakerId::NONE.0, handle.get(), &mut []);
            match crate::task::as_task(TASK, wait) {
                Err(Error::PENDING) => Ok(true),
                outcome => outcome.map(|_| false),
            }
        });
        match outcome {
            Ok(true) => self.set_to = Some(deadline.min(now + LEG_MAX)),
            Ok(false) => self.set_to = None,
            Err(_) => {
                self.set_to = None;
                self.handle = None;
            }
        }
        outcome
    }
}

/// Takes the timer, so that it is there even if the program later uses up all
/// its handles.
pub(crate) fn start() {
    QUEUE.with(|queue| {
        let mut timer = queue.timer.borrow_mut();
        if timer.handle.is_none() {
            // Tried again with the first wait.
            timer.handle = calls::create_timer(NOT_SET).ok().map(Handle::from);
        }
    });
}

/// The host reports the timer: wakes the sleepers whose time has come.
pub(crate) fn fire() {
    QUEUE.with(|queue| {
        queue.timer.borrow_mut().set_to = None;
        queue.expire(Instant::now());
    });
}

/// Sets the timer to the earliest wait. May wake tasks.
pub(crate) fn set() {
    QUEUE.with(Queue::set);
}

/// Begins a wait.
pub(super) fn insert(deadline: Instant, waker: Waker) -> Key {
    QUEUE.with(|queue| {
        let number = queue.next.get();
        queue.next.set(number.wrapping_add(1));
        queue.waits.borrow_mut().insert((deadline, number), waker);
        (deadline, number)
    })
}

/// Says who to wake; false when the wait is over.
pub(super) fn update(key: Key, waker: &Waker) -> bool {
    let old = QUEUE.with(|queue| {
        let mut waits = queue.waits.borrow_mut();
        let kept = waits.get_mut(&key)?;
        if kept.will_wake(waker) {
            return Some(None);
        }
        Some(Some(std::mem::replace(kept, waker.clone())))
    });
    // What is dropped here is dropped outside the borrow.
    old.is_some()
}

/// Gives a wait up; `None` when it is over.
pub(super) fn remove(key: Key) -> Option<Waker> {
    // Fails only while the thread is being torn down.
    QUEUE
        .try_with(|queue| queue.waits.borrow_mut().remove(&key))
        .ok()
        .flatten()
}

/// What one setting of the timer covers of a wait, in whole milliseconds,
/// rounded up.
fn leg(duration: Duration) -> i32 {
    let millis = duration.min(LEG_MAX).as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).unwrap_or(i32::MAX)
}

/// Waits that have not ended; for tests that look for leaks.
#[cfg(test)]
pub(super) fn len() -> usize {
    QUEUE.with(|queue| queue.waits.borrow().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_and_cut_to_what_the_host_can_count() {
        assert_eq!(leg(Duration::ZERO), 0);
        assert_eq!(leg(Duration::from_nanos(1)), 1);
        assert_eq!(leg(Duration::from_micros(1_001)), 2);
        assert_eq!(leg(LEG_MAX + Duration::from_millis(5)), i32::MAX);
        assert_eq!(leg(Duration::MAX), i32::MAX);
    }
}
