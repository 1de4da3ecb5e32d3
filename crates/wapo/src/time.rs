//! Waiting for time to pass.
//!
//! Timers live on the host and are exact to a millisecond, rounded up: nothing
//! here fires early. For reading clocks use [`std::time`]; for work that must
//! not hold up other tasks see [`crate::task::yield_now`].

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub use crate::compat::time::*;
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::sys::calls;
use crate::task::poll_call;

/// Longest wait the host takes in one go: its timers count milliseconds in an
/// `i32`, about 24.8 days. Longer waits are made of several.
const LONGEST: Duration = Duration::from_millis(i32::MAX.cast_unsigned() as u64);

/// Waits for a while. The time runs from the call, not from the first poll.
///
/// ```no_run
/// use std::time::Duration;
/// # async fn demo() {
/// wapo::time::sleep(Duration::from_millis(200)).await;
/// # }
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep {
        state: State::start(duration),
    }
}

/// Waits until a point in time; one in the past is over at once.
pub fn sleep_until(deadline: Instant) -> Sleep {
    sleep(deadline.saturating_duration_since(Instant::now()))
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
    /// A host timer runs; `rest` comes after it. Fires into itself or `Over`.
    Armed { timer: Handle, rest: Duration },
    /// The host had no timer to give. Tries again at each poll.
    Starved { deadline: Instant },
    /// The time has passed.
    Over,
}

impl State {
    fn start(duration: Duration) -> Self {
        let (millis, rest) = first_leg(duration);
        match calls::create_timer(millis) {
            Ok(timer) => Self::Armed {
                timer: timer.into(),
                rest,
            },
            Err(_) => Self::Starved {
                deadline: far_future(duration),
            },
        }
    }
}

impl Sleep {
    /// Starts the wait anew, whether it is over or not.
    pub fn reset(&mut self, deadline: Instant) {
        let duration = deadline.saturating_duration_since(Instant::now());
        if let State::Armed { timer, rest } = &mut self.state {
            let (millis, new_rest) = first_leg(duration);
            if calls::reset_timer(timer.get(), millis).is_ok() {
                *rest = new_rest;
                return;
            }
        }
        self.state = State::start(duration);
    }

    /// Whether the time has passed, as far as this future has noticed.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                State::Over => return Poll::Ready(()),
                State::Armed { timer, rest } => {
                    let fired =
                        poll_call(cx, |waker| calls::poll_read(waker, timer.get(), &mut []));
                    match fired {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(_)) if rest.is_zero() => self.state = State::Over,
                        Poll::Ready(Ok(_)) => self.state = State::start(*rest),
                        // No timer of ours: end the wait rather than hang.
                        Poll::Ready(Err(error)) => {
                            ::log::warn!("a timer failed: {error}");
                            self.state = State::Over;
                        }
                    }
                }
                State::Starved { deadline } => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.state = State::Over;
                        continue;
                    }
                    self.state = State::start(left);
                    if let State::Starved { .. } = self.state {
                        // Costs cycles while the app is out of handles, but is
                        // on time; a timer may be free at the next turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// Splits a wait into what one host timer can do, in whole milliseconds
/// rounded up, and the rest.
fn first_leg(duration: Duration) -> (i32, Duration) {
    let leg = duration.min(LONGEST);
    let millis = leg.as_nanos().div_ceil(1_000_000);
    (i32::try_from(millis).unwrap_or(i32::MAX), duration - leg)
}

/// Now plus a duration, or a century when the clock cannot count that far.
fn far_future(duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + CENTURY)
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
/// it keep to the original schedule.
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
    let next = due.checked_add(period).unwrap_or(due);
    if next > now {
        return next;
    }
    let late = now.duration_since(due).as_nanos();
    let into_period = Duration::from_nanos(u64::try_from(late % period.as_nanos()).unwrap_or(0));
    now + period - into_period
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use wapo_abi::Errno;

    use super::*;
    use crate::sys::fake::{self, Answer};

    fn poll_once(sleep: &mut Sleep) -> bool {
        Pin::new(sleep)
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    fn timeouts() -> Vec<usize> {
        fake::calls("create_timer")
            .iter()
            .map(|call| call.slots[0])
            .collect()
    }

    #[test]
    fn a_long_sleep_arms_one_timer_after_the_other() {
        fake::install();
        let mut sleep = sleep(LONGEST + Duration::from_millis(5));
        assert_eq!(timeouts(), [i32::MAX as usize]);
        assert!(!poll_once(&mut sleep));
        fake::answer("poll_read", Answer::Value(0));
        assert!(!poll_once(&mut sleep), "the second leg has begun");
        assert_eq!(timeouts(), [5]);
        fake::answer("poll_read", Answer::Value(0));
        assert!(poll_once(&mut sleep));
        assert!(sleep.is_elapsed());
    }

    #[test]
    fn a_sleep_without_a_timer_is_late_rather_than_wrong() {
        fake::install();
        fake::answer("create_timer", Answer::Fails(Errno::RESOURCE_LIMITED));
        let mut starved = sleep(Duration::from_secs(1000));
        fake::answer("create_timer", Answer::Fails(Errno::RESOURCE_LIMITED));
        assert!(!poll_once(&mut starved));
        assert!(!poll_once(&mut starved));
        assert_eq!(
            fake::calls("create_timer").len(),
            3,
            "the third attempt worked"
        );
        fake::answer("poll_read", Answer::Value(0));
        assert!(poll_once(&mut starved));
    }

    #[test]
    fn a_sleep_can_be_reset_when_it_is_over() {
        fake::install();
        let mut sleep = sleep(Duration::ZERO);
        fake::answer("poll_read", Answer::Value(0));
        assert!(poll_once(&mut sleep));
        sleep.reset(Instant::now() + Duration::from_secs(9));
        assert!(!poll_once(&mut sleep));
    }

    #[test]
    fn long_waits_are_made_of_several_and_none_is_cut() {
        let long = LONGEST * 2 + Duration::from_millis(5);
        let (millis, rest) = first_leg(long);
        assert_eq!(millis, i32::MAX);
        let (millis, rest) = first_leg(rest);
        assert_eq!(millis, i32::MAX);
        assert_eq!(first_leg(rest), (5, Duration::ZERO));
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(first_leg(Duration::from_nanos(1)), (1, Duration::ZERO));
        assert_eq!(first_leg(Duration::ZERO), (0, Duration::ZERO));
        assert_eq!(first_leg(Duration::from_micros(1_001)), (2, Duration::ZERO));
    }

    #[test]
    fn missed_ticks_become_one_and_the_schedule_stays() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(next_tick(start, start, second), start + second);
        let late = start + Duration::from_millis(3_400);
        assert_eq!(next_tick(start, late, second), start + second * 4);
    }
}
