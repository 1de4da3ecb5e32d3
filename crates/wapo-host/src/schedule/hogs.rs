//! Threads of low priority, for guests that hog the CPU and for beginners.
//!
//! A queue and a few threads, and no more: tasks here compute, so what they need
//! is to get in line again cheaply after each slice. A runtime with sockets of its
//! own would look at them, and wake its other threads, at every slice; that is a
//! tenth of all time. Sockets and timers belong to the runtime that an instance
//! came from. After each step a thread offers its core to other threads of the
//! system (`Core`). Called by `schedule`.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Nothing woke the task.
const WAITING: u8 = 0;
/// The task is in the queue. Goes to `RUNNING`.
const QUEUED: u8 = 1;
/// A thread polls the task. Goes to `WAITING`, `WOKEN` or `DONE`.
const RUNNING: u8 = 2;
/// Woken while it was polled. Goes to `QUEUED`.
const WOKEN: u8 = 3;
/// Over; wakes mean nothing any more.
const DONE: u8 = 4;

/// Of the time that others took a thread's core when it yielded, the thread runs
/// one part in so many before it yields again.
///
/// A thread that always yields gets almost nothing of a core that others keep
/// busy. With 9 it has about the tenth that its priority stands for.
const OTHERS_PER_OWN: u32 = 9;

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Threads with one queue. Dropping it ends the threads and the tasks that are queued;
/// one that waits ends when it is woken.
pub(crate) struct HogThreads {
    shared: Arc<Shared>,
}

/// What spawns tasks; does not keep the threads alive.
#[derive(Clone)]
pub(crate) struct HogHandle {
    shared: Weak<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Arc<Task>>,
    sleeping: usize,
    is_closed: bool,
}

struct Task {
    state: AtomicU8,
    /// Taken when the task is over, with everything it holds.
    future: Mutex<Option<TaskFuture>>,
    home: Weak<Shared>,
}

impl HogThreads {
    /// Starts threads of this name that run `prepare` first.
    ///
    /// # Errors
    ///
    /// When the system gives no threads.
    pub(crate) fn new(name: &str, threads: usize, prepare: fn()) -> io::Result<Self> {
        let pool = Self {
            shared: Arc::new(Shared::default()),
        };
        for _ in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    prepare();
                    shared.work();
                })?;
        }
        Ok(pool)
    }

    pub(crate) fn handle(&self) -> HogHandle {
        HogHandle {
            shared: Arc::downgrade(&self.shared),
        }
    }
}

impl Drop for HogThreads {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.shared.lock();
            queue.is_closed = true;
            std::mem::take(&mut queue.ready)
        };
        self.shared.arrived.notify_all();
        // Outside the lock: what a task holds may wake others when it goes.
        for task in left {
            task.end();
        }
    }
}

impl HogHandle {
    /// Runs a future; drops it when the threads are gone.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        shared.push(
            Arc::new(Task {
                state: AtomicU8::new(QUEUED),
                future: Mutex::new(Some(Box::pin(future))),
                home: Weak::clone(&self.shared),
            }),
            Next::AnyThread,
        );
    }
}

/// Who takes a task that was put into the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Whichever thread is free; one has to wake up if all sleep.
    AnyThread,
    /// The thread that put it there looks at the queue next.
    ThisThread,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic below leaves the queue as it was before or after a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, task: Arc<Task>, next: Next) {
        let mut queue = self.lock();
        if queue.is_closed {
            drop(queue);
            task.end();
            return;
        }
        queue.ready.push_back(task);
        let wakes_one = next == Next::AnyThread && queue.sleeping > 0;
        drop(queue);
        if wakes_one {
            self.arrived.notify_one();
        }
    }

    /// Polls one task after the other until the queue is closed.
    fn work(&self) {
        let mut core = Core::new();
        while let Some(task) = self.next() {
            task.run(self);
            core.offer();
        }
    }

    fn next(&self) -> Option<Arc<Task>> {
        let mut queue = self.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(task) = queue.ready.pop_front() {
                return Some(task);
            }
            queue.sleeping += 1;
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.sleeping -= 1;
        }
    }
}

/// A thread's hold on its core, which it offers to other threads after each step.
///
/// A low priority alone is not enough: a kernel without preemption lets a thread
/// of any priority run on for milliseconds while one of a higher priority waits.
struct Core {
    /// When the thread last began to run.
    since: Instant,
    /// Time that it runs before it offers the core again.
    own: Duration,
}

impl Core {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            own: Duration::ZERO,
        }
    }

    /// Lets a thread run that waits for this core, if it is its turn.
    fn offer(&mut self) {
        let now = Instant::now();
        let is_due = self.has_run(now - self.since);
        self.since = now;
        if is_due {
            std::thread::yield_now();
            self.since = Instant::now();
            self.was_taken(self.since - now);
        }
    }

    /// Counts time that the thread has run; says whether others are next.
    fn has_run(&mut self, time: Duration) -> bool {
        self.own = self.own.saturating_sub(time);
        self.own.is_zero()
    }

    /// Counts time that others had the core.
    fn was_taken(&mut self, time: Duration) {
        self.own = time / OTHERS_PER_OWN;
    }
}

impl Task {
    /// Polls once, and queues the task again if it was woken meanwhile.
    fn run(self: Arc<Self>, shared: &Shared) {
        self.state.store(RUNNING, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self));
        let outcome = {
            let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(future) = future.as_mut() else {
                return;
            };
            let mut cx = Context::from_waker(&waker);
            // One guest's bug in the host must not take the threads of all.
            let poll = std::panic::AssertUnwindSafe(|| future.as_mut().poll(&mut cx));
            std::panic::catch_unwind(poll).unwrap_or(Poll::Ready(()))
        };
        if outcome.is_ready() {
            self.end();
            return;
        }
        let swapped =
            self.state
                .compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Acquire);
        if swapped.is_err() {
            self.state.store(QUEUED, Ordering::Release);
            shared.push(self, Next::ThisThread);
        }
    }

    /// Drops what the task holds.
    fn end(&self) {
        self.state.store(DONE, Ordering::Release);
        let future = self
            .future
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(future);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let next = |state| match state {
            WAITING => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        let before = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if before != Ok(WAITING) {
            return;
        }
        match self.home.upgrade() {
            Some(home) => home.push(Arc::clone(self), Next::AnyThread),
            // The source of its wake holds it, perhaps by something it owns itself.
            None => self.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Yields a number of times, then says so.
    struct Yields(usize, mpsc::Sender<usize>);

    impl Future for Yields {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if self.0 == 0 {
                let _ = self.1.send(0);
                return Poll::Ready(());
            }
            self.0 -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    #[test]
    fn a_core_is_offered_after_each_step_until_others_keep_it_for_long() {
        let mut core = Core::new();
        let step = Duration::from_micros(100);
        assert!(core.has_run(step));
        core.was_taken(step);
        assert!(core.has_run(step));
        core.was_taken(900 * step);
        let steps = (1..).find(|_| core.has_run(step));
        assert_eq!(steps, Some(100));
    }

    #[test]
    fn tasks_that_yield_take_turns_and_end() {
        let pool = HogThreads::new("test", 2, || {}).expect("threads");
        let (sender, receiver) = mpsc::channel();
        for _ in 0..8 {
            pool.handle().spawn(Yields(1000, sender.clone()));
        }
        for _ in 0..8 {
            receiver.recv_timeout(TIMEOUT).expect("a task ends");
        }
    }

    #[test]
    fn a_waiting_task_goes_on_when_it_is_woken_from_outside() {
        let pool = HogThreads::new("test", 1, || {}).expect("threads");
        let (sender, receiver) = mpsc::channel();
        let (wake, mut woken) = tokio::sync::mpsc::channel::<()>(1);
        pool.handle().spawn(async move {
            let _ = woken.recv().await;
            let _ = sender.send(());
        });
        assert!(receiver.recv_timeout(Duration::from_millis(20)).is_err());
        wake.blocking_send(()).expect("the task waits");
        receiver.recv_timeout(TIMEOUT).expect("the task goes on");
    }

    /// Counts when it is dropped.
    struct Counts(Arc<AtomicUsize>);

    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_panic_ends_its_task_only_and_nothing_outlives_the_threads() {
        let pool = HogThreads::new("test", 1, || {}).expect("threads");
        let (sender, receiver) = mpsc::channel();
        pool.handle().spawn(async { panic!("a bug") });
        pool.handle().spawn(Yields(3, sender.clone()));
        receiver.recv_timeout(TIMEOUT).expect("the thread lives");

        let dropped = Arc::new(AtomicUsize::new(0));
        let held = Counts(Arc::clone(&dropped));
        let handle = pool.handle();
        drop(pool);
        handle.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
}
