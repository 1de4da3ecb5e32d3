//! How long an instance has computed, for a guest that asks, and how long it allows
//! one of its polls.
//!
//! Only instances whose guest has asked are measured. Time is counted while a thread
//! runs the guest, the host's calls included; what it waits, is held up by a quota or
//! stands back for others is not counted. A poll that returns without being preempted
//! is measured by the wall clock, because that is cheap, and up to a limit, because
//! the kernel may have preferred another thread; from its second step on a poll is
//! measured by the thread's own clock. That is read at both ends of a step: what a guest
//! is told in between is by the wall clock, up to the same limit, and never less than it
//! was told before. Kept by `drive`, asked and set by the calls `cpu_time` and
//! `limit_poll`; ends nothing by itself.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::limits::HOG_STEP;

/// Any moment before the first step; the wall clock is counted from it.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What one instance has computed. Written by its own task only.
#[derive(Debug, Default)]
pub(crate) struct ComputeClock {
    /// Whether the guest has ever asked.
    is_on: AtomicBool,
    /// Whether the present poll was preempted before.
    is_preempted: AtomicBool,
    /// Time of the steps that are over.
    total_ns: AtomicU64,
    /// When the present step began.
    step_begun_ns: AtomicU64,
    /// The same by the thread's clock; 0 for a step that is not measured with it.
    step_begun_thread_ns: AtomicU64,
    /// The most that the guest was told.
    told_ns: AtomicU64,
    /// The total when the present poll began.
    poll_begun_ns: AtomicU64,
    /// What one poll may take; 0 for any time.
    limit_ns: AtomicU64,
}

/// The limit that the guest has set itself for a poll is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PollTooLong(pub(crate) Duration);

/// Time that this thread has computed. None where the system does not know.
pub(crate) fn thread_time() -> Option<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).ok()
}

impl ComputeClock {
    /// Forgets everything, for a fresh start of the guest.
    pub(crate) fn reset(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.total_ns.store(0, Ordering::Relaxed);
        self.told_ns.store(0, Ordering::Relaxed);
        self.limit_ns.store(0, Ordering::Relaxed);
    }

    /// The time so far, in nanoseconds; counts from the first question on.
    pub(crate) fn read_ns(&self) -> u64 {
        if !self.is_on.swap(true, Ordering::Relaxed) {
            self.begin_poll();
            self.begin_step();
        }
        let known = load(&self.total_ns).saturating_add(self.passed_ns());
        let told = known.max(load(&self.told_ns));
        self.told_ns.store(told, Ordering::Relaxed);
        told
    }

    /// Sets what one poll may take, the present one included; nothing for any time.
    pub(crate) fn set_limit(&self, limit: Option<Duration>) {
        self.read_ns();
        let ns = limit.map_or(0, |limit| ns(limit).max(1));
        self.limit_ns.store(ns, Ordering::Relaxed);
    }

    /// The guest is about to be entered.
    #[inline]
    pub(crate) fn begin_poll(&self) {
        if self.is_on.load(Ordering::Relaxed) {
            self.is_preempted.store(false, Ordering::Relaxed);
            let total = load(&self.total_ns);
            self.poll_begun_ns.store(total, Ordering::Relaxed);
        }
    }

    /// A step of the guest begins on this thread.
    #[inline]
    pub(crate) fn begin_step(&self) {
        if self.is_on.load(Ordering::Relaxed) {
            let thread = match self.is_preempted.load(Ordering::Relaxed) {
                true => thread_time().map_or(0, ns),
                false => 0,
            };
            self.step_begun_thread_ns.store(thread, Ordering::Relaxed);
            self.step_begun_ns.store(wall_ns(), Ordering::Relaxed);
        }
    }

    /// The step ends, on the thread where it began, and the poll goes on later.
    ///
    /// # Errors
    ///
    /// [`PollTooLong`] when the poll has taken longer than it may.
    #[inline]
    pub(crate) fn end_step(&self) -> Result<(), PollTooLong> {
        if self.is_on.load(Ordering::Relaxed) {
            return self.count_step();
        }
        Ok(())
    }

    fn count_step(&self) -> Result<(), PollTooLong> {
        let total = load(&self.total_ns).saturating_add(self.step_ns());
        self.total_ns.store(total, Ordering::Relaxed);
        self.is_preempted.store(true, Ordering::Relaxed);
        let limit = load(&self.limit_ns);
        if limit > 0 && total.saturating_sub(load(&self.poll_begun_ns)) > limit {
            return Err(PollTooLong(Duration::from_nanos(limit)));
        }
        Ok(())
    }

    /// Time of the step that ends.
    fn step_ns(&self) -> u64 {
        let begun = load(&self.step_begun_thread_ns);
        match (begun > 0).then(thread_time).flatten() {
            Some(now) => ns(now).saturating_sub(begun),
            None => self.passed_ns(),
        }
    }

    /// Time since the step began, by the wall clock, up to a limit.
    fn passed_ns(&self) -> u64 {
        let passed = wall_ns().saturating_sub(load(&self.step_begun_ns));
        passed.min(ns(HOG_STEP))
    }
}

/// The wall clock.
fn wall_ns() -> u64 {
    ns(EPOCH.elapsed())
}

fn load(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes for so long by the thread's own clock.
    fn compute(time: Duration) {
        let begun = thread_time().expect("Linux knows it");
        while thread_time().expect("as before") - begun < time {}
    }

    fn wait(time: Duration) {
        let (_kept, never) = std::sync::mpsc::channel::<()>();
        assert!(never.recv_timeout(time).is_err());
    }

    #[test]
    fn what_a_guest_waits_is_not_counted() {
        let clock = ComputeClock::default();
        clock.begin_step();
        assert!(clock.read_ns() < ns(HOG_STEP), "it has just asked");
        wait(Duration::from_millis(20));
        assert_eq!(clock.end_step(), Ok(()));
        let first = load(&clock.total_ns);
        assert!(first <= 2 * ns(HOG_STEP), "{first}: another thread ran");
        wait(Duration::from_millis(20));
        clock.begin_step();
        compute(Duration::from_millis(5));
        assert_eq!(clock.end_step(), Ok(()));
        clock.begin_step();
        let computed = clock.read_ns() - first;
        assert!(computed >= ns(Duration::from_millis(5)), "{computed}");
        assert!(computed < ns(Duration::from_millis(20)), "{computed}");
    }

    #[test]
    fn a_limit_is_for_one_poll_and_can_be_taken_back() {
        const LIMIT: Duration = Duration::from_millis(3);
        let clock = ComputeClock::default();
        let step = || {
            clock.begin_step();
            compute(Duration::from_millis(2));
            clock.end_step()
        };
        clock.set_limit(Some(LIMIT));
        for _ in 0..5 {
            clock.begin_poll();
            assert_eq!(step(), Ok(()));
        }
        clock.begin_poll();
        let ended = (0..5).find_map(|_| step().err());
        assert_eq!(ended, Some(PollTooLong(LIMIT)));
        clock.set_limit(None);
        assert_eq!(step(), Ok(()));
        clock.set_limit(Some(LIMIT));
        assert!(step().is_err(), "it holds for the present poll");
        clock.reset();
        assert_eq!(step(), Ok(()));
    }
}
