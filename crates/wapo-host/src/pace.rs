//! How fast an instance computes, where its app has a quota of that.
//!
//! Before each step of the guest its app's quotas of processor time and gas are
//! asked; while they are used up the instance waits, which costs its thread
//! nothing, and a stop request or a deadline ends the wait at once. Time is
//! measured by the clock of the thread, and only where there is a quota of it.
//! Called by `drive`.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::compute::thread_time;
use crate::meter::Meter;
use crate::quotas::{GasQuota, Quotas};

/// The pace of one instance.
pub(crate) struct Pace {
    quotas: Arc<Quotas>,
    meter: Arc<Meter>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// When a step began; nothing if it is not measured.
pub(crate) struct Step(Option<Duration>);

impl Pace {
    pub(crate) fn new(quotas: &Arc<Quotas>, meter: &Arc<Meter>) -> Self {
        Self {
            quotas: Arc::clone(quotas),
            meter: Arc::clone(meter),
            pause: None,
        }
    }

    /// Waits until the guest may compute.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
        }
        let Some(time) = self.quotas.pause(&self.meter) else {
            if self.pause.take().is_some() {
                self.quotas.note_waiting(false);
            }
            return Poll::Ready(());
        };
        let until = Instant::now() + time;
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(until),
            none => {
                self.quotas.note_waiting(true);
                *none = Some(Box::pin(tokio::time::sleep_until(until)));
            }
        }
        match &mut self.pause {
            // It has just begun; this leaves the waker with it.
            Some(pause) => pause.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// A step of the guest begins.
    pub(crate) fn begin(&self) -> Step {
        let is_measured = self.quotas.measures_cpu();
        Step(if is_measured { thread_time() } else { None })
    }

    /// The step has ended, on the thread where it began.
    pub(crate) fn end(&self, step: &Step) {
        if let Some(before) = step.0
            && let Some(now) = thread_time()
        {
            self.quotas.add_cpu(now.saturating_sub(before));
        }
    }

    /// The app's quota of gas, if it is used up.
    pub(crate) fn gas_used_up(&self) -> Option<GasQuota> {
        self.quotas.gas_used_up(&self.meter)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if self.pause.is_some() {
            self.quotas.note_waiting(false);
        }
    }
}
