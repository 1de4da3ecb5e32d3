//! Usage: written down every second, and signed for the payer.
//!
//! What the store has is never ahead of what was used and at most a second
//! behind; a statement is written down before it is signed. Reports that form the bill
//! are in `reports`. Called by `server`
//! (the loop) and by `api` (statements).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::time::{Instant, sleep, timeout};

use wapo_rpc::AppAddress;
use wapo_rpc::limits::METRICS_APPS_MAX;

use super::app::App;
use super::books::Disclosure;
use super::chain::Scope;
use super::{Worker, unix_ms};
use crate::limits::{DEPARTED_MAX, USAGE_INTERVAL};
use crate::store::{Change, DepartedRecord, StoreError, Totals, UsageRecord};

/// Added to the serial numbers of removed apps in the cursor of a report. Both
/// together are integers that JavaScript reads exactly.
const REMOVED: u64 = 1 << 52;

/// Usage of one deployment, as a statement tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UsageReading {
    pub(crate) serial: u64,
    pub(crate) address: [u8; 32],
    pub(crate) session: [u8; 32],
    pub(crate) totals: Totals,
    /// What the store should have of the app, unless it is gone.
    pub(super) live: Option<UsageRecord>,
}

impl From<&DepartedRecord> for UsageReading {
    fn from(record: &DepartedRecord) -> Self {
        Self {
            serial: record.serial,
            address: record.address,
            session: record.session,
            totals: record.totals,
            live: None,
        }
    }
}

impl From<&App> for UsageReading {
    fn from(app: &App) -> Self {
        let usage = app.ledger.record(unix_ms());
        Self {
            serial: app.serial,
            address: app.address.0,
            session: app.session,
            totals: usage.totals,
            live: Some(usage),
        }
    }
}

/// The final record of an app that ends.
pub(super) fn departed(app: &App) -> DepartedRecord {
    DepartedRecord {
        serial: app.serial,
        address: app.address.0,
        session: app.session,
        totals: app.ledger.totals(),
    }
}

impl Worker {
    /// Writes down what was used, every second and whenever an instance ended,
    /// and lets go of instances that nobody uses. Runs as long as the worker.
    pub(super) async fn keep_books(self: Arc<Self>) {
        let mut tidied = Instant::now();
        let mut reported = Instant::now();
        loop {
            let woken = timeout(USAGE_INTERVAL, self.usage_changed.notified()).await;
            if tidied.elapsed() >= USAGE_INTERVAL {
                tidied = Instant::now();
                self.tidy_up();
                self.charge_stacks().await;
            }
            // On failure the store has said so; the next round tries again.
            let _ = self.write_usage().await;
            self.write_off_left_over().await;
            let scope = match reported.elapsed() >= self.chain.interval {
                true => Scope::Busy,
                false => Scope::Finals,
            };
            if self.report(scope).await.is_ok() && scope == Scope::Busy {
                reported = Instant::now();
            }
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
        let now_ms = unix_ms();
        let active = self.active.all();
        let read = || {
            let here = active.iter().filter(|app| app.is_in_store());
            here.map(|app| (app.serial, app.ledger.record(now_ms)))
                .collect()
        };
        self.books.write_all(now_ms, self.has_apps(), read).await?;
        let released = self.active.release(&active, |app| {
            let is_written = || {
                self.books
                    .has_written(app.serial, &app.ledger.record(now_ms))
            };
            app.is_in_store() && app.is_quiet() && is_written()
        });
        for app in &released {
            // It may have changed since the last look at it.
            self.changes.stamp(app);
            app.release_code(&self.engine);
        }
        // Clients were told of others, too.
        self.books.keep_only(&self.active.serials());
        Ok(())
    }

    /// Reads what apps have used, those that are named or a page of all, and writes
    /// it down: no client is told more than the store knows. Gives also the number to
    /// go on with, if these were not all.
    ///
    /// # Errors
    ///
    /// As [`write_usage`](Self::write_usage).
    pub(crate) async fn settle(
        &self,
        addresses: &[AppAddress],
        start: u64,
    ) -> Result<(Vec<UsageReading>, Option<u64>), StoreError> {
        let read = || {
            let (readings, next) = match addresses {
                [] => self.readings_from(start, METRICS_APPS_MAX),
                some => (self.readings_of(some), None),
            };
            let live = readings
                .iter()
                .filter_map(|reading| Some((reading.serial, reading.live?)))
                .collect();
            Disclosure {
                live,
                ..Disclosure::without_records((readings, next))
            }
        };
        self.books.disclose(read).await
    }

    /// Moves a withdrawn app, none of whose instances is left, from the books of
    /// those that are here to the books of those that have gone, unless another task
    /// has done that: an equal app may be there already.
    ///
    /// # Errors
    ///
    /// As [`write_usage`](Self::write_usage); it is where it was then.
    pub(super) async fn write_off(&self, app: &App) -> Result<(), StoreError> {
        // The task that changes the app has written that, and finds it withdrawn later.
        let _one_at_a_time = app.writing.lock().await;
        let _moving = self.books.moving().await;
        let mut last_word = None;
        let leave = || {
            let here = self.any_app(&app.address)?;
            if here.serial != app.serial {
                return None;
            }
            // Nobody writes usage of the app after its removal.
            app.is_written.store(false, Ordering::Relaxed);
            let departed = last_word.insert(departed(app));
            Some(vec![
                Change::PutDeparted(departed.clone()),
                Change::RemoveApp {
                    app: app.address,
                    serial: app.serial,
                },
            ])
        };
        if let Err(error) = self.books.take_out(app.serial, leave).await {
            if last_word.is_some() {
                app.is_written.store(true, Ordering::Relaxed);
            }
            return Err(error);
        }
        if let Some(record) = last_word {
            let gone = self.departed.write();
            let mut gone = gone.unwrap_or_else(PoisonError::into_inner);
            gone.insert(record.serial, record);
            // Before a task sees it there, and might forget it without a last entry.
            self.chain.app_has_left();
            drop(gone);
            self.strike(app);
            self.usage_changed.notify_one();
        }
        Ok(())
    }

    /// Tries again where [`write_off`](Self::write_off) has failed.
    async fn write_off_left_over(&self) {
        let take = || self.left_over().pop();
        let mut again = Vec::new();
        while let Some(app) = take() {
            if self.write_off(&app).await.is_err() {
                again.push(app);
            }
        }
        self.left_over().extend(again);
    }

    /// Apps that have left and whose last usage could not be written yet.
    pub(super) fn left_over(&self) -> MutexGuard<'_, Vec<Arc<App>>> {
        // A list is whole between two statements.
        self.left_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Serial numbers of the removed apps.
    pub(super) fn departed_serials(&self) -> Vec<u64> {
        let departed = self.departed.read().unwrap_or_else(PoisonError::into_inner);
        departed.keys().copied().collect()
    }

    /// Forgets removed apps of which the store has nothing any more.
    pub(super) fn drop_departed(&self, gone: &[u64]) {
        let mut departed = self
            .departed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        departed.retain(|serial, _| !gone.contains(serial));
    }

    /// Forgets the oldest of the removed apps, once they are in the bill.
    pub(super) async fn forget_departed(&self, keep: usize) -> Result<(), StoreError> {
        // Held, so that no report that is on its way writes of them once more.
        let mut chain = self.chain.lock().await;
        let gone = self.departed_and_billed(&mut chain, Scope::Finals, keep);
        let gone = gone.await?;
        if gone.is_empty() {
            return Ok(());
        }
        let changes = gone.iter().map(|serial| Change::RemoveDeparted(*serial));
        self.store.commit(changes.collect()).await?;
        self.drop_departed(&gone);
        if let Some(end) = &mut *chain {
            end.billed.retain(|serial, _| !gone.contains(serial));
        }
        Ok(())
    }

    /// The apps that the store has.
    fn written_apps(&self) -> Vec<Arc<App>> {
        let mut apps = self.all_apps();
        apps.retain(|app| app.is_in_store());
        apps
    }

    /// Usage of every app that the bill may be about: those that are here, unless only
    /// the others are asked for, and those that have gone; with serial numbers from `from`
    /// on, in that order.
    pub(super) fn readings_for_report(&self, only_gone: bool, from: u64) -> Vec<UsageReading> {
        let mut readings: Vec<UsageReading> = match only_gone {
            true => Vec::new(),
            false => self
                .written_apps()
                .iter()
                .filter(|app| app.serial >= from)
                .map(|app| UsageReading::from(&**app))
                .collect(),
        };
        let departed = self.departed.read().unwrap_or_else(PoisonError::into_inner);
        let gone = departed.range(from..).map(|(_, record)| record);
        readings.extend(gone.map(UsageReading::from));
        readings.sort_by_key(|reading| reading.serial);
        readings
    }

    /// Usage of the given apps, in that order; unknown ones are left out.
    fn readings_of(&self, addresses: &[AppAddress]) -> Vec<UsageReading> {
        let departed = self.departed.read().unwrap_or_else(PoisonError::into_inner);
        let last_word = |address: &AppAddress| {
            let mut newest_first = departed.values().rev();
            newest_first.find(|record| record.address == address.0)
        };
        let here = |address: &AppAddress| {
            let app = self.any_app(address);
            app.filter(|app| app.is_in_store())
        };
        let read = |address: &AppAddress| match here(address) {
            Some(app) => Some(UsageReading::from(&*app)),
            None => last_word(address).map(UsageReading::from),
        };
        addresses.iter().filter_map(read).collect()
    }

    /// Usage of all apps of the session from `start` on, and where to go on, if
    /// these were not all: first the apps that are here, then those that were
    /// removed, each by serial number. Clients that know no cursor see what runs.
    ///
    /// An app that is removed between two pages is among those that were removed,
    /// so pages are complete, whatever happens in between.
    fn readings_from(&self, start: u64, count: usize) -> (Vec<UsageReading>, Option<u64>) {
        let mut readings = BTreeMap::new();
        if start < REMOVED {
            let apps = self.written_apps();
            let here = apps.iter().filter(|app| app.serial >= start);
            readings.extend(here.map(|app| (app.serial, UsageReading::from(&**app))));
        }
        let first = start.saturating_sub(REMOVED);
        let departed = self.departed.read().unwrap_or_else(PoisonError::into_inner);
        let gone = departed.range(first..).take(count + 1);
        readings.extend(gone.map(|(serial, record)| (REMOVED + serial, record.into())));
        drop(departed);
        let next = readings.keys().nth(count).copied();
        (readings.into_values().take(count).collect(), next)
    }

    /// Keeps the number of removed apps in bounds.
    pub(super) async fn bound_departed(&self) {
        // Tried again at the next removal.
        let _ = self.forget_departed(DEPARTED_MAX).await;
    }
}
