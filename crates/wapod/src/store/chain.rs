//! The bill in the store: reports of usage, up to which sums each app was billed, and
//! what is forgotten when there are many.
//!
//! A report, the sums in it and the chain's new end are one change, so a crash leaves
//! all of it or nothing. Called by the thread of `store`; reports are put together by
//! `worker::reports`.

use std::collections::BTreeMap;

use parity_scale_codec::{Decode, Encode};
use redb::{Database, ReadableDatabase as _, ReadableTable, TableDefinition};
use wapo_rpc::statement::{AppEntry, UsageReport, UsageTotals};

use super::error::OpenError;
use super::records::{self, Record};
use super::rows::{WORKER, put, record};
use crate::limits::{EXPORT_BYTES_MAX, REPORTS_BYTES_MAX, REPORTS_MAX};

/// Reports by number.
pub(super) const REPORTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("usage reports");
/// Up to where apps were billed, by serial number.
pub(super) const BILLED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("billed usage");

/// The chain's end.
const CHAIN: &str = "usage chain";
/// Bytes of all reports together.
const REPORT_BYTES: &str = "usage report bytes";

/// A report with everything that it is about.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct ReportRecord {
    pub(crate) report: UsageReport,
    pub(crate) signature: [u8; wapo_crypto::SIGNATURE_BYTES],
    pub(crate) entries: Vec<AppEntry>,
}

/// The newest report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(crate) struct ChainRecord {
    /// Its number; 0 when there was none.
    pub(crate) seq: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) session: [u8; 32],
    pub(crate) to_ms: u64,
}

/// Up to where an app was billed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct BilledRecord {
    pub(crate) totals: UsageTotals,
    pub(crate) at_ms: u64,
    /// Whether that was its last entry.
    pub(crate) is_final: bool,
}

impl ReportRecord {
    /// The chain's newest report when it is this one.
    pub(crate) fn link(&self) -> ChainRecord {
        ChainRecord {
            seq: self.report.seq,
            hash: self.report.hash(),
            session: self.report.session,
            to_ms: self.report.to_ms,
        }
    }

    /// Up to where apps are billed by it, by serial number.
    pub(crate) fn billed(&self) -> impl Iterator<Item = (u64, BilledRecord)> {
        let record = |entry: &AppEntry| BilledRecord {
            totals: entry.totals,
            at_ms: self.report.to_ms,
            is_final: entry.is_final,
        };
        let entries = self.entries.iter();
        entries.map(move |entry| (entry.serial, record(entry)))
    }
}

impl Record for ReportRecord {}
impl Record for ChainRecord {}
impl Record for BilledRecord {}

/// Where the chain goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ChainEnd {
    pub(crate) newest: ChainRecord,
    /// By serial number.
    pub(crate) billed: BTreeMap<u64, BilledRecord>,
}

/// Some reports in a row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ReportPage {
    pub(crate) reports: Vec<ReportRecord>,
    /// The oldest report that there is; 0 for none.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// Makes the chain's tables.
pub(super) fn make_tables(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(REPORTS)?;
    transaction.open_table(BILLED)?;
    Ok(())
}

/// Reads where the chain goes on.
pub(super) fn end(database: &Database) -> Result<ChainEnd, OpenError> {
    let transaction = database.begin_read()?;
    let mut end = ChainEnd::default();
    let worker = transaction.open_table(WORKER)?;
    if let Some(value) = worker.get(CHAIN)? {
        end.newest = record("chain of usage reports", value.value())?;
    }
    // Damage is found at the start, not at the next report.
    report_bytes(&worker)?;
    let reports = transaction.open_table(REPORTS)?;
    let last = reports.last()?.map_or(0, |(seq, _)| seq.value());
    if last != end.newest.seq {
        let reason = "the reports of usage do not end where their chain does";
        return Err(OpenError::Damaged(reason.to_owned()));
    }
    for row in transaction.open_table(BILLED)?.iter()? {
        let (serial, value) = row?;
        let billed = record("billed usage", value.value())?;
        end.billed.insert(serial.value(), billed);
    }
    Ok(end)
}

/// Bytes of all reports together.
fn report_bytes(
    worker: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<u64, redb::Error> {
    let Some(value) = worker.get(REPORT_BYTES)? else {
        return Ok(0);
    };
    // As none, it would let reports grow without a bound.
    let damaged = |_| redb::Error::Corrupted("the size of the usage reports".to_owned());
    records::decode(value.value()).map_err(damaged)
}

/// Reads reports from a number on, as many as fit one answer, but at least one.
pub(super) fn page(database: &Database, from: u64, count: usize) -> Result<ReportPage, OpenError> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(REPORTS)?;
    let number = |row: Option<(redb::AccessGuard<'_, u64>, _)>| row.map_or(0, |row| row.0.value());
    let mut page = ReportPage {
        reports: Vec::new(),
        first_seq: number(table.first()?),
        last_seq: number(table.last()?),
    };
    let mut bytes = 0;
    for row in table.range(from..)?.take(count) {
        let (_, value) = row?;
        bytes += value.value().len() as u64;
        if bytes > EXPORT_BYTES_MAX && !page.reports.is_empty() {
            break;
        }
        page.reports.push(record("usage report", value.value())?);
    }
    Ok(page)
}

/// Writes a report and the chain's new end, and forgets the oldest reports when there
/// are too many.
pub(super) fn append(
    transaction: &redb::WriteTransaction,
    report: &ReportRecord,
) -> Result<(), redb::Error> {
    {
        let mut billed = transaction.open_table(BILLED)?;
        for (serial, record) in report.billed() {
            billed.insert(serial, records::encode(&record).as_slice())?;
        }
    }
    let link = report.link();
    put(transaction, CHAIN, &link)?;
    let kept = report_bytes(&transaction.open_table(WORKER)?)?;
    let value = records::encode(report);
    let mut kept = kept + value.len() as u64;
    {
        let mut reports = transaction.open_table(REPORTS)?;
        reports.insert(link.seq, value.as_slice())?;
        let oldest = link.seq.saturating_sub(REPORTS_MAX);
        loop {
            let first = reports.first()?;
            let Some((seq, bytes)) =
                first.map(|(seq, value)| (seq.value(), value.value().len() as u64))
            else {
                break;
            };
            let is_too_much = seq <= oldest || kept > REPORTS_BYTES_MAX;
            // The newest is the end that the chain has.
            if !is_too_much || seq == link.seq {
                break;
            }
            reports.remove(seq)?;
            kept = kept.saturating_sub(bytes);
        }
    }
    put(transaction, REPORT_BYTES, &kept)
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Store};
    use super::*;

    fn report(seq: u64, entries: usize) -> ReportRecord {
        let entry = AppEntry {
            address: wapo_rpc::AppAddress([1; 32]),
            deployment: [2; 32],
            serial: 7,
            from_ms: 0,
            before: UsageTotals::default(),
            totals: UsageTotals {
                tip: seq,
                ..UsageTotals::default()
            },
            is_final: false,
            salt: [0; 16],
        };
        ReportRecord {
            report: UsageReport {
                version: 1,
                worker: [0; 32],
                session: [3; 32],
                seq,
                previous: [0; 32],
                from_ms: seq,
                to_ms: seq + 1,
                entries: [0; 32],
                count: 1,
            },
            signature: [0; 64],
            entries: vec![entry; entries],
        }
    }

    #[tokio::test]
    async fn a_size_of_reports_that_cannot_be_read_is_damage_and_not_none() {
        let database = Database::builder();
        let database = database.create_with_backend(redb::backends::InMemoryBackend::new());
        let database = database.expect("a database");
        let damage = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            make_tables(&transaction)?;
            append(&transaction, &report(1, 1))?;
            let mut worker = transaction.open_table(WORKER)?;
            worker.insert(REPORT_BYTES, b"damaged".as_slice())?;
            drop(worker);
            assert!(append(&transaction, &report(2, 1)).is_err());
            Ok(transaction.commit()?)
        };
        damage().expect("written");
        assert!(matches!(end(&database), Err(OpenError::Damaged(_))));
    }

    async fn put(store: &Store, record: ReportRecord) {
        let change = vec![Change::PutReport(Box::new(record))];
        store.commit(change).await.expect("written");
    }

    #[tokio::test]
    async fn the_chain_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("state.redb");
        let (store, _) = Store::open(&path).expect("made");
        assert_eq!(store.chain_end().await, Ok(ChainEnd::default()));
        for seq in 1..=3 {
            put(&store, report(seq, 1)).await;
        }
        drop(store);
        let (store, _) = Store::open(&path).expect("opened");
        let end = store.chain_end().await.expect("end");
        assert_eq!((end.newest.seq, end.newest.to_ms), (3, 4));
        assert_eq!(end.newest.hash, report(3, 1).report.hash());
        assert_eq!(end.billed[&7].totals.tip, 3);
        let page = store.reports(2, 1).await.expect("page");
        assert_eq!((page.first_seq, page.last_seq), (1, 3));
        assert_eq!(page.reports, [report(2, 1)]);
        store
            .commit(vec![Change::RemoveDeparted(7)])
            .await
            .expect("forgotten");
        assert!(store.chain_end().await.expect("end").billed.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_reports_are_forgotten_when_there_are_many() {
        let (store, _) = Store::in_memory().expect("store");
        put(&store, report(1, 1)).await;
        put(&store, report(1 + REPORTS_MAX, 1)).await;
        let page = store.reports(0, 9).await.expect("page");
        assert_eq!(
            (page.first_seq, page.last_seq),
            (1 + REPORTS_MAX, 1 + REPORTS_MAX)
        );
        let entries = usize::try_from(REPORTS_BYTES_MAX / 297 + 1).expect("fits");
        put(&store, report(2 + REPORTS_MAX, entries)).await;
        let page = store.reports(0, 9).await.expect("page");
        assert_eq!(page.first_seq, 2 + REPORTS_MAX, "the newest stays");
        put(&store, report(3 + REPORTS_MAX, 1)).await;
        let page = store.reports(0, 9).await.expect("page");
        assert_eq!(page.first_seq, 3 + REPORTS_MAX);
    }
}
