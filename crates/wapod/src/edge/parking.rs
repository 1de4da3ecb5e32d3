//! Waiting for an app that has no listener for a name at this moment.
//!
//! An app on demand is started, one that starts, crashes or is being replaced is
//! waited for, and for one that does neither there is no hope. A bounded number of
//! connections waits, with nothing but what their clients have said. Called by
//! `port`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};
use wapo_sni::ServerName;

use super::serving::{Offer, Serving};
use super::{Edge, Found};
use crate::limits::START_WAIT;
use crate::worker::{Prospect, Seat, Worker};

/// Starts on demand that one connection may cause.
///
/// More than one because an instance may leave just before it would have served the
/// name. Without a bound a guest that fails at its start would be started for as
/// long as the client waits.
const STARTS_PER_CONNECTION_MAX: u32 = 2;

/// How often a connection looks whether a listener is there to take it.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Why nobody serves a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoOne {
    /// The app does not.
    Nobody,
    /// Too many wait for it already.
    Full,
}

/// Who serves a connection.
pub(super) struct Offered {
    pub(super) serving: Arc<Serving>,
    pub(super) offer: Arc<Offer>,
    /// The instance that was started for it alone; stopped when this is dropped.
    pub(super) alone: Option<Seat>,
    /// Its place among the connections that wait for the app, as long as a client that
    /// says nothing keeps an instance.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// What is offered under a name at this moment, unless each connection has an
/// instance of its own.
pub(super) fn at_once(found: &Found) -> Option<Offered> {
    let serving = found.serving.as_ref()?;
    let offer = serving.offer(None)?;
    found.app.reuse_instances.then(|| Offered {
        serving: Arc::clone(serving),
        offer,
        alone: None,
        _place: None,
    })
}

/// What is offered under a name, waiting for it if there is hope: by any instance, or by
/// one that is started for this connection alone.
///
/// # Errors
///
/// [`NoOne`].
pub(super) async fn wait(
    edge: &Edge,
    worker: &Arc<Worker>,
    name: &ServerName,
    found: Found,
) -> Result<Offered, NoOne> {
    let place = found.kin.park().ok_or(NoOne::Full)?;
    let deadline = Instant::now() + START_WAIT;
    let mut app = found.kin.app().ok_or(NoOne::Nobody)?;
    let alone = match found.app.reuse_instances {
        true => None,
        false => {
            let seat = worker.start_alone(&app, deadline).await;
            Some(seat.map_err(|_| NoOne::Nobody)?)
        }
    };
    let mut starts_left = STARTS_PER_CONNECTION_MAX;
    loop {
        if alone.is_none() {
            // Looked up anew each time: another app may have taken the place.
            let now = edge.find(name).and_then(|found| found.kin.app());
            app = now.ok_or(NoOne::Nobody)?;
        }
        let mut changed = pin!(app.changes());
        // Registered before looking, so that no change slips through between.
        changed.as_mut().enable();
        let serving = edge.find(name).and_then(|found| found.serving);
        let only = alone.as_ref().map(Seat::instance_id);
        if let Some(serving) = &serving
            && let Some(offer) = serving.offer(only)
        {
            return Ok(Offered {
                serving: Arc::clone(serving),
                offer,
                _place: alone.is_some().then_some(place),
                alone,
            });
        }
        let until = match (&alone, app.prospect()) {
            (Some(seat), _) if seat.has_ended() => return Err(NoOne::Nobody),
            (Some(_), _) => deadline,
            (None, Prospect::None) => return Err(NoOne::Nobody),
            (None, Prospect::OnDemand) if starts_left == 0 => return Err(NoOne::Nobody),
            (None, Prospect::OnDemand) => {
                starts_left -= 1;
                let started = worker.start_on_demand(&app, deadline).await;
                started.map_err(|_| NoOne::Nobody)?;
                continue;
            }
            // It has not asked for the name, and has had its time to.
            (None, Prospect::Runs { since }) if serving.is_none() => {
                deadline.min(since + START_WAIT)
            }
            (None, Prospect::Runs { .. } | Prospect::Starts) => deadline,
        };
        let waited = timeout_at(until, changed).await;
        waited.map_err(|_| NoOne::Nobody)?;
    }
}

/// Starts an app on demand again whose last instance has left before it has taken a
/// connection; once, and never comes back.
pub(super) async fn bring_back(worker: &Arc<Worker>, serving: &Serving) -> Infallible {
    loop {
        if !serving.is_open()
            && let Some(app) = serving.kin().app()
            && app.reuse_instances
            && app.prospect() == Prospect::OnDemand
        {
            let deadline = Instant::now() + START_WAIT;
            // A failure is in the app's log.
            let _ = worker.start_on_demand(&app, deadline).await;
            return std::future::pending().await;
        }
        sleep(LOOK_INTERVAL).await;
    }
}
