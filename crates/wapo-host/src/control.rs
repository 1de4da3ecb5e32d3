//! The state that an instance's task shares with the code around it.
//!
//! Holds the stop request, the task's waker, what the scheduler wants to know
//! about the last step, and how much memory the guest has. Lives as long as the
//! handle, across restarts. Shared by handle, wake queue, run loop and scheduler.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

use crate::compute::ComputeClock;
use crate::connections::Connections;
use crate::stack_account::StackAccount;

/// Raised in a host call to end a guest in the middle of a poll.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    #[error("the instance was asked to stop")]
    Stopped,
    #[error("the guest made more waits than it ever asked about")]
    Overflowed,
    #[error("the gas limit of {0} is reached")]
    GasExhausted(u64),
}

/// Shared switches of one instance.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stopped: AtomicBool,
    /// Set when the guest is to accept no more connections.
    leaving: AtomicBool,
    pub(crate) connections: Connections,
    task: AtomicWaker,
    /// Set while the run loop waits for something to happen.
    idle: AtomicBool,
    /// Set while the run loop looks for work.
    looks: AtomicBool,
    /// Set when a call moved bytes or accepted a connection.
    io_done: AtomicBool,
    /// Set when one poll burned many slices.
    heavy: AtomicBool,
    /// Set when the guest waited for its turn to compute.
    paused: AtomicBool,
    /// Times the task was run; a new number means the guest has yielded.
    steps: AtomicU64,
    /// Linear memory of the instance.
    memory_bytes: AtomicU64,
    /// Set while the guest waits inside an import.
    in_host: AtomicBool,
    fuel: FuelGauge,
    clock: ComputeClock,
    stack: StackAccount,
    /// Set when a request was answered.
    answered: AtomicBool,
}

/// The fuel that a poll of the guest is known to have burnt while it still runs.
///
/// The store with the exact number belongs to the poll. What is known outside of
/// it is a lower bound: the engine suspends the guest each time it has burnt an
/// interval, and a call that changes the interval reads the exact number. Written
/// by the instance's own task only.
#[derive(Debug, Default)]
pub(crate) struct FuelGauge {
    /// Fuel in the store when it was last settled.
    settled_at: AtomicU64,
    /// Burnt since then, at least.
    burnt: AtomicU64,
    /// Fuel between two suspensions.
    interval: AtomicU64,
    /// Fuel after which the guest lets others run.
    slice: AtomicU64,
    /// Burnt in suspensions after which it went on at once.
    unshared: AtomicU64,
    /// Whether the host wants the guest to let others run at its next suspension.
    is_due: AtomicBool,
    /// Whether the present interval began after the settlement.
    is_whole: AtomicBool,
}

impl FuelGauge {
    /// The store was settled with so much fuel in it.
    pub(crate) fn settle(&self, fuel: u64) {
        self.settled_at.store(fuel, Ordering::Relaxed);
        self.burnt.store(0, Ordering::Relaxed);
        self.is_whole.store(false, Ordering::Relaxed);
    }

    /// So much fuel is in the store, and the guest is suspended after each slice.
    pub(crate) fn begin_slices(&self, fuel: u64, slice: u64) {
        self.observe(fuel, slice);
        self.slice.store(slice, Ordering::Relaxed);
        self.unshared.store(0, Ordering::Relaxed);
        self.is_due.store(false, Ordering::Relaxed);
    }

    /// So much fuel is in the store, and a shorter interval begins because the guest has
    /// kept the host busy, or the usual one again.
    pub(crate) fn observe(&self, fuel: u64, interval: u64) {
        let burnt = self.settled_at.load(Ordering::Relaxed).saturating_sub(fuel);
        self.burnt.store(burnt, Ordering::Relaxed);
        self.interval.store(interval, Ordering::Relaxed);
        self.is_whole.store(true, Ordering::Relaxed);
        let is_short = interval < self.slice.load(Ordering::Relaxed);
        self.is_due.store(is_short, Ordering::Relaxed);
    }

    /// Fuel between two suspensions.
    pub(crate) fn interval(&self) -> u64 {
        self.interval.load(Ordering::Relaxed)
    }

    /// The engine has suspended the guest after an interval. Whether others are to run
    /// now: the first time after a short interval began, then once in a slice. Only a
    /// call of the guest can make the interval longer again.
    pub(crate) fn note_suspension(&self) -> bool {
        let interval = self.interval();
        if self.is_whole.swap(true, Ordering::Relaxed) {
            self.burnt.fetch_add(interval, Ordering::Relaxed);
        }
        let unshared = self.unshared.load(Ordering::Relaxed) + interval;
        let shares = self.is_due.swap(false, Ordering::Relaxed)
            || unshared >= self.slice.load(Ordering::Relaxed);
        self.unshared
            .store(if shares { 0 } else { unshared }, Ordering::Relaxed);
        shares
    }

    /// Fuel burnt since the last settlement, at least.
    pub(crate) fn burnt(&self) -> u64 {
        self.burnt.load(Ordering::Relaxed)
    }
}

/// A guest waits inside an import, until this is dropped.
pub(crate) struct InHost<'a>(&'a Control);

impl Drop for InHost<'_> {
    fn drop(&mut self) {
        self.0.in_host.store(false, Ordering::Relaxed);
    }
}

impl Control {
    /// Asks the run loop to end the guest.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Lets the guest accept no more connections.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Runs the instance's task again.
    pub(crate) fn notify(&self) {
        self.task.wake();
    }

    /// Runs the instance's task again for work, unless the run loop just looks for some: then
    /// it is most likely the run loop that calls, and it looks once more before it waits. Call
    /// after the work is where it looks.
    ///
    /// The runtime queues a task that was woken while it ran behind others, and wakes another
    /// thread to take it. That is of use for work that another thread has brought: that thread
    /// goes on looking at sockets, while this one runs the guest. It is none for what the run
    /// loop itself tells the guest.
    pub(crate) fn notify_of_work(&self) {
        // Either this sees that the look is over, or the next look sees the work: both sides
        // write first and read then, in one order for all threads.
        if !self.looks.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }

    /// Notes that the run loop looks for work, or has looked. It looks once more after that
    /// before it waits.
    pub(crate) fn set_looking(&self, looks: bool) {
        self.looks.store(looks, Ordering::SeqCst);
    }

    /// Remembers whom to wake. Call before looking at what may have changed.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Relaxed);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Notes that the guest did I/O, which tells a busy server from a loop.
    #[inline]
    pub(crate) fn note_io(&self) {
        self.io_done.store(true, Ordering::Relaxed);
    }

    /// Notes that one poll of the guest burned many slices.
    pub(crate) fn note_heavy(&self) {
        self.heavy.store(true, Ordering::Relaxed);
    }

    /// Whether a poll burned many slices since the last question.
    pub(crate) fn take_heavy(&self) -> bool {
        self.heavy.swap(false, Ordering::Relaxed)
    }

    /// Notes that the guest may not compute on for the moment.
    pub(crate) fn note_pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    /// Whether the guest waited for its turn since the last question.
    pub(crate) fn take_pause(&self) -> bool {
        self.paused.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Marks the time that the guest waits inside an import.
    pub(crate) fn wait_in_host(&self) -> InHost<'_> {
        self.in_host.store(true, Ordering::Relaxed);
        InHost(self)
    }

    /// Whether the guest waits inside an import; else the engine suspended it.
    pub(crate) fn is_in_host(&self) -> bool {
        self.in_host.load(Ordering::Relaxed)
    }

    /// What is known of the fuel of a running poll.
    pub(crate) fn fuel(&self) -> &FuelGauge {
        &self.fuel
    }

    /// What the guest has computed.
    pub(crate) fn clock(&self) -> &ComputeClock {
        &self.clock
    }

    /// The memory that its stack takes.
    pub(crate) fn stack(&self) -> &StackAccount {
        &self.stack
    }

    /// Notes that the guest has answered a request.
    pub(crate) fn note_answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether the guest has answered a request since the last question.
    pub(crate) fn take_answered(&self) -> bool {
        self.answered.swap(false, Ordering::Relaxed)
    }

    /// Counts a run of the task.
    pub(crate) fn begin_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the present run of the task.
    pub(crate) fn step(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Whether the guest did I/O since the last question.
    pub(crate) fn take_io(&self) -> bool {
        self.io_done.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_that_looks_for_work_is_not_woken_for_it_but_for_the_end() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let control = Control::default();
        control.register(&Context::from_waker(&waker));
        control.set_looking(true);
        control.notify_of_work();
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "it looks once more");
        control.set_looking(false);
        control.notify_of_work();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        control.set_looking(true);
        control.register(&Context::from_waker(&waker));
        control.stop();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_guest_on_short_intervals_lets_others_run_once_and_then_as_all_do() {
        let gauge = FuelGauge::default();
        gauge.settle(10_000);
        gauge.begin_slices(10_000, 100);
        assert!(gauge.note_suspension() && gauge.note_suspension());
        gauge.observe(9_800, 25);
        let shares: Vec<bool> = (0..9).map(|_| gauge.note_suspension()).collect();
        let expected = [true, false, false, false, true, false, false, false, true];
        assert_eq!(shares, expected);
        assert_eq!(gauge.burnt(), 200 + 9 * 25);
        gauge.observe(9_575, 100);
        assert!(gauge.note_suspension());
    }

    #[test]
    fn what_is_known_of_burnt_fuel_is_never_too_much() {
        let gauge = FuelGauge::default();
        gauge.settle(1000);
        gauge.observe(1000, 100);
        gauge.note_suspension();
        gauge.note_suspension();
        assert_eq!(gauge.burnt(), 200);
        // A call reads the exact number, which is larger.
        gauge.observe(750, 10);
        assert_eq!(gauge.burnt(), 250);
        gauge.note_suspension();
        assert_eq!(gauge.burnt(), 260);
        // A part of the interval was burnt before this settlement.
        gauge.settle(735);
        assert_eq!(gauge.burnt(), 0);
        gauge.note_suspension();
        assert_eq!(gauge.burnt(), 0);
        gauge.note_suspension();
        assert_eq!(gauge.burnt(), 10);
    }
}
