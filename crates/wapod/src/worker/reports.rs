//! The bill: a chain of signed reports of usage.
//!
//! A report is made at an interval, when apps have been removed, before the session
//! changes and at the end of the daemon, about every app that did something since it
//! was last reported. It is in the store, together with the sums that it tells, before
//! it is handed out; a number is never given twice, because after any doubt the chain's
//! end is read from the store again. What a report looks like is in `wapo_rpc`. Called
//! by `usage` (the loop), `statements` (the session) and `api` (exports).

use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep_until};
use wapo_crypto::merkle;
use wapo_rpc::AppAddress;
use wapo_rpc::limits::{EXPORT_REPORTS_MAX, REPORT_ENTRIES_MAX};
use wapo_rpc::message::UsageExportResponse;
use wapo_rpc::statement::{
    AppEntry, Bounded, ExportedReport, ProvenEntry, REPORT_VERSION, ReportEntries, TooLong,
    UsageReport, UsageTotals,
};

use parity_scale_codec::Encode as _;

use super::books::{Disclosure, Records};
use super::chain::{Chain, ChainGuard, Scope};
use super::usage::UsageReading;
use super::{Worker, unix_ms};
use crate::error::AppError;
use crate::limits::{QUIET_REPORT_INTERVAL, REPORT_SPACING};
use crate::store::{BilledRecord, ChainEnd, Change, ReportRecord, StoreError, Totals};

/// Has last entries made the next time, unless it is emptied when they are: also when
/// the task that makes them is dropped meanwhile.
struct Unreported<'a>(Option<&'a Chain>);

impl Drop for Unreported<'_> {
    fn drop(&mut self) {
        self.0.into_iter().for_each(Chain::app_has_left);
    }
}

impl Worker {
    /// Reports what was used since the last report, if anything was.
    ///
    /// # Errors
    ///
    /// The store cannot be written; it is reported the next time then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether the report was made. The chain goes on
    /// behind it if it was.
    pub(super) async fn report(&self, scope: Scope) -> Result<(), StoreError> {
        let mut chain = self.chain.lock().await;
        self.report_under(&mut chain, scope).await
    }

    /// The same for a caller that holds the chain.
    pub(super) async fn report_under(
        &self,
        chain: &mut ChainGuard<'_>,
        scope: Scope,
    ) -> Result<(), StoreError> {
        let are_due = self.chain.finals_due.swap(false, Ordering::Relaxed);
        if scope == Scope::Finals && !are_due {
            return Ok(());
        }
        let mut unreported = Unreported(Some(&self.chain));
        self.report_all_of(chain, scope).await?;
        unreported.0 = None;
        Ok(())
    }

    /// Removed apps but for the `keep` newest, which may be forgotten now: their last
    /// entries are in the bill.
    ///
    /// # Errors
    ///
    /// As [`report`](Self::report).
    pub(super) async fn departed_and_billed(
        &self,
        chain: &mut ChainGuard<'_>,
        scope: Scope,
        keep: usize,
    ) -> Result<Vec<u64>, StoreError> {
        // Read before: who leaves meanwhile is in no report yet.
        let mut gone = self.departed_serials();
        gone.truncate(gone.len().saturating_sub(keep));
        if !gone.is_empty() || scope != Scope::Finals {
            self.report_under(chain, scope).await?;
        }
        Ok(gone)
    }

    /// Makes as many reports as it takes. Each app is in one of them: what it uses while
    /// they are made is in the next ones, which would otherwise have no end.
    async fn report_all_of(
        &self,
        chain: &mut ChainGuard<'_>,
        scope: Scope,
    ) -> Result<(), StoreError> {
        let mut from = 0;
        loop {
            let mut end = match chain.take() {
                Some(end) => end,
                None => self.store.chain_end().await?,
            };
            // Gone until the store has told what became of it.
            let told = self.books.disclose(|| self.next_report(&end, scope, from));
            let Some(record) = told.await? else {
                **chain = Some(end);
                return Ok(());
            };
            let is_full = record.entries.len() == REPORT_ENTRIES_MAX;
            from = record.entries.last().map_or(from, |last| last.serial + 1);
            end.newest = record.link();
            end.billed.extend(record.billed());
            **chain = Some(end);
            if !is_full {
                return Ok(());
            }
        }
    }

    /// Puts the next report together, of apps with serial numbers from `from` on; `None`
    /// when there is nothing to say.
    fn next_report(
        &self,
        end: &ChainEnd,
        scope: Scope,
        from: u64,
    ) -> Disclosure<Option<Box<ReportRecord>>> {
        let newest = &end.newest;
        let from_ms = match newest.seq {
            0 => self.chain.begun_ms,
            _ => newest.to_ms,
        };
        let to_ms = unix_ms().max(from_ms);
        let due: Vec<_> = self
            .readings_for_report(scope == Scope::Finals, from)
            .into_iter()
            .filter_map(|reading| {
                let before = end.billed.get(&reading.serial);
                let entry = entry(&reading, before, from_ms, to_ms, scope)?;
                Some((entry, reading))
            })
            .take(REPORT_ENTRIES_MAX)
            .collect();
        if due.is_empty() {
            return Disclosure::without_records(None);
        }
        let live = due
            .iter()
            .filter_map(|(_, reading)| Some((reading.serial, reading.live?)));
        let live: Records = live.collect();
        let entries: Vec<AppEntry> = due.iter().map(|(entry, _)| *entry).collect();
        let leaves: Vec<_> = entries.iter().map(AppEntry::leaf).collect();
        let session = self.session.id();
        let report = UsageReport {
            version: REPORT_VERSION,
            worker: self.identity.public_key(),
            session,
            seq: newest.seq + 1,
            previous: match newest.session == session {
                true => newest.hash,
                false => [0; 32],
            },
            from_ms,
            to_ms,
            entries: merkle::root(&leaves),
            count: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        };
        let record = Box::new(ReportRecord {
            report,
            signature: self.identity.sign_statement(&report),
            entries,
        });
        Disclosure {
            live,
            more: vec![Change::PutReport(record.clone())],
            value: Some(record),
        }
    }

    /// The bill from a number on: entries of all apps, or of one with proofs.
    ///
    /// # Errors
    ///
    /// [`AppError`] when the store cannot be read or written.
    pub(crate) async fn export_usage(
        &self,
        from_seq: u64,
        app: Option<AppAddress>,
        max: u32,
        settle: bool,
    ) -> Result<UsageExportResponse, AppError> {
        if settle {
            self.settle_for_export().await?;
        } else {
            self.report(Scope::Finals).await?;
        }
        let count = match max {
            0 => EXPORT_REPORTS_MAX,
            max => {
                usize::try_from(max).map_or(EXPORT_REPORTS_MAX, |max| max.min(EXPORT_REPORTS_MAX))
            }
        };
        let page = self.store.reports(from_seq, count).await?;
        let last = page.reports.last().map_or(0, |one| one.report.seq);
        let encoded = page.reports.into_iter().map(|record| {
            let exported = exported(record, app.as_ref())?;
            Ok(exported.encode())
        });
        let reports: Result<_, TooLong> = encoded.collect();
        Ok(UsageExportResponse {
            reports: reports.map_err(|error| AppError::Refused(error.to_string()))?,
            first_seq: page.first_seq,
            last_seq: page.last_seq,
            next_seq: match (1..page.last_seq).contains(&last) {
                true => last + 1,
                false => 0,
            },
            pubkey: self.identity.public_key().to_vec(),
        })
    }

    /// Reports everything, but not more often than may be.
    async fn settle_for_export(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut settled = self.chain.settled.lock().await;
        match *settled {
            // Another task had it done meanwhile.
            Some(at) if at > asked => return Ok(()),
            Some(at) => sleep_until(at + REPORT_SPACING).await,
            None => {}
        }
        let begun = Instant::now();
        self.report(Scope::All).await?;
        *settled = Some(begun);
        Ok(())
    }
}

/// What is said of an app, if it is its turn.
fn entry(
    reading: &UsageReading,
    billed: Option<&BilledRecord>,
    from_ms: u64,
    to_ms: u64,
    scope: Scope,
) -> Option<AppEntry> {
    let totals = totals(&reading.totals);
    let is_final = reading.live.is_none();
    let before = billed.map_or_else(UsageTotals::default, |billed| billed.totals);
    let is_due = match billed {
        Some(billed) if billed.is_final => false,
        _ if is_final => true,
        None => true,
        Some(billed) => {
            let held_ms = to_ms.saturating_sub(billed.at_ms);
            let is_quiet = without_time(&totals) == without_time(&before);
            let may_wait = scope == Scope::Busy
                && is_quiet
                && u128::from(held_ms) < QUIET_REPORT_INTERVAL.as_millis();
            totals != before && !may_wait
        }
    };
    is_due.then(|| AppEntry {
        address: AppAddress(reading.address),
        deployment: reading.session,
        serial: reading.serial,
        from_ms: billed.map_or(from_ms, |billed| billed.at_ms),
        before,
        totals,
        is_final,
        salt: rand::random(),
    })
}

/// Figures but those that grow by themselves.
fn without_time(totals: &UsageTotals) -> UsageTotals {
    UsageTotals {
        running_time_ms: 0,
        memory_used: 0,
        storage_used: 0,
        ..*totals
    }
}

/// Sums in the units of statements; remainders stay in the ledger.
pub(super) fn totals(totals: &Totals) -> UsageTotals {
    UsageTotals {
        running_time_ms: totals.running_ms(),
        gas_consumed: totals.gas,
        network_ingress: totals.network_ingress_bytes,
        network_egress: totals.network_egress_bytes,
        storage_read: totals.storage_read_bytes,
        storage_write: totals.storage_write_bytes,
        storage_used: totals.storage_mib_seconds(),
        memory_used: totals.memory_mib_seconds(),
        tip: totals.tip,
        starts: totals.starts,
        requests: totals.requests,
    }
}

/// A report as it is handed out: of one app with proofs, so that its customer sees
/// nobody else.
fn exported(record: ReportRecord, app: Option<&AppAddress>) -> Result<ExportedReport, TooLong> {
    let entries = match app {
        None => ReportEntries::All(Bounded::new(record.entries)?),
        Some(app) => {
            let entries = record.entries.iter().enumerate();
            let own = entries.filter(|(_, entry)| entry.address == *app);
            let (places, own): (Vec<_>, Vec<&AppEntry>) = own.unzip();
            // Most reports have nothing of one app.
            let leaves: Vec<_> = match own.is_empty() {
                true => Vec::new(),
                false => record.entries.iter().map(AppEntry::leaf).collect(),
            };
            let paths = merkle::paths(&leaves, &places);
            let all = places.iter().zip(own).zip(paths);
            let proven = all.map(|((place, entry), path)| {
                Ok(ProvenEntry {
                    index: u32::try_from(*place).unwrap_or(u32::MAX),
                    entry: *entry,
                    path: Bounded::new(path.unwrap_or_default())?,
                })
            });
            ReportEntries::OfOne(Bounded::new(proven.collect::<Result<_, TooLong>>()?)?)
        }
    };
    Ok(ExportedReport {
        report: record.report,
        signature: record.signature,
        entries,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use wapo_rpc::message::InitArgs;

    use super::*;
    use crate::store::UsageRecord;
    use crate::worker::testing::{add_app, departed, worker};

    fn reading(totals: Totals, is_here: bool) -> UsageReading {
        UsageReading {
            serial: 3,
            address: [1; 32],
            session: [2; 32],
            totals,
            live: is_here.then(UsageRecord::default),
        }
    }

    #[tokio::test]
    async fn removed_apps_are_forgotten_with_all_that_was_billed_once_they_are_in_the_bill() {
        let worker = worker(1..=3).await;
        worker.forget_departed(1).await.expect("written");
        let page = worker.store.reports(0, 9).await.expect("read");
        let entries = page.reports[0].entries.iter();
        let serials: Vec<_> = entries.map(|entry| entry.serial).collect();
        assert_eq!((page.reports.len(), serials), (1, vec![1, 2, 3]));
        assert_eq!(worker.departed_serials(), [3]);
        let stored = worker.store.chain_end().await.expect("read");
        let known = worker.chain.lock().await.clone();
        assert_eq!(stored.billed.keys().copied().collect::<Vec<_>>(), [3]);
        assert_eq!(known, Some(stored));
    }

    #[tokio::test]
    async fn each_of_many_apps_is_in_the_reports_once_though_its_usage_grows_meanwhile() {
        let count = 2 * REPORT_ENTRIES_MAX as u64 + 1;
        let worker = worker(1..=1).await;
        (2..2 + count).for_each(|serial| drop(add_app(&worker, serial)));
        let reporting = worker.report(Scope::All);
        let reported = tokio::time::timeout(Duration::from_secs(60), reporting).await;
        reported.expect("an end").expect("written");
        let mut serials = Vec::new();
        for seq in 1..=3 {
            let page = worker.store.reports(seq, 1).await.expect("read");
            assert_eq!(page.last_seq, 3);
            serials.extend(page.reports[0].entries.iter().map(|entry| entry.serial));
        }
        assert!(
            serials.iter().copied().eq(1..2 + count),
            "{}",
            serials.len()
        );
    }

    #[tokio::test]
    async fn an_app_that_leaves_behind_the_last_report_of_a_session_is_in_the_next_one() {
        let (worker, beginning) = loop {
            let worker = worker(1..=1).await;
            let starts = Arc::clone(&worker);
            let mut beginning = Box::pin(async move { starts.init(InitArgs::default()).await });
            // The report is put together, and on its way to the disk; a disk that is done
            // with it already leaves nothing to see.
            if beginning.as_mut().now_or_never().is_none() {
                break (worker, beginning);
            }
        };
        let gone = worker.departed.write();
        gone.expect("whole").insert(2, departed(2));
        worker.chain.app_has_left();
        beginning.await.expect("a session");
        assert_eq!(worker.departed_serials(), [2]);
        worker.report(Scope::Finals).await.expect("written");
        let page = worker.store.reports(0, 9).await.expect("read");
        let entries = page.reports.iter().flat_map(|report| &report.entries);
        let serials: Vec<_> = entries.map(|entry| entry.serial).collect();
        assert_eq!(serials, [1, 2]);
    }

    #[tokio::test]
    async fn last_entries_are_made_the_next_time_when_whoever_makes_them_is_dropped() {
        let worker = worker(1..=1).await;
        let moving = worker.books.moving().await;
        let mut dropped = Box::pin(worker.report(Scope::Finals));
        assert!(dropped.as_mut().now_or_never().is_none(), "it waits");
        drop(dropped);
        drop(moving);
        worker.report(Scope::Finals).await.expect("written");
        assert_eq!(worker.store.chain_end().await.expect("read").newest.seq, 1);
    }

    #[test]
    fn an_app_that_only_holds_something_is_reported_now_and_then() {
        let held = Totals {
            running_us: 5_000,
            ..Totals::default()
        };
        let quiet_ms = u64::try_from(QUIET_REPORT_INTERVAL.as_millis()).expect("fits");
        let billed = BilledRecord {
            totals: UsageTotals::default(),
            at_ms: 10,
            is_final: false,
        };
        let at = |to_ms, scope| entry(&reading(held, true), Some(&billed), 7, to_ms, scope);
        assert_eq!(at(9 + quiet_ms, Scope::Busy), None);
        let later = at(10 + quiet_ms, Scope::Busy).expect("its turn");
        assert_eq!((later.from_ms, later.totals.running_time_ms), (10, 5));
        assert!(at(11, Scope::All).is_some());
        let worked = Totals { gas: 1, ..held };
        let busy = entry(&reading(worked, true), Some(&billed), 7, 11, Scope::Busy);
        assert_eq!(busy.expect("it did something").before, billed.totals);
    }

    #[test]
    fn the_last_word_about_an_app_comes_once() {
        let billed = |is_final| BilledRecord {
            totals: UsageTotals::default(),
            at_ms: 10,
            is_final,
        };
        let gone = reading(Totals::default(), false);
        let last = entry(&gone, Some(&billed(false)), 7, 11, Scope::Finals);
        assert!(last.expect("due").is_final);
        assert_eq!(entry(&gone, Some(&billed(true)), 7, 11, Scope::All), None);
        let first = entry(&gone, None, 7, 11, Scope::Finals).expect("due");
        assert_eq!((first.from_ms, first.before), (7, UsageTotals::default()));
    }
}
