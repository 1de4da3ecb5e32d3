//! Reasons outside of the guest that end it, and the futures that they interrupt.
//!
//! A stop request, the deadline, a limit or a lack of memory ends a guest wherever it
//! can be suspended. Used by `drive` for all that the guest does, and by `supervise`
//! for the pauses before the next start.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::compute::PollTooLong;
use crate::control::Control;
use crate::instance::ExitReason;
use crate::quotas::GasQuota;

/// Ends that do not come from the guest.
pub(crate) enum Halt {
    Stopped,
    TimeExceeded(Duration),
    GasUsedUp(GasQuota),
    PollTooLong(Duration),
    /// Its stack takes memory that is not to be had.
    Overdrawn(String),
}

impl From<PollTooLong> for Halt {
    fn from(PollTooLong(max): PollTooLong) -> Self {
        Self::PollTooLong(max)
    }
}

/// The time that an instance may take, over all its starts.
pub(crate) struct TimeLimit {
    max: Duration,
    over: Pin<Box<Sleep>>,
}

impl TimeLimit {
    /// Begins to count.
    pub(crate) fn new(max: Duration) -> Self {
        let over = Box::pin(tokio::time::sleep(max));
        Self { max, over }
    }
}

impl From<Halt> for ExitReason {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Stopped => Self::Stopped,
            Halt::TimeExceeded(max) => Self::TimeExceeded(max),
            Halt::GasUsedUp(max) => Self::GasUsedUp(max),
            Halt::PollTooLong(max) => Self::PollTooLong(max),
            Halt::Overdrawn(reason) => Self::Violation(reason),
        }
    }
}

/// Runs a future that a stop request, the deadline or a stack beyond its memory may end. The
/// future is pinned by the caller: moved in here, it would have its room twice.
pub(crate) async fn interruptible<F: Future>(
    control: &Control,
    time_limit: &mut Option<&mut TimeLimit>,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Halt> {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        control.register(cx);
        check_halt(control, time_limit, cx)?;
        Poll::Pending
    })
    .await
}

/// Whether the guest has to end now; registers for the deadline.
pub(crate) fn check_halt(
    control: &Control,
    time_limit: &mut Option<&mut TimeLimit>,
    cx: &mut Context<'_>,
) -> Result<(), Halt> {
    if control.is_stopped() {
        return Err(Halt::Stopped);
    }
    if let Some(reason) = control.stack().overdrawn() {
        return Err(Halt::Overdrawn(reason));
    }
    if let Some(limit) = time_limit
        && limit.over.as_mut().poll(cx).is_ready()
    {
        return Err(Halt::TimeExceeded(limit.max));
    }
    Ok(())
}
