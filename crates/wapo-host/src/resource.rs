//! What a guest's handles stand for, and the table that holds them.
//!
//! A handle is an index into the table of one instance; the lowest free one is
//! given out, as guests expect. What can be done with a resource is decided by
//! its kind in `calls/task.rs`; this module only stores.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;

use tokio::sync::oneshot;
use tokio::time::Sleep;
use wapo_abi::{Errno, HANDLES_MAX};

use crate::instance::Reply;
use crate::intake::InHand;
use crate::net::connect::Connecting;
use crate::net::listener::Listener;
use crate::net::stream::Stream;
use crate::net::udp::Udp;

/// A guest's number for a host resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Handle(pub(crate) i32);

/// A host resource of a guest.
pub(crate) enum Resource {
    /// Fires once; can be set anew.
    Timer(Pin<Box<Sleep>>),
    /// The receiving end of an input channel; the queue is in the state.
    Inbox(wapo_abi::message::InputChannel),
    /// Takes one answer. `None` once it was given.
    Reply(Option<Replier>),
    /// Yields streams.
    Listener(Box<Listener>),
    /// Moves bytes.
    Stream(Box<Stream>),
    /// Becomes a stream.
    Connecting(Connecting),
    /// Moves datagrams.
    Udp(Box<Udp>),
}

/// Where one answer goes.
pub(crate) struct Replier {
    pub(crate) sender: oneshot::Sender<Reply>,
    /// For a question: the guest lets go of it with its answer.
    pub(crate) _in_hand: Option<InHand>,
}

/// All resources of one instance.
#[derive(Default)]
pub(crate) struct ResourceTable {
    entries: Vec<Option<Resource>>,
    free: BinaryHeap<Reverse<usize>>,
}

impl ResourceTable {
    /// Stores a resource under the lowest free handle.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] when [`HANDLES_MAX`] are in use.
    pub(crate) fn insert(&mut self, resource: Resource) -> Result<Handle, Errno> {
        let index = match self.free.pop() {
            Some(Reverse(index)) => index,
            None if self.entries.len() < HANDLES_MAX => {
                self.entries.push(None);
                self.entries.len() - 1
            }
            None => return Err(Errno::RESOURCE_LIMITED),
        };
        self.entries[index] = Some(resource);
        i32::try_from(index)
            .map(Handle)
            .map_err(|_| Errno::RESOURCE_LIMITED)
    }

    /// Whether one more resource fits.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] when it does not.
    pub(crate) fn check_room(&self) -> Result<(), Errno> {
        if self.free.is_empty() && self.entries.len() >= HANDLES_MAX {
            return Err(Errno::RESOURCE_LIMITED);
        }
        Ok(())
    }

    /// Whether so many more resources fit.
    pub(crate) fn has_room(&self, count: usize) -> bool {
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
        Ok(resource)
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
        assert_eq!(table.check_room(), Err(Errno::RESOURCE_LIMITED));
        assert_eq!(table.insert(resource()), Err(Errno::RESOURCE_LIMITED));
        assert!(table.remove(Handle(77)).is_ok());
        assert_eq!(table.insert(resource()), Ok(Handle(77)));
    }
}
