//! Tasks: concurrency inside one guest.
//!
//! A guest has one thread. Tasks take turns on it whenever one of them waits,
//! so nothing here needs `Send`, and a task that computes for long without
//! waiting holds up the others ([`yield_now`] is the remedy). The main future
//! is a task too; when it ends, the program ends, whatever else still runs.
//!
//! This file is what apps see. The queue and the boundary to the host are in
//! `executor`, the book-keeping of foreign wakers in `wakers`.

mod executor;
mod wakers;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, future};

pub use crate::compat::tasks::*;
#[cfg(any(test, target_family = "wasm"))]
pub(crate) use executor::current_id;
pub use executor::poll_program;
pub(crate) use executor::{as_task, poll_again};
pub(crate) use wakers::{intern, poll_call};

/// Starts a task and returns a handle to its result.
///
/// The task runs after the current one waits. Dropping the handle lets the
/// task run on by itself.
///
/// ```no_run
/// # async fn demo() {
/// let answer = wapo::spawn(async { 6 * 7 });
/// assert_eq!(answer.await, Ok(42));
/// # }
/// ```
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_inner(None, future)
}

/// As [`spawn`], with a name that shows up when the task panics.
///
/// ```no_run
/// wapo::spawn_named("janitor", async { /* ... */ });
/// ```
pub fn spawn_named<F>(name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_inner(Some(name.into()), future)
}

/// Starts a task without a handle to its result, which would be an allocation more.
pub(crate) fn detach(future: impl Future<Output = ()> + 'static) {
    executor::spawn(None, Box::pin(future));
}

fn spawn_inner<F>(name: Option<Box<str>>, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let result = Arc::new(Mutex::new(Outcome::Running(None)));
    let completer = Completer(Arc::clone(&result));
    let task = executor::spawn(
        name,
        Box::pin(async move {
            let output = future.await;
            completer.complete(Ok(output));
        }),
    );
    JoinHandle { result, task }
}

/// Lets every other ready task run once before the current one goes on.
///
/// ```no_run
/// # async fn demo() {
/// for step in 0..1_000_000u64 {
///     // ... some work ...
///     if step % 10_000 == 0 {
///         wapo::task::yield_now().await;
///     }
/// }
/// # }
/// ```
pub async fn yield_now() {
    let mut yielded = false;
    future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Lets other ready tasks run once, from within one that cannot wait: a future that
/// computes for long in code which knows nothing of tasks, such as an interpreter that
/// calls back now and then.
///
/// They run on top of the caller's stack, and it goes on when each of them waits; a task
/// that is on the stack already stays where it is. What the caller has borrowed stays
/// borrowed meanwhile. Prefer [`yield_now`] wherever the caller can wait. Answers whether
/// the program goes on: `false` when its main future has ended.
///
/// ```no_run
/// # fn step() -> bool { false }
/// # async fn demo() {
/// while step() {
///     wapo::task::run_others();
/// }
/// # }
/// ```
pub fn run_others() -> bool {
    executor::run_others()
}

/// The task was dropped before it had a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canceled;

impl fmt::Display for Canceled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was cancelled")
    }
}

impl std::error::Error for Canceled {}

/// The result of a spawned task, some day.
///
/// # Cancel safety
///
/// Awaiting a `&mut JoinHandle` may be given up and taken up again.
pub struct JoinHandle<T> {
    result: Arc<Mutex<Outcome<T>>>,
    task: executor::TaskRef,
}

impl<T> JoinHandle<T> {
    /// Drops the task where it stands; awaiting the handle then gives [`Canceled`].
    ///
    /// A task that is finished is left alone. A task that aborts itself runs
    /// on to its next waiting point.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the task has ended, one way or the other.
    pub fn is_finished(&self) -> bool {
        !matches!(*lock(&self.result), Outcome::Running(_))
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Canceled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = lock(&self.result);
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Running(_) => {
                *outcome = Outcome::Running(Some(cx.waker().clone()));
                Poll::Pending
            }
            Outcome::Done(result) => Poll::Ready(result),
            Outcome::Taken => Poll::Ready(Err(Canceled)),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("task", &self.task.id())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// Where a task's result goes.
enum Outcome<T> {
    /// Not finished yet; becomes `Done`. Holds the waker of the waiting task.
    Running(Option<Waker>),
    /// Ready to be taken; becomes `Taken`.
    Done(Result<T, Canceled>),
    /// The handle has been asked and answered.
    Taken,
}

/// Reports a result, or [`Canceled`] when it is dropped without one.
struct Completer<T>(Arc<Mutex<Outcome<T>>>);

impl<T> Completer<T> {
    fn complete(&self, result: Result<T, Canceled>) {
        let mut outcome = lock(&self.0);
        if let Outcome::Running(waker) = &mut *outcome {
            let waker = waker.take();
            *outcome = Outcome::Done(result);
            drop(outcome);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        self.complete(Err(Canceled));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
