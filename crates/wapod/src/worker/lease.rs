//! The way in for a request: `admit` gives a lease on one instance.
//!
//! A lease counts the request for as long as it exists and undoes everything on
//! drop, whatever becomes of the request. What waits here waits for a bounded
//! time; what does not fit is refused. Called by `query` and by the gateway.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};
use wapo_host::Status;

use super::Worker;
use super::app::{App, Instance, Kind, Outlook};
use crate::error::WorkerError;
use crate::limits::{CHANNEL_WAIT, START_WAIT};

/// Starts on demand of one app that one request may cause.
///
/// More than one because an instance may leave just before it would have taken
/// the request. Without a bound a guest that fails at its start would be started
/// for as long as the client waits.
const STARTS_PER_REQUEST_MAX: u32 = 2;

/// Which kind of request somebody wants to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Channel {
    Http,
    Query,
}

impl Channel {
    /// Whether a guest in this state takes such requests.
    pub(super) fn is_open(self, status: &Status) -> bool {
        match self {
            Self::Http => status.takes_http,
            Self::Query => status.takes_queries,
        }
    }
}

/// A request that counts among those of its app.
struct Counted(Arc<App>);

impl Counted {
    fn new(app: Arc<App>) -> Result<Self, WorkerError> {
        // Counted before it is compared: the drop gives the count back.
        let before = app.requests.fetch_add(1, Ordering::Relaxed);
        let counted = Self(app);
        if before < counted.0.requests_max() {
            Ok(counted)
        } else {
            Err(WorkerError::Busy)
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to one request on one instance.
pub(crate) struct Lease {
    instance: Arc<Instance>,
    counted: Counted,
}

impl Lease {
    /// The instance that takes the request.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The app.
    pub(crate) fn app(&self) -> &App {
        &self.counted.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.instance.kind == Kind::Own {
            self.instance.handle.stop();
        }
        if self.instance.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.instance.idle_since() = Instant::now();
        }
    }
}

impl Worker {
    /// Lets a request in: finds an instance, or starts one for it, and waits, not
    /// for long, until the guest takes such requests.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]; nothing is counted then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: whatever was counted is given back.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        app: Arc<App>,
        channel: Channel,
    ) -> Result<Lease, WorkerError> {
        let counted = Counted::new(app)?;
        if !counted.0.reuse_instances {
            return Box::pin(self.admit_alone(counted, channel)).await;
        }
        match counted.0.look(channel, START_WAIT) {
            Outlook::Ready(instance) => Ok(Lease { instance, counted }),
            // Boxed, so that requests that need not wait do not move its room.
            _ => Box::pin(self.admit_later(counted, channel)).await,
        }
    }

    /// Waits until an instance takes the request.
    async fn admit_later(
        self: &Arc<Self>,
        counted: Counted,
        channel: Channel,
    ) -> Result<Lease, WorkerError> {
        let app = Arc::clone(&counted.0);
        let patience = Instant::now() + CHANNEL_WAIT;
        let mut starts_left = STARTS_PER_REQUEST_MAX;
        loop {
            let mut changed = std::pin::pin!(app.changed.notified());
            // Registered before looking, so that no change slips through between.
            changed.as_mut().enable();
            let deadline = match app.look(channel, START_WAIT) {
                Outlook::Ready(instance) => return Ok(Lease { instance, counted }),
                Outlook::Wait(deadline) => deadline.max(patience),
                Outlook::Nothing if app.manifest.on_demand && starts_left > 0 => {
                    starts_left -= 1;
                    self.start_on_demand(&app).await?;
                    continue;
                }
                Outlook::Nothing => return Err(WorkerError::AppNotRunning),
            };
            if timeout_at(deadline, changed).await.is_err() {
                return Err(WorkerError::NotTaken);
            }
        }
    }

    /// Starts an instance for this request alone.
    async fn admit_alone(
        self: &Arc<Self>,
        counted: Counted,
        channel: Channel,
    ) -> Result<Lease, WorkerError> {
        if !counted.0.may_start() {
            return Err(WorkerError::AppNotRunning);
        }
        let instance = self.start(&counted.0, Kind::Own).await?;
        instance.in_flight.fetch_add(1, Ordering::Relaxed);
        counted.0.state().last_request = Instant::now();
        // From here on the instance is stopped if nothing comes of this.
        let lease = Lease { instance, counted };
        let mut status = lease.instance.status.clone();
        let opened = status.wait_for(|status| {
            channel.is_open(status) || matches!(status.phase, wapo_host::Phase::Ended(_))
        });
        let outcome = match timeout_at(Instant::now() + START_WAIT, opened).await {
            Ok(Ok(status)) if channel.is_open(&status) => Ok(()),
            Ok(_) => Err(WorkerError::AppNotRunning),
            Err(_) => Err(WorkerError::NotTaken),
        };
        outcome.map(|()| lease)
    }
}
