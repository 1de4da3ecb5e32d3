//! Admission of requests: `admit` gives a lease on one instance.
//!
//! A request that finds no instance with room waits in the queue of the app, first come,
//! first served, for a bounded time and without asking again: an instance that
//! gets room takes the request that has waited longest. A lease counts the
//! request for as long as it exists and undoes everything on drop, whatever
//! becomes of the request. Called by `query` and by the gateway.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use wapo_host::quotas::QuotaPermit;
use wapo_host::{HttpCall, HttpExchange, QuotaKind, RequestError, Reservation};

use super::Worker;
use super::app::{App, AppState};
use super::channel::Channel;
use super::instance::{Instance, Kind};
use super::instances::Start;
use super::seats::Seat;
use crate::error::WorkerError;
use crate::limits::{APP_REQUESTS_MAX, CHANNEL_WAIT, QUEUE_WAIT, START_WAIT};

/// Starts on demand of one app that one request may cause.
///
/// More than one because an instance may leave just before it would have taken
/// the request. Without a bound a guest that fails at its start would be started
/// for as long as the client waits.
const STARTS_PER_REQUEST_MAX: u32 = 2;

/// A request that counts among those of its app.
struct RequestPermit(
    Arc<App>,
    #[expect(dead_code, reason = "held while it counts")] QuotaPermit,
);

impl RequestPermit {
    fn new(app: Arc<App>) -> Result<Self, WorkerError> {
        let counted = app.quotas.live().take(QuotaKind::Requests, 1);
        let permit = counted.map_err(|_| WorkerError::Busy)?;
        Ok(Self(app, permit))
    }
}

/// The right to one request on one instance.
pub(crate) struct Lease {
    seat: Seat,
    counted: RequestPermit,
}

impl Lease {
    /// The instance that takes the request.
    pub(crate) fn instance(&self) -> &Instance {
        &self.seat.instance
    }

    /// The app.
    pub(crate) fn app(&self) -> &Arc<App> {
        &self.counted.0
    }

    fn room(&mut self) -> Result<Reservation, RequestError> {
        self.seat.room.take().ok_or(RequestError::Busy)
    }

    /// Hands an HTTP request to the instance.
    ///
    /// # Errors
    ///
    /// [`RequestError::Ended`]; [`RequestError::Busy`] for a second request.
    pub(crate) fn http(&mut self, call: HttpCall) -> Result<HttpExchange, RequestError> {
        self.room()?.http(call)
    }

    /// Asks the instance a question and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    ///
    /// # Cancel safety
    ///
    /// As [`Reservation::query`].
    pub(super) async fn query(
        &mut self,
        origin: Option<[u8; 32]>,
        path: String,
        payload: Vec<u8>,
    ) -> Result<Bytes, RequestError> {
        self.room()?.query(origin, path, payload).await
    }
}

/// A request that waits. Dropping it leaves the queue.
struct Waiter {
    app: Arc<App>,
    channel: Channel,
    number: u64,
    seat: oneshot::Receiver<Seat>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.app.state();
        let queue = state.waiting.queue(self.channel);
        queue.by_number.remove(&self.number);
        // A seat that came too late is dropped with the receiver, after this.
    }
}

enum Entered {
    Seated(Seat),
    Waiting(Waiter),
}

/// What a waiting request may expect.
enum Availability {
    /// Instances take such requests and have no room.
    Busy,
    /// None takes such requests yet; not before this time is it hopeless.
    Wait(Instant),
    /// Nothing runs.
    Nothing,
}

impl App {
    /// The least busy of the instances that take such a request, and room there.
    fn seat(&self, state: &AppState, channel: Channel) -> Option<Seat> {
        let is_ending = state.is_ending();
        let open = || {
            let all = state.instances.iter();
            all.filter(|one| one.takes(channel, is_ending))
        };
        let reserve = |one: &Arc<Instance>| {
            // Guests may never let go of requests whose clients have left: those
            // do not count among the app's, but there is an end to them, too.
            let room = one.handle.reserve(channel.input(), APP_REQUESTS_MAX)?;
            Some((Arc::clone(one), room))
        };
        let least_busy = open().min_by_key(|one| one.requests())?;
        let (instance, room) = reserve(least_busy).or_else(|| open().find_map(reserve))?;
        // Counted under the lock: the code that ends idle instances has it, too.
        instance.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            instance,
            room: Some(room),
        })
    }

    /// Gives a request a seat, unless others wait for one, or a place in the queue.
    fn enter(self: &Arc<Self>, channel: Channel) -> Result<Entered, WorkerError> {
        let mut state = self.state();
        if state.is_ending() {
            return Err(WorkerError::AppNotRunning);
        }
        state.last_request = Instant::now();
        if state.waiting.has_none(channel)
            && let Some(seat) = self.seat(&state, channel)
        {
            return Ok(Entered::Seated(seat));
        }
        let (sender, seat) = oneshot::channel();
        let queue = state.waiting.queue(channel);
        let number = queue.next;
        queue.next += 1;
        queue.by_number.insert(number, sender);
        drop(state);
        Ok(Entered::Waiting(Waiter {
            app: Arc::clone(self),
            channel,
            number,
            seat,
        }))
    }

    /// Gives seats to requests that wait, as many as there are. Called when an
    /// instance has room, or takes requests, that it did not before.
    pub(crate) fn dispatch(&self) {
        loop {
            let mut returned = Vec::new();
            let mut state = self.state();
            for channel in [Channel::Http, Channel::Query] {
                while !state.waiting.has_none(channel)
                    && let Some(seat) = self.seat(&state, channel)
                {
                    let first = state.waiting.queue(channel).by_number.pop_first();
                    if let Some(Err(seat)) = first.map(|(_, waiter)| waiter.send(seat)) {
                        returned.push(seat);
                    }
                }
            }
            drop(state);
            if returned.is_empty() {
                return;
            }
            // Of requests whose clients have just left; others may have the seats.
        }
    }

    /// The app that has taken the place of this one.
    fn heir(&self) -> Option<Arc<Self>> {
        self.state().heir.clone()
    }

    fn availability(&self, channel: Channel) -> Availability {
        let state = self.state();
        let is_ending = state.is_ending();
        let mut all = state.instances.iter();
        if all.any(|one| one.takes(channel, is_ending)) {
            return Availability::Busy;
        }
        let alive = state.instances.iter().filter(|one| {
            one.kind != Kind::PerRequest && (is_ending || !one.is_leaving()) && !one.has_ended()
        });
        match alive.map(|one| one.started + START_WAIT).max() {
            Some(deadline) => Availability::Wait(deadline),
            None if state.starting > 0 => Availability::Wait(Instant::now() + START_WAIT),
            None => Availability::Nothing,
        }
    }
}

impl Worker {
    /// Lets a request in: finds an instance, or starts one for it, and waits, for
    /// a bounded time, until it has its turn. When another app has taken the
    /// place of this one meanwhile, that one gets the request.
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
        mut app: Arc<App>,
        channel: Channel,
    ) -> Result<Lease, WorkerError> {
        loop {
            let admitted = self.admit_itself(Arc::clone(&app), channel).await;
            let is_gone = matches!(
                admitted,
                Err(WorkerError::AppNotRunning
                    | WorkerError::AppNotFound
                    | WorkerError::NotStarted)
            );
            let heir = if is_gone { app.heir() } else { None };
            match heir {
                Some(heir) => app = heir,
                None => return admitted,
            }
        }
    }

    /// The same for this app alone: not for one that takes its place.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]; nothing is counted then.
    ///
    /// # Cancel safety
    ///
    /// As [`admit`](Self::admit).
    pub(super) async fn admit_itself(
        self: &Arc<Self>,
        app: Arc<App>,
        channel: Channel,
    ) -> Result<Lease, WorkerError> {
        if let Some(max) = app.gas_used_up() {
            return Err(WorkerError::GasUsedUp(max));
        }
        let counted = RequestPermit::new(app)?;
        if !counted.0.reuse_instances {
            return Box::pin(self.admit_alone(counted, channel)).await;
        }
        match counted.0.enter(channel)? {
            Entered::Seated(seat) => Ok(Lease { seat, counted }),
            // Boxed, so that requests that need not wait do not move its room.
            Entered::Waiting(waiter) => Box::pin(self.admit_later(counted, waiter)).await,
        }
    }

    /// Waits until it is the request's turn.
    async fn admit_later(
        self: &Arc<Self>,
        counted: RequestPermit,
        mut waiter: Waiter,
    ) -> Result<Lease, WorkerError> {
        let app = Arc::clone(&counted.0);
        let begun = Instant::now();
        let mut starts_left = STARTS_PER_REQUEST_MAX;
        loop {
            let mut changed = std::pin::pin!(app.changed.notified());
            // Registered before looking, so that no change slips through between.
            changed.as_mut().enable();
            if let Ok(seat) = waiter.seat.try_recv() {
                return Ok(Lease { seat, counted });
            }
            let (deadline, why) = match app.availability(waiter.channel) {
                Availability::Busy => (begun + QUEUE_WAIT, WorkerError::Busy),
                Availability::Wait(deadline) => {
                    let deadline = deadline.max(begun + CHANNEL_WAIT);
                    (deadline.min(begun + QUEUE_WAIT), WorkerError::NotTaken)
                }
                Availability::Nothing if app.manifest.on_demand && starts_left > 0 => {
                    starts_left -= 1;
                    self.start_on_demand(&app, Instant::now() + START_WAIT)
                        .await?;
                    continue;
                }
                Availability::Nothing => {
                    // The time of its last request has changed.
                    self.active.add(&app);
                    return Err(WorkerError::AppNotRunning);
                }
            };
            let waited = timeout_at(deadline, async {
                tokio::select! {
                    biased;
                    seat = &mut waiter.seat => seat.ok(),
                    () = changed => None,
                }
            });
            match waited.await {
                Ok(Some(seat)) => return Ok(Lease { seat, counted }),
                Ok(None) => {}
                Err(_) => return Err(why),
            }
        }
    }

    /// Starts an instance for one request or connection alone. It is stopped when
    /// the seat is dropped.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and when the app is stopped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn start_alone(
        self: &Arc<Self>,
        app: &Arc<App>,
        deadline: Instant,
    ) -> Result<Seat, WorkerError> {
        if !app.may_start() {
            return Err(WorkerError::AppNotRunning);
        }
        let start = Start::new(app, Kind::PerRequest, deadline);
        let instance = self.start(app, start).await?;
        instance.in_flight.fetch_add(1, Ordering::Relaxed);
        // From here on the instance is stopped if nothing comes of this.
        let seat = Seat {
            instance,
            room: None,
        };
        app.state().last_request = Instant::now();
        Ok(seat)
    }

    /// Starts an instance for this request alone.
    async fn admit_alone(
        self: &Arc<Self>,
        counted: RequestPermit,
        channel: Channel,
    ) -> Result<Lease, WorkerError> {
        let deadline = Instant::now() + START_WAIT;
        let mut seat = self.start_alone(&counted.0, deadline).await?;
        seat.room = seat.instance.handle.reserve(channel.input(), usize::MAX);
        let lease = Lease { seat, counted };
        let mut status = lease.instance().status.clone();
        let opened = status.wait_for(|status| {
            channel.is_open(status) || matches!(status.phase, wapo_host::Phase::Ended(_))
        });
        let outcome = match timeout_at(deadline, opened).await {
            Ok(Ok(status)) if channel.is_open(&status) => Ok(()),
            Ok(_) => Err(WorkerError::AppNotRunning),
            Err(_) => Err(WorkerError::NotTaken),
        };
        outcome.map(|()| lease)
    }
}
