//! What a guest's handles stand for, and the table that holds them.
//!
//! A handle is an index into the table of one instance; the lowest free one is
//! given out, as guests expect. What can be done with a resource is decided by
//! its kind in `calls/task.rs`; this module only stores.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Sleep;
use wapo_abi::{Errno, HANDLES_MAX};

use crate::embedder::Denial;
use crate::host_memory::MemoryCharge;
use crate::net::connect::Connecting;
use crate::net::listener::Listener;
use crate::net::stream::Stream;
use crate::net::task::OwnedTask;
use crate::net::udp::Udp;
use crate::quotas::{OverQuota, QuotaKind, Quotas};
use crate::request::{HttpReply, InHand, Reply, RequestError};

/// A guest's number for a host resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Handle(pub(crate) i32);

/// Evidence that is being made; `None` once it was taken.
pub(crate) type Making = Option<OwnedTask<Result<(Vec<u8>, MemoryCharge), Denial>>>;

/// A host resource of a guest.
pub(crate) enum Resource {
    /// Fires once; can be set anew.
    Timer(Pin<Box<Sleep>>),
    /// The receiving end of an input channel; the queue is in the state.
    Inbox(wapo_abi::message::InputChannel),
    /// Takes the answer to a query. `None` once it was given.
    Reply(Option<Replier>),
    /// Takes the head of the answer to an HTTP request. `None` once it was given.
    HttpReply(Option<oneshot::Sender<HttpReply>>),
    /// Yields streams.
    Listener(Box<Listener>),
    /// Moves bytes.
    Stream(Box<Stream>),
    /// Becomes a stream.
    Connecting(Connecting),
    /// Moves datagrams.
    Udp(Box<Udp>),
    /// Becomes evidence.
    Evidence(Making),
}

/// Where the answer to a query goes.
pub(crate) struct Replier {
    pub(crate) sender: oneshot::Sender<Reply>,
    /// The guest lets go of the query with its answer.
    pub(crate) _in_hand: InHand,
}

/// All resources of one instance.
#[derive(Default)]
pub(crate) struct ResourceTable {
    entries: Vec<Option<Resource>>,
    free: BinaryHeap<Reverse<usize>>,
    /// Of the app, on which handles and timers count.
    quotas: Arc<Quotas>,
    timers: u64,
    /// Handles that count and are not given out yet.
    spare: u64,
}

/// Why there is no handle to be had, for the app's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoHandle {
    #[error("all {HANDLES_MAX} handles of the instance are in use")]
    Full,
    #[error(transparent)]
    Quota(#[from] OverQuota),
}

impl From<NoHandle> for Errno {
    fn from(_: NoHandle) -> Self {
        Self::RESOURCE_LIMITED
    }
}

impl ResourceTable {
    /// A table that counts on these quotas.
    pub(crate) fn new(quotas: &Arc<Quotas>) -> Self {
        Self {
            entries: Vec::new(),
            free: BinaryHeap::new(),
            quotas: Arc::clone(quotas),
            timers: 0,
            spare: 0,
        }
    }

    /// Stores a resource under the lowest free handle.
    ///
    /// # Errors
    ///
    /// [`NoHandle`] when [`HANDLES_MAX`] are in use, or the quota of handles or
    /// timers is.
    pub(crate) fn insert(&mut self, resource: Resource) -> Result<Handle, NoHandle> {
        self.reserve(1)?;
        if matches!(resource, Resource::Timer(_)) {
            self.quotas
                .add(QuotaKind::Timers, 1)
                .inspect_err(|_| self.release())?;
            self.timers += 1;
        }
        let index = match self.free.pop() {
            Some(Reverse(index)) => index,
            None => {
                self.entries.push(None);
                self.entries.len() - 1
            }
        };
        self.spare = self.spare.saturating_sub(1);
        self.entries[index] = Some(resource);
        i32::try_from(index).map(Handle).map_err(|_| NoHandle::Full)
    }

    /// Whether one more resource fits.
    ///
    /// # Errors
    ///
    /// [`NoHandle`] when it does not.
    pub(crate) fn check_room(&self) -> Result<(), NoHandle> {
        if !self.has_places(1) {
            return Err(NoHandle::Full);
        }
        if self.spare == 0 {
            self.quotas.check(QuotaKind::Handles, 1)?;
        }
        Ok(())
    }

    /// Whether one more timer fits.
    ///
    /// # Errors
    ///
    /// [`NoHandle`] when it does not.
    pub(crate) fn check_room_for_timer(&self) -> Result<(), NoHandle> {
        self.check_room()?;
        Ok(self.quotas.check(QuotaKind::Timers, 1)?)
    }

    /// Whether so many more resources fit.
    pub(crate) fn has_room(&self, count: usize) -> bool {
        let more = (count as u64).saturating_sub(self.spare);
        self.has_places(count) && self.quotas.has_room(QuotaKind::Handles, more)
    }

    /// Keeps so many handles for what is about to be inserted, whatever other
    /// instances of the app do.
    ///
    /// # Errors
    ///
    /// [`NoHandle`] when they do not fit.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), NoHandle> {
        if !self.has_places(count) {
            return Err(NoHandle::Full);
        }
        let more = (count as u64).saturating_sub(self.spare);
        if more > 0 {
            self.quotas.add(QuotaKind::Handles, more)?;
            self.spare += more;
        }
        Ok(())
    }

    /// Gives back what was reserved and is not needed.
    pub(crate) fn release(&mut self) {
        let spare = std::mem::take(&mut self.spare);
        if spare > 0 {
            self.quotas.give_back(QuotaKind::Handles, spare);
        }
    }

    /// Answers all requests that the guest has not answered with an error.
    pub(crate) fn refuse_replies(&mut self, error: &RequestError) {
        for resource in self.entries.iter_mut().flatten() {
            // Requesters may have left.
            let http = match resource {
                Resource::Reply(reply) => {
                    if let Some(reply) = reply.take() {
                        drop(reply.sender.send(Err(error.clone())));
                    }
                    continue;
                }
                Resource::HttpReply(reply) => reply.take(),
                Resource::Stream(stream) => stream.take_reply(),
                _ => continue,
            };
            if let Some(reply) = http {
                drop(reply.send(Err(error.clone())));
            }
        }
    }

    fn has_places(&self, count: usize) -> bool {
        HANDLES_MAX - self.entries.len() + self.free.len() >= count
    }

    fn index(handle: Handle) -> Result<usize, Errno> {
        usize::try_from(handle.0).map_err(|_| Errno::NOT_FOUND)
    }

    /// The resource behind a handle.
    ///
    /// # Errors
    ///
    /// [`Errno::NOT_FOUND`] for a handle that was never given out or is closed.
    #[inline]
    pub(crate) fn get(&mut self, handle: Handle) -> Result<&mut Resource, Errno> {
        self.entries
            .get_mut(Self::index(handle)?)
            .and_then(Option::as_mut)
            .ok_or(Errno::NOT_FOUND)
    }

    /// Takes a resource out; its handle may be given out again.
    ///
    /// # Errors
    ///
    /// [`Errno::NOT_FOUND`] as for [`get`](Self::get).
    pub(crate) fn remove(&mut self, handle: Handle) -> Result<Resource, Errno> {
        let index = Self::index(handle)?;
        let resource = self
            .entries
            .get_mut(index)
            .and_then(Option::take)
            .ok_or(Errno::NOT_FOUND)?;
        self.free.push(Reverse(index));
        self.quotas.give_back(QuotaKind::Handles, 1);
        if matches!(resource, Resource::Timer(_)) {
            self.timers -= 1;
            self.quotas.give_back(QuotaKind::Timers, 1);
        }
        Ok(resource)
    }
}

impl Drop for ResourceTable {
    fn drop(&mut self) {
        let in_use = (self.entries.len() - self.free.len()) as u64;
        self.quotas
            .give_back(QuotaKind::Handles, in_use + self.spare);
        self.quotas.give_back(QuotaKind::Timers, self.timers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Resource {
        Resource::Reply(None)
    }

    #[test]
    fn the_lowest_free_handle_is_used() {
        let mut table = ResourceTable::default();
        for expected in 0..4 {
            assert_eq!(table.insert(resource()), Ok(Handle(expected)));
        }
        assert!(table.remove(Handle(2)).is_ok());
        assert!(table.remove(Handle(1)).is_ok());
        assert_eq!(table.insert(resource()), Ok(Handle(1)));
        assert_eq!(table.insert(resource()), Ok(Handle(2)));
        assert_eq!(table.insert(resource()), Ok(Handle(4)));
    }

    #[test]
    fn unknown_and_closed_handles_are_not_found() {
        let mut table = ResourceTable::default();
        assert_eq!(table.insert(resource()), Ok(Handle(0)));
        assert!(table.remove(Handle(0)).is_ok());
        for handle in [0, 1, -1, i32::MAX, i32::MIN] {
            assert_eq!(table.remove(Handle(handle)).err(), Some(Errno::NOT_FOUND));
            assert_eq!(table.get(Handle(handle)).err(), Some(Errno::NOT_FOUND));
        }
    }

    #[test]
    fn a_full_table_refuses() {
        let mut table = ResourceTable::default();
        for _ in 0..HANDLES_MAX {
            assert!(table.insert(resource()).is_ok());
        }
        assert_eq!(table.check_room(), Err(NoHandle::Full));
        assert_eq!(table.insert(resource()), Err(NoHandle::Full));
        assert!(table.remove(Handle(77)).is_ok());
        assert_eq!(table.insert(resource()), Ok(Handle(77)));
    }

    #[tokio::test]
    async fn handles_and_timers_of_all_instances_count_on_the_quotas_of_the_app() {
        let mut limits = crate::quotas::QuotaLimits::default();
        limits.set(QuotaKind::Handles, Some(5));
        limits.set(QuotaKind::Timers, Some(2));
        let quotas = Arc::new(Quotas::new(&limits, None, 0));
        let mut one = ResourceTable::new(&quotas);
        let mut other = ResourceTable::new(&quotas);
        let timer = || Resource::Timer(Box::pin(tokio::time::sleep(std::time::Duration::MAX)));
        assert!(one.insert(timer()).is_ok() && other.insert(timer()).is_ok());
        assert!(matches!(one.insert(timer()), Err(NoHandle::Quota(_))));
        assert_eq!(quotas.used(QuotaKind::Handles), 2, "nothing was kept");
        assert!(other.remove(Handle(0)).is_ok() && one.insert(timer()).is_ok());
        assert!(one.reserve(3).is_ok());
        assert!(!other.has_room(1) && other.check_room().is_err());
        assert!(other.insert(resource()).is_err());
        for _ in 0..3 {
            assert!(one.insert(resource()).is_ok());
        }
        drop(one);
        assert!(other.reserve(5).is_ok());
        other.release();
        assert_eq!(quotas.used(QuotaKind::Handles), 0);
        assert_eq!(quotas.used(QuotaKind::Timers), 0);
    }
}
