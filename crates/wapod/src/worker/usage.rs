//! Usage: written down every second, and signed for whoever pays.
//!
//! What the store has is never ahead of what was used and at most a second
//! behind; a statement is written down before it is signed. Called by `server`
//! (the loop) and by `api` (statements).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::time::{Instant, sleep, timeout};

use wapo_rpc::AppAddress;

use super::app::App;
use super::{Worker, unix_ms};
use crate::limits::{DEPARTED_MAX, USAGE_INTERVAL};
use crate::store::{Change, DepartedRecord, StoreError, Totals, UsageRecord};

/// Usage of one deployment, as a statement tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reading {
    pub(crate) serial: u64,
    pub(crate) address: [u8; 32],
    pub(crate) session: [u8; 32],
    pub(crate) totals: Totals,
    /// Whether the app is still there.
    is_deployed: bool,
}

impl From<&DepartedRecord> for Reading {
    fn from(record: &DepartedRecord) -> Self {
        Self {
            serial: record.serial,
            address: record.address,
            session: record.session,
            totals: record.totals,
            is_deployed: false,
        }
    }
}

impl From<&App> for Reading {
    fn from(app: &App) -> Self {
        Self {
            serial: app.serial,
            address: app.address.0,
            session: app.session,
            totals: app.ledger.totals(),
            is_deployed: true,
        }
    }
}

impl Worker {
    /// Writes down what was used, every second and whenever an instance ended,
    /// and lets go of instances that nobody uses. Runs as long as the worker.
    pub(super) async fn keep_books(self: Arc<Self>) {
        let mut tidied = Instant::now();
        loop {
            let woken = timeout(USAGE_INTERVAL, self.usage_changed.notified()).await;
            if tidied.elapsed() >= USAGE_INTERVAL {
                tidied = Instant::now();
                self.tidy_up();
            }
            // On failure the store has said so; the next round tries again.
            let _ = self.write_usage().await;
            if woken.is_ok() {
                // Instances may end by thousands in a second.
                sleep(USAGE_INTERVAL / 10).await;
            }
        }
    }

    /// Writes down what was used: apps that did something, and for all others
    /// that time has passed.
    ///
    /// # Errors
    ///
    /// The store cannot be written; what was used is not forgotten.
    pub(crate) async fn write_usage(&self) -> Result<(), StoreError> {
        let mut written = self.usage_written.lock().await;
        let now_ms = unix_ms();
        let mut changes = Vec::new();
        let mut records = BTreeMap::new();
        for app in self.apps() {
            let serial = app.serial;
            let usage = app.ledger.record(now_ms);
            let known = written.get(&serial);
            match known.filter(|known| usage.says_no_more_than(known)) {
                Some(known) => drop(records.insert(serial, *known)),
                None => {
                    records.insert(serial, usage);
                    changes.push(Change::PutUsage { serial, usage });
                }
            }
        }
        if !records.is_empty() {
            changes.push(Change::PutClock(now_ms));
            self.store.commit(changes).await?;
        }
        *written = records;
        Ok(())
    }

    /// Writes down exactly what a statement is going to say.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) async fn write_readings(&self, readings: &[Reading]) -> Result<(), StoreError> {
        let now_ms = unix_ms();
        let here = readings.iter().filter(|reading| reading.is_deployed);
        let changes = here.map(|reading| Change::PutUsage {
            serial: reading.serial,
            usage: UsageRecord {
                totals: reading.totals,
                // What is held now is written with the next entry.
                at_ms: now_ms,
                ..UsageRecord::default()
            },
        });
        let changes: Vec<_> = changes.collect();
        let mut written = self.usage_written.lock().await;
        for reading in readings {
            written.remove(&reading.serial);
        }
        self.store.commit(changes).await
    }

    /// Remembers the last word about an app, as long as the session lasts.
    pub(super) fn remember_departed(&self, record: DepartedRecord) {
        let mut departed = self
            .departed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        departed.insert(record.serial, record);
    }

    /// Forgets removed apps: all of them when a new session begins, else the
    /// oldest beyond the limit.
    pub(super) async fn forget_departed(&self, keep: usize) -> Result<(), StoreError> {
        let gone: Vec<u64> = {
            let departed = self.departed.read().unwrap_or_else(PoisonError::into_inner);
            let surplus = departed.len().saturating_sub(keep);
            departed.keys().copied().take(surplus).collect()
        };
        if gone.is_empty() {
            return Ok(());
        }
        let changes = gone.iter().map(|serial| Change::RemoveDeparted(*serial));
        self.store.commit(changes.collect()).await?;
        let mut departed = self
            .departed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        departed.retain(|serial, _| !gone.contains(serial));
        Ok(())
    }

    /// Usage of the given apps, in that order; unknown ones are left out.
    pub(crate) fn readings_of(&self, addresses: &[AppAddress]) -> Vec<Reading> {
        let departed = self.departed.read().unwrap_or_else(PoisonError::into_inner);
        let last_word = |address: &AppAddress| {
            let mut newest_first = departed.values().rev();
            newest_first.find(|record| record.address == address.0)
        };
        let read = |address: &AppAddress| match self.app(address) {
            Some(app) => Some(Reading::from(&*app)),
            None => last_word(address).map(Reading::from),
        };
        addresses.iter().filter_map(read).collect()
    }

    /// Usage of all apps of the session, removed ones included, by serial number
    /// from `start` on; the number to go on with, if these were not all.
    pub(crate) fn readings_from(&self, start: u64, count: usize) -> (Vec<Reading>, Option<u64>) {
        let departed = self.departed.read().unwrap_or_else(PoisonError::into_inner);
        let gone = departed
            .range(start..)
            .map(|(_, record)| Reading::from(record));
        let mut readings: BTreeMap<u64, Reading> = gone.map(|one| (one.serial, one)).collect();
        drop(departed);
        let apps = self.apps();
        let here = apps.iter().filter(|app| app.serial >= start);
        readings.extend(here.map(|app| (app.serial, Reading::from(&**app))));
        let next = readings.keys().nth(count).copied();
        (readings.into_values().take(count).collect(), next)
    }

    /// Keeps the number of removed apps in bounds.
    pub(super) async fn bound_departed(&self) {
        // Tried again at the next removal.
        let _ = self.forget_departed(DEPARTED_MAX).await;
    }
}
