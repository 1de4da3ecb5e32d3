//! The switch between an instance's task and everyone else.
//!
//! Holds the stop request, the task's waker, what the scheduler wants to know
//! about the last step, and how much memory the guest has. Lives as long as the
//! handle, across restarts. Shared by handle, wake queue, run loop and scheduler.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Shared switches of one instance.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stopped: AtomicBool,
    task: AtomicWaker,
    /// Set while the run loop waits for something to happen.
    idle: AtomicBool,
    /// Set when a call moved bytes or accepted a connection.
    io_done: AtomicBool,
    /// Set when one poll burned many slices.
    heavy: AtomicBool,
    /// Times the task was run; a new number means the guest has yielded.
    steps: AtomicU64,
    /// Linear memory of the instance.
    memory_bytes: AtomicU64,
}

impl Control {
    /// Asks the run loop to end the guest.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.task.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Runs the instance's task again.
    pub(crate) fn notify(&self) {
        self.task.wake();
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

    pub(crate) fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
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
