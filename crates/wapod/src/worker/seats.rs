//! Seats of requests on instances, and the queues of requests that wait for one.
//!
//! Who gets a seat is decided in `lease`, which calls it beside `app`. A connection of the shared
//! TLS port has a seat, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::Instant;
use wapo_host::{InstanceId, Reservation};

use super::channel::Channel;
use super::instance::{Instance, Kind};

/// A request's seat on an instance, or a connection's: counted there, with room in
/// its queue. Must not be dropped under the lock of the app's state.
pub(crate) struct Seat {
    pub(super) instance: Arc<Instance>,
    pub(super) room: Option<Reservation>,
}

impl Seat {
    pub(crate) fn instance_id(&self) -> InstanceId {
        self.instance.handle.id()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.instance.has_ended()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.instance.kind == Kind::PerRequest {
            self.instance.handle.stop();
        }
        if self.instance.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.instance.idle_since() = Instant::now();
        }
    }
}

/// Requests of one app that wait for an instance. Made with the first of them.
#[derive(Default)]
pub(super) struct RequestQueues(Option<Box<Queues>>);

#[derive(Default)]
struct Queues {
    http: Queue,
    query: Queue,
}

/// Requests in the order in which they came.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) by_number: BTreeMap<u64, oneshot::Sender<Seat>>,
    pub(super) next: u64,
}

impl RequestQueues {
    pub(super) fn queue(&mut self, channel: Channel) -> &mut Queue {
        let queues = self.0.get_or_insert_default();
        match channel {
            Channel::Http => &mut queues.http,
            Channel::Query => &mut queues.query,
        }
    }

    /// Whether no request of a channel waits.
    pub(super) fn has_none(&self, channel: Channel) -> bool {
        self.0.as_ref().is_none_or(|queues| match channel {
            Channel::Http => queues.http.by_number.is_empty(),
            Channel::Query => queues.query.by_number.is_empty(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.has_none(Channel::Http) && self.has_none(Channel::Query)
    }
}
