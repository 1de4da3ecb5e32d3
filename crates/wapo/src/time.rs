//! Waiting for time to pass.
//!
//! Waits are exact to a millisecond, rounded up: nothing here fires early. All
//! of them share one timer of the host, so a program may have as many as its
//! memory holds. For reading clocks use [`std::time`]; for work that must not
//! hold up other tasks see [`crate::task::yield_now`].

mod queue;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub use crate::compat::time::*;
use crate::error::{Error, Result};
pub(crate) use queue::{TASK, fire, set, start};

/// Where a deadline is put that the clock cannot count up to.
///
/// Nobody sees it pass, and a clock that begins anywhere can still add to it.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Waits for a while. The time runs from the call, not from the first poll.
///
/// A wait of zero is over at once. One that is longer than the clock can count,
/// such as [`Duration::MAX`], never ends.
///
/// ```no_run
/// use std::time::Duration;
/// # async fn demo() {
/// wapo::time::sleep(Duration::from_millis(200)).await;
/// # }
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    let state = if duration.is_zero() {
        State::Over
    } else {
        State::Fresh(after(Instant::now(), duration))
    };
    Sleep { state }
}

/// Waits until a point in time; one in the past is over at once.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        state: State::until(deadline),
    }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// # Cancel safety
///
/// Dropping it loses nothing but the wait.
#[derive(Debug)]
pub struct Sleep {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody has asked yet. Becomes `Waiting` with the first poll.
    Fresh(Instant),
    /// In the queue; becomes `Over` when it is no longer there.
    Waiting(queue::Key),
    /// The time has passed.
    Over,
}

impl State {
    fn until(deadline: Instant) -> Self {
        if deadline <= Instant::now() {
            Self::Over
        } else {
            Self::Fresh(deadline)
        }
    }
}

impl Sleep {
    /// Starts the wait anew, whether it is over or not.
    ///
    /// A task that waited for the old deadline is woken at the new one.
    pub fn reset(&mut self, deadline: Instant) {
        let waker = match self.state {
            State::Waiting(key) => queue::remove(key),
            State::Fresh(_) | State::Over => None,
        };
        self.state = match waker {
            Some(waker) => State::Waiting(queue::insert(deadline, waker)),
            None => State::until(deadline),
        };
    }

    /// Whether the time has passed, as far as this future has noticed.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.state {
            State::Over => return Poll::Ready(()),
            State::Waiting(key) if queue::update(key, cx.waker()) => {}
            State::Waiting(_) => {
                self.state = State::Over;
                return Poll::Ready(());
            }
            State::Fresh(deadline) => {
                self.state = State::Waiting(queue::insert(deadline, cx.waker().clone()));
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Waiting(key) = self.state {
            drop(queue::remove(key));
        }
    }
}

/// A point in time and a while after it, or a century when the clock cannot
/// count that far.
fn after(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or(start + CENTURY)
}

/// Gives a future only so much time.
///
/// The future is polled first, so one that is ready wins over a limit of zero.
///
/// # Errors
///
/// [`TimedOut`] when the time is over first; the future is dropped then.
///
/// ```no_run
/// use std::time::Duration;
/// # async fn demo() {
/// let answer = wapo::time::timeout(Duration::from_secs(5), async { 42 }).await;
/// assert_eq!(answer, Ok(42));
/// # }
/// ```
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep(limit));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(cx).map(|()| Err(TimedOut))
    })
    .await
}

/// The limit of [`timeout`] was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for TimedOut {}

impl From<TimedOut> for std::io::Error {
    fn from(error: TimedOut) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, error)
    }
}

/// Ticks at a steady pace; the first tick is at once.
///
/// A tick that was missed is made up for by a single late one; the ticks after
/// it keep to the original schedule. A period that the clock cannot count, such
/// as [`Duration::MAX`], gives the first tick and no other.
///
/// # Errors
///
/// [`Error::INVALID_PARAMETER`] for a period of zero.
///
/// ```no_run
/// use std::time::Duration;
/// # async fn demo() -> wapo::Result<()> {
/// let mut clock = wapo::time::interval(Duration::from_secs(1))?;
/// loop {
///     clock.tick().await;
/// }
/// # }
/// ```
pub fn interval(period: Duration) -> Result<Interval> {
    if period.is_zero() {
        return Err(Error::INVALID_PARAMETER);
    }
    Ok(Interval {
        period,
        next: Instant::now(),
        sleep: sleep(Duration::ZERO),
    })
}

/// Made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    next: Instant,
    sleep: Sleep,
}

impl Interval {
    /// Waits for the next tick and says when it was due.
    ///
    /// # Cancel safety
    ///
    /// A tick that was given up comes with the next call.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| Pin::new(&mut self.sleep).poll(cx)).await;
        let due = self.next;
        self.next = next_tick(due, Instant::now(), self.period);
        self.sleep.reset(self.next);
        due
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// The first tick of the schedule that lies after `now`.
fn next_tick(due: Instant, now: Instant, period: Duration) -> Instant {
    let next = after(due, period);
    if next > now {
        return next;
    }
    let late = now.duration_since(due).as_nanos();
    // A remainder is shorter than the period, which has passed since `due`.
    let into_period = Duration::from_nanos(u64::try_from(late % period.as_nanos()).unwrap_or(0));
    now + (period - into_period)
}

#[cfg(test)]
mod tests;
