//! Connections that a guest has accepted, for the drain of its instance.
//!
//! The host does not know the protocol of a guest and its clients, but it sees which
//! side has to write next: a guest that has read something and written nothing since
//! owes an answer, and where bytes moved a moment ago more may follow. Everything
//! else is idle, however long it stays open. Noted by `net/stream` with each
//! transfer, asked through the handle.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use crate::limits::CONNECTION_QUIET;

/// Entries of closed connections that are kept until the list is gone through.
const CLOSED_KEPT_MIN: usize = 32;

/// What moves on one connection: a number of transfers, and in the lowest bit
/// whose turn it is. Written by the instance's task only.
#[derive(Debug, Default)]
pub(crate) struct Activity(AtomicU32);

const GUESTS_TURN: u32 = 1;

impl Activity {
    fn note(&self, turn: u32) {
        let transfers = (self.0.load(Ordering::Relaxed) >> 1).wrapping_add(1);
        self.0.store(transfers << 1 | turn, Ordering::Relaxed);
    }

    /// The guest has read something.
    #[inline]
    pub(crate) fn note_read(&self) {
        self.note(GUESTS_TURN);
    }

    /// The guest has written something.
    #[inline]
    pub(crate) fn note_written(&self) {
        self.note(0);
    }
}

/// The accepted connections of an instance.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    entries: Vec<Seen>,
    /// Length at which entries of closed connections are thrown out.
    full: usize,
}

#[derive(Debug)]
struct Seen {
    activity: Weak<Activity>,
    word: u32,
    since: Instant,
}

impl Connections {
    /// Counts a connection for as long as the value lives.
    pub(crate) fn add(&self) -> Arc<Activity> {
        let activity = Arc::<Activity>::default();
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.entries.len() >= list.full {
            list.entries.retain(|one| one.activity.strong_count() > 0);
            list.full = CLOSED_KEPT_MIN.max(2 * list.entries.len());
        }
        list.entries.push(Seen {
            activity: Arc::downgrade(&activity),
            word: 0,
            since: Instant::now(),
        });
        activity
    }

    /// Connections on which the guest owes an answer.
    pub(crate) fn owed(&self) -> usize {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_owed = |one: &&Seen| {
            let activity = one.activity.upgrade();
            activity.is_some_and(|one| one.0.load(Ordering::Relaxed) & GUESTS_TURN != 0)
        };
        list.entries.iter().filter(is_owed).count()
    }

    /// Connections on which the guest owes an answer, or on which something has
    /// moved within [`CONNECTION_QUIET`], as far as earlier looks can tell.
    pub(crate) fn busy(&self) -> usize {
        let now = Instant::now();
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.entries.retain(|one| one.activity.strong_count() > 0);
        let is_busy = |one: &mut Seen| {
            let Some(activity) = one.activity.upgrade() else {
                return false;
            };
            let word = activity.0.load(Ordering::Relaxed);
            if word != one.word {
                (one.word, one.since) = (word, now);
            }
            word & GUESTS_TURN != 0 || now.duration_since(one.since) < CONNECTION_QUIET
        };
        // Each is looked at: the look is what the next one compares with.
        let busy = list.entries.iter_mut().map(is_busy);
        busy.filter(|is_busy| *is_busy).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guest_that_owes_an_answer_is_busy_and_closed_connections_are_not() {
        let connections = Connections::default();
        let activity = connections.add();
        activity.note_read();
        assert_eq!(connections.busy(), 1);
        tokio::time::sleep(CONNECTION_QUIET + CONNECTION_QUIET / 4).await;
        assert_eq!(connections.busy(), 1, "however long it takes");
        activity.note_written();
        assert_eq!(connections.busy(), 1, "it moved just now");
        tokio::time::sleep(CONNECTION_QUIET + CONNECTION_QUIET / 4).await;
        assert_eq!(connections.busy(), 0);
        activity.note_read();
        assert_eq!(connections.busy(), 1);
        drop(activity);
        assert_eq!(connections.busy(), 0);
    }

    #[test]
    fn the_list_does_not_grow_with_what_was_closed() {
        let connections = Connections::default();
        let kept: Vec<_> = (0..3).map(|_| connections.add()).collect();
        for _ in 0..1000 {
            drop(connections.add());
        }
        let list = connections.0.lock().expect("nobody panics");
        assert!(
            list.entries.len() <= CLOSED_KEPT_MIN,
            "{}",
            list.entries.len()
        );
        assert_eq!(kept.len(), 3);
    }
}
