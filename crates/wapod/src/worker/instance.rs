//! A running instance of an app, as the worker has it.
//!
//! Started and ended by `instances`, counted by what is in `seats`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use wapo_host::{InstanceHandle, Phase, Status};

use super::channel::Channel;
use crate::edge::Edge;

/// For whom an instance runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// For all requests, until it is stopped.
    Persistent,
    /// For all requests, while there are some.
    OnDemand,
    /// For one request.
    PerRequest,
}

/// A running instance of an app.
pub(crate) struct Instance {
    pub(super) handle: InstanceHandle,
    pub(super) status: watch::Receiver<Status>,
    pub(super) kind: Kind,
    pub(super) started: Instant,
    pub(super) in_flight: AtomicUsize,
    /// Takes no more requests. Never becomes false again.
    pub(super) is_leaving: AtomicBool,
    /// Since when it has had nothing to do.
    pub(super) idle_since: Mutex<Instant>,
    pub(super) edge: Arc<Edge>,
}

impl Instance {
    pub(super) fn new(handle: InstanceHandle, kind: Kind, edge: Arc<Edge>) -> Self {
        Self {
            status: handle.status(),
            handle,
            kind,
            started: Instant::now(),
            in_flight: AtomicUsize::new(0),
            is_leaving: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            edge,
        }
    }

    pub(crate) fn handle(&self) -> &InstanceHandle {
        &self.handle
    }

    pub(crate) fn status(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    pub(crate) fn uptime(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    pub(crate) fn requests(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn idle_since(&self) -> MutexGuard<'_, Instant> {
        // A single value is always whole.
        self.idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes such requests. Leaving instances do when all of an app are
    /// leaving: there is no other instance for the requests that wait.
    pub(super) fn takes(&self, channel: Channel, is_ending: bool) -> bool {
        self.kind != Kind::PerRequest
            && (is_ending || !self.is_leaving())
            && channel.is_open(&self.status())
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Takes no more requests and accepts no more connections.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.handle.leave();
        self.edge.leave(self.handle.id());
    }

    /// Whether a request or a connection waits for an answer of the guest.
    pub(super) fn owes_answers(&self) -> bool {
        self.requests() > 0 || self.handle.owed_answers() > 0
    }

    /// Whether it has something to finish before it goes.
    pub(super) fn is_busy(&self) -> bool {
        !self.has_ended() && (self.requests() > 0 || self.handle.busy_connections() > 0)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status().phase, Phase::Ended(_))
    }
}
