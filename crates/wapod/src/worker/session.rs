//! The worker's billing period, and the numbers of its readings.
//!
//! Every reading of usage that leaves the worker carries a number that no other
//! reading of the session has, also after a crash: numbers are reserved in the store
//! by the million before the first of them is used. Called by `statements` for
//! reports, and by guests through `embedder`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wapo_abi::message::MetricsToken;
use wapo_rpc::statement::SessionUpdate;

use crate::limits::READINGS_RESERVED;
use crate::store::{Change, SessionRecord, Store, StoreError};

/// The present session.
pub(crate) struct Session {
    store: Arc<Store>,
    /// One record is written at a time, so that none is overwritten by an older
    /// one.
    writing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    record: SessionRecord,
    /// Number of the last reading.
    used: u64,
    /// Whether a task is about to reserve more.
    is_reserving: bool,
}

/// What the store keeps of a session that begins.
pub(crate) fn record_of(update: &SessionUpdate, salt: Vec<u8>) -> SessionRecord {
    SessionRecord {
        id: update.session,
        nonce: update.nonce,
        pnonce: salt,
        recipient: update.recipient.to_vec(),
        reserved: READINGS_RESERVED,
    }
}

impl Session {
    /// Opens the session of the store, or begins the first one.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) async fn open(
        store: Arc<Store>,
        record: Option<SessionRecord>,
    ) -> Result<Self, StoreError> {
        let (used, record) = match record {
            // Nobody knows which of the reserved numbers were used.
            Some(mut record) => {
                let used = record.reserved;
                record.reserved += READINGS_RESERVED;
                (used, record)
            }
            // A new worker has a session, so that a first app can be deployed at
            // once.
            None => {
                let unclaimed = SessionUpdate::unclaimed(rand::random());
                (0, record_of(&unclaimed, Vec::new()))
            }
        };
        store
            .commit(vec![Change::PutSession(record.clone())])
            .await?;
        Ok(Self {
            store,
            writing: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                record,
                used,
                is_reserving: false,
            }),
        })
    }

    /// The session's identifier.
    pub(crate) fn id(&self) -> [u8; 32] {
        self.state().record.id
    }

    /// Replaces the session, and makes the changes that go with that; the next
    /// reading has number 1.
    ///
    /// # Errors
    ///
    /// The store cannot be written; the old session goes on then.
    pub(crate) async fn replace(
        &self,
        record: SessionRecord,
        mut changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        changes.push(Change::PutSession(record.clone()));
        self.store.commit(changes).await?;
        let mut state = self.state();
        state.record = record;
        state.used = 0;
        Ok(())
    }

    /// Numbers a reading, without waiting.
    ///
    /// When the reserve is used up before the disk could confirm a new one, the
    /// number is 0, which no valid reading has.
    pub(crate) fn token(self: &Arc<Self>) -> MetricsToken {
        let mut state = self.state();
        let left = state.record.reserved - state.used;
        if left < READINGS_RESERVED / 2 && !state.is_reserving {
            state.is_reserving = true;
            let session = Arc::clone(self);
            tokio::spawn(async move { session.reserve().await });
        }
        let sn = match left {
            0 => 0,
            _ => {
                state.used += 1;
                state.used
            }
        };
        MetricsToken {
            sn,
            session: state.record.id,
            nonce: rand::random(),
        }
    }

    /// Numbers a reading; waits for the disk when the reserve is used up.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) async fn token_or_wait(self: &Arc<Self>) -> Result<MetricsToken, StoreError> {
        loop {
            let token = self.token();
            if token.sn > 0 {
                return Ok(token);
            }
            self.reserve().await?;
        }
    }

    async fn reserve(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().await;
        let mut record = self.state().record.clone();
        record.reserved += READINGS_RESERVED;
        let written = self.store.commit(vec![Change::PutSession(record.clone())]);
        let outcome = written.await;
        let mut state = self.state();
        state.is_reserving = false;
        // Another session may have begun meanwhile.
        if outcome.is_ok() && state.record.id == record.id {
            state.record.reserved = state.record.reserved.max(record.reserved);
        }
        outcome
    }

    /// Gives back what was reserved and not used, so that an orderly restart
    /// leaves no gap.
    pub(crate) async fn close(&self) {
        let _one_at_a_time = self.writing.lock().await;
        let record = {
            let state = self.state();
            SessionRecord {
                reserved: state.used,
                ..state.record.clone()
            }
        };
        // If this fails there is a gap, which is allowed.
        let _ = self.store.commit(vec![Change::PutSession(record)]).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(path: &std::path::Path) -> Arc<Session> {
        let (store, contents) = Store::open(path).expect("store");
        let session = Session::open(Arc::new(store), contents.session).await;
        Arc::new(session.expect("session"))
    }

    #[tokio::test]
    async fn readings_are_numbered_from_one() {
        let folder = tempfile::tempdir().expect("folder");
        let session = open(&folder.path().join("s")).await;
        let (first, second) = (session.token(), session.token());
        assert_eq!((first.sn, second.sn), (1, 2));
        assert_eq!(first.session, second.session);
        assert_ne!(first.nonce, second.nonce);

        let update = SessionUpdate::new(rand::random(), b"abc", Some([9; 32]));
        let record = record_of(&update.expect("short"), b"abc".to_vec());
        session
            .replace(record.clone(), Vec::new())
            .await
            .expect("replaced");
        let third = session.token();
        assert_eq!((third.sn, third.session), (1, record.id));
    }

    #[tokio::test]
    async fn no_number_is_used_twice_after_a_crash() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("s");
        let session = open(&path).await;
        let id = session.id();
        let last = session.token().sn;
        drop(session);
        let session = open(&path).await;
        assert_eq!(session.id(), id, "the session goes on");
        assert!(session.token().sn > last);
        let last = session.token().sn;
        session.close().await;
        drop(session);
        assert_eq!(open(&path).await.token().sn, last + 1, "no gap in order");
    }

    #[test]
    fn a_session_is_named_by_its_nonces() {
        let update = SessionUpdate::new([7; 32], b"abc", None).expect("short");
        assert_eq!(
            hex::encode(record_of(&update, b"abc".to_vec()).id),
            "7306402106fe948e1a428626d260e2719249fce8cb758533a34df1bf193e4ba0"
        );
    }
}
