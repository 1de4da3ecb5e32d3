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

/// How often a connection looks whether anybody is there to take it.
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
    pub(super) place: Option<OwnedSemaphorePermit>,
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
        place: None,
    })
}

/// What is offered under a name, waiting for it if there is hope.
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
    if found.app.reuse_instances {
        return wait_for_any(edge, worker, name, found, deadline).await;
    }
    let mut offered = wait_alone(edge, worker, name, found, deadline).await?;
    offered.place = Some(place);
    Ok(offered)
}

async fn wait_for_any(
    edge: &Edge,
    worker: &Arc<Worker>,
    name: &ServerName,
    found: Found,
    deadline: Instant,
) -> Result<Offered, NoOne> {
    let mut found = Some(found);
    let mut starts_left = STARTS_PER_CONNECTION_MAX;
    loop {
        // Looked up anew each time: another app may have taken the place.
        let now = found.take().or_else(|| edge.find(name));
        let now = now.ok_or(NoOne::Nobody)?;
        let app = now.kin.app().ok_or(NoOne::Nobody)?;
        let mut changed = pin!(app.changes());
        // Registered before looking, so that no change slips through between.
        changed.as_mut().enable();
        let serving = edge.find(name).and_then(|found| found.serving);
        if let Some(serving) = &serving
            && let Some(offer) = serving.offer(None)
        {
            return Ok(Offered {
                serving: Arc::clone(serving),
                offer,
                alone: None,
                place: None,
            });
        }
        match app.prospect() {
            Prospect::None => return Err(NoOne::Nobody),
            Prospect::OnDemand if starts_left == 0 => return Err(NoOne::Nobody),
            Prospect::OnDemand => {
                starts_left -= 1;
                let started = worker.start_on_demand(&app, deadline).await;
                started.map_err(|_| NoOne::Nobody)?;
            }
            // It has not asked for the name, and has had its time to.
            Prospect::Runs { since } if serving.is_none() => {
                let waited = timeout_at(deadline.min(since + START_WAIT), changed).await;
                waited.map_err(|_| NoOne::Nobody)?;
            }
            Prospect::Runs { .. } | Prospect::Starts => {
                let waited = timeout_at(deadline, changed).await;
                waited.map_err(|_| NoOne::Nobody)?;
            }
        }
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

/// As [`wait_for_any`], with an instance for this connection alone.
async fn wait_alone(
    edge: &Edge,
    worker: &Arc<Worker>,
    name: &ServerName,
    found: Found,
    deadline: Instant,
) -> Result<Offered, NoOne> {
    let app = found.kin.app().ok_or(NoOne::Nobody)?;
    let seat = worker.start_alone(&app, deadline).await;
    let seat = seat.map_err(|_| NoOne::Nobody)?;
    loop {
        let mut changed = pin!(app.changes());
        changed.as_mut().enable();
        let serving = edge.find(name).and_then(|found| found.serving);
        if let Some(serving) = &serving
            && let Some(offer) = serving.offer(Some(seat.instance_id()))
        {
            return Ok(Offered {
                serving: Arc::clone(serving),
                offer,
                alone: Some(seat),
                place: None,
            });
        }
        if seat.has_ended() || timeout_at(deadline, changed).await.is_err() {
            return Err(NoOne::Nobody);
        }
    }
}
