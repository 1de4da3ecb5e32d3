//! What the store has of the usage of apps, and the order in which it gets it.
//!
//! A reading is taken and queued under a lock that is held for no wait, so that
//! nothing older is written after it; the disk is waited for without the lock.
//! A task that waits for the disk, or is not run at all any more, therefore holds
//! nobody up: the last save of a process that has to end goes past them. Used by
//! `usage` and by a replacement.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{RwLock, RwLockReadGuard};

use crate::store::{Change, Store, StoreError, UsageRecord};

/// The books of a worker.
pub(super) struct Books {
    store: Arc<Store>,
    /// Usage of active apps by serial number as the store has it, or will have it when
    /// it has written what is queued.
    written: Mutex<Written>,
    /// Shared by those that take apps from the books of those that are here to the
    /// books of those that have gone: meanwhile an app is in neither.
    moving: RwLock<()>,
}

#[derive(Default)]
struct Written {
    records: Records,
    /// Groups of records that are queued and not confirmed.
    unconfirmed: usize,
}

/// Usage by serial number.
pub(super) type Records = BTreeMap<u64, UsageRecord>;

/// What a client is about to be told, and what has to be written before.
pub(super) struct Disclosure<T> {
    pub(super) value: T,
    /// Usage of the apps in it that are here.
    pub(super) live: Records,
    /// What else belongs to it.
    pub(super) more: Vec<Change>,
}

impl<T> Disclosure<T> {
    /// Something before which nothing has to be written.
    pub(super) fn without_records(value: T) -> Self {
        Self {
            value,
            live: Records::new(),
            more: Vec::new(),
        }
    }
}

impl Books {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            written: Mutex::default(),
            moving: RwLock::new(()),
        }
    }

    /// Writes down what apps have used up to `now_ms`, as `read` gives it: of those that
    /// did something, and for all others, if there are any, that time has passed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; it is written the next time then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether it was written; it is written the
    /// next time.
    pub(super) async fn write_all(
        &self,
        now_ms: u64,
        has_apps: bool,
        read: impl FnOnce() -> Records,
    ) -> Result<(), StoreError> {
        let slot = self.store.slot().await?;
        let (queued, unconfirmed) = {
            let mut written = self.written();
            let mut news = read();
            if !has_apps {
                return Ok(());
            }
            news.retain(|serial, usage| {
                let known = written.records.get(serial);
                !known.is_some_and(|known| usage.says_no_more_than(known))
            });
            let mut changes = puts(&news);
            changes.push(Change::PutClock(now_ms));
            let queued = slot.send(changes);
            (queued, self.unconfirmed(&mut written, news))
        };
        queued.outcome().await?;
        unconfirmed.confirm();
        Ok(())
    }

    /// Writes down what a client is about to be told, as `read` gives it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing may be told then.
    ///
    /// # Cancel safety
    ///
    /// As [`write_all`](Self::write_all).
    pub(super) async fn disclose<T>(
        &self,
        read: impl FnOnce() -> Disclosure<T>,
    ) -> Result<T, StoreError> {
        let slot = self.store.slot().await?;
        let nobody_moves = self.moving.write().await;
        let (value, queued, unconfirmed) = {
            let mut written = self.written();
            let Disclosure { value, live, more } = read();
            if live.is_empty() && more.is_empty() {
                return Ok(value);
            }
            let changes = puts(&live).into_iter().chain(more).collect();
            let queued = slot.send(changes);
            (value, queued, self.unconfirmed(&mut written, live))
        };
        drop(nobody_moves);
        queued.outcome().await?;
        unconfirmed.confirm();
        Ok(value)
    }

    /// The right to take an app out of the books of those that are here. Until it is
    /// given back nobody is told anything.
    pub(super) async fn moving(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().await
    }

    /// Takes an app out of the books of those that are here, with the changes that
    /// `decide` gives; when it gives none, nothing happens. No usage of the app may
    /// be read afterwards.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the app is where it was then.
    pub(super) async fn take_out(
        &self,
        serial: u64,
        decide: impl FnOnce() -> Option<Vec<Change>>,
    ) -> Result<(), StoreError> {
        let slot = self.store.slot().await?;
        let (queued, known) = {
            let mut written = self.written();
            let Some(changes) = decide() else {
                return Ok(());
            };
            (slot.send(changes), written.records.remove(&serial))
        };
        let outcome = queued.outcome().await;
        if let (Err(_), Some(known)) = (&outcome, known) {
            self.written().records.insert(serial, known);
        }
        outcome
    }

    /// What the store has of an app is gone; usage that follows is written anew.
    pub(super) fn forget(&self, serial: u64) {
        self.written().records.remove(&serial);
    }

    /// The same of all apps but some, by their serial numbers.
    pub(super) fn keep_only(&self, kept: &HashSet<u64>) {
        let mut written = self.written();
        written.records.retain(|serial, _| kept.contains(serial));
    }

    /// Whether the store certainly has so much usage of an app.
    pub(super) fn has_written(&self, serial: u64, usage: &UsageRecord) -> bool {
        let written = self.written();
        let known = written.records.get(&serial);
        written.unconfirmed == 0 && known.is_some_and(|known| usage.says_no_more_than(known))
    }

    /// Remembers records that are queued.
    fn unconfirmed(&self, written: &mut Written, records: Records) -> Unconfirmed<'_> {
        written.records.extend(&records);
        written.unconfirmed += 1;
        Unconfirmed {
            books: self,
            records,
        }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        // Nothing in here panics half-way, and what is missing is written again.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn puts(records: &Records) -> Vec<Change> {
    let put = |(serial, usage): (&u64, &UsageRecord)| Change::PutUsage {
        serial: *serial,
        usage: *usage,
    };
    records.iter().map(put).collect()
}

/// Usage that is queued. Unless it is confirmed it counts as not written, which
/// costs at most that it is written again.
struct Unconfirmed<'a> {
    books: &'a Books,
    records: Records,
}

impl Unconfirmed<'_> {
    fn confirm(mut self) {
        self.records.clear();
    }
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        let mut written = self.books.written();
        written.unconfirmed -= 1;
        for (serial, usage) in &self.records {
            if written.records.get(serial) == Some(usage) {
                written.records.remove(serial);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::store::Totals;

    fn usage(gas: u64) -> UsageRecord {
        UsageRecord {
            totals: Totals {
                gas,
                ..Totals::default()
            },
            at_ms: 1,
            ..UsageRecord::default()
        }
    }

    fn records(gas: u64) -> Records {
        Records::from([(7, usage(gas))])
    }

    fn disclosure<T>(value: T, live: Records) -> Disclosure<T> {
        Disclosure {
            live,
            ..Disclosure::without_records(value)
        }
    }

    async fn in_time<T>(future: impl Future<Output = T>) -> T {
        let done = timeout(Duration::from_secs(20), future).await;
        done.expect("nobody holds it up")
    }

    #[tokio::test]
    async fn whoever_waits_for_the_disk_and_is_not_run_any_more_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("state");
        let (store, _) = Store::open(&path).expect("made");
        let books = Books::new(Arc::new(store));
        let mut cx = Context::from_waker(Waker::noop());
        // Each has queued what it writes, and is never looked at again.
        let mut writing = pin!(books.write_all(1, true, || records(1)));
        let mut telling = pin!(books.disclose(|| disclosure((), records(2))));
        let leave = || Some(vec![Change::RemoveDeparted(9)]);
        let mut leaving = pin!(books.take_out(9, leave));
        assert!(writing.as_mut().poll(&mut cx).is_pending());
        assert!(telling.as_mut().poll(&mut cx).is_pending());
        assert!(leaving.as_mut().poll(&mut cx).is_pending());
        in_time(books.write_all(3, true, || records(3)))
            .await
            .expect("written");
        let told = in_time(books.disclose(|| disclosure("told", records(4)))).await;
        assert_eq!(told.expect("written"), "told");
        books.store.close();
        let (_store, contents) = Store::open(&path).expect("opened");
        assert_eq!(contents.usage[&7].gas, 4, "in the order of the readings");
    }

    #[tokio::test]
    async fn what_nobody_confirmed_is_written_again() {
        let (store, _) = Store::in_memory().expect("store");
        let books = Books::new(Arc::new(store));
        in_time(books.write_all(1, true, || records(1)))
            .await
            .expect("written");
        assert_eq!(books.written().records.get(&7), Some(&usage(1)));
        books.store.close();
        let failed = in_time(books.write_all(2, true, || records(2))).await;
        assert!(failed.is_err(), "it is closed");
        assert_eq!(
            books.written().records.get(&7),
            Some(&usage(1)),
            "as it was"
        );
        // The store may be faster than this thread.
        for _ in 0..1000 {
            let (store, _) = Store::in_memory().expect("store");
            let books = Books::new(Arc::new(store));
            let is_pending = {
                let mut writing = pin!(books.write_all(1, true, || records(1)));
                let mut cx = Context::from_waker(Waker::noop());
                let is_pending = writing.as_mut().poll(&mut cx).is_pending();
                assert_ne!(books.has_written(7, &usage(1)), is_pending);
                is_pending
            };
            if is_pending {
                assert_eq!(books.written().records.get(&7), None);
                return;
            }
        }
        panic!("the store was faster a thousand times");
    }
}
