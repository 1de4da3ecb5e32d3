//! A worker that makes reports, for tests of bills.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    dead_code,
    reason = "each binary of tests uses a part of what they share"
)]

use parity_scale_codec::Encode as _;
use wapo_crypto::{ContentType, WorkerKey, merkle};
use wapo_rpc::statement::{
    AppEntry, Bounded, ExportedReport, ProvenEntry, REPORT_VERSION, ReportEntries, UsageReport,
    UsageTotals,
};
use wapo_rpc::{AppAddress, usage_file};

pub(crate) const SHOP: AppAddress = AppAddress([0x11; 32]);
pub(crate) const OTHER: AppAddress = AppAddress([0x22; 32]);

/// A worker that makes reports, as it should or not.
pub(crate) struct Worker {
    pub(crate) key: WorkerKey,
    pub(crate) session: u8,
    pub(crate) made: Vec<(UsageReport, Vec<AppEntry>)>,
}

impl Worker {
    /// Reports on two apps, which use one unit of gas more each time.
    pub(crate) fn usual(count: u64) -> Self {
        let mut worker = Self {
            key: WorkerKey::from_seed([1; 32]),
            session: 1,
            made: Vec::new(),
        };
        for number in 0..count {
            let entries = vec![entry(SHOP, number), entry(OTHER, number)];
            worker.report(entries, |_| {});
        }
        worker
    }

    /// A report on entries, after `change`.
    pub(crate) fn report(&mut self, entries: Vec<AppEntry>, change: impl FnOnce(&mut UsageReport)) {
        let last = self.made.last().map(|(report, _)| *report);
        let session = [self.session; 32];
        let leaves: Vec<_> = entries.iter().map(AppEntry::leaf).collect();
        let from_ms = last.map_or(1_000, |last| last.to_ms);
        let mut report = UsageReport {
            version: REPORT_VERSION,
            worker: self.key.public(),
            session,
            seq: last.map_or(1, |last| last.seq + 1),
            previous: last
                .filter(|last| last.session == session)
                .map_or([0; 32], |last| last.hash()),
            from_ms,
            to_ms: from_ms + 1_000,
            entries: merkle::root(&leaves),
            count: u32::try_from(entries.len()).unwrap(),
        };
        change(&mut report);
        self.made.push((report, entries));
    }

    pub(crate) fn exported(&self, app: Option<AppAddress>) -> Vec<ExportedReport> {
        let exported = self.made.iter().map(|(report, entries)| ExportedReport {
            report: *report,
            signature: self
                .key
                .sign(ContentType::UsageReport, &report.encode(), [7; 32]),
            entries: match app {
                None => ReportEntries::All(Bounded::new(entries.clone()).unwrap()),
                Some(app) => of_one(entries, app),
            },
        });
        exported.collect()
    }

    pub(crate) fn file(&self, app: Option<AppAddress>, reports: &[ExportedReport]) -> String {
        let lines = reports.iter().map(usage_file::line);
        usage_file::header(&self.key.public(), app.as_ref()) + &lines.collect::<String>()
    }

    pub(crate) fn whole(&self) -> String {
        self.file(None, &self.exported(None))
    }
}

pub(crate) fn of_one(entries: &[AppEntry], app: AppAddress) -> ReportEntries {
    let leaves: Vec<_> = entries.iter().map(AppEntry::leaf).collect();
    let own = entries.iter().enumerate();
    let own = own.filter(|(_, one)| one.address == app);
    let proven = own.map(|(index, entry)| ProvenEntry {
        index: u32::try_from(index).unwrap(),
        entry: *entry,
        path: Bounded::new(merkle::paths(&leaves, &[index]).remove(0).unwrap()).unwrap(),
    });
    ReportEntries::OfOne(Bounded::new(proven.collect()).unwrap())
}

pub(crate) fn totals(gas_consumed: u64) -> UsageTotals {
    UsageTotals {
        gas_consumed,
        requests: 2 * gas_consumed,
        ..UsageTotals::default()
    }
}

pub(crate) fn entry(address: AppAddress, number: u64) -> AppEntry {
    AppEntry {
        address,
        deployment: [9; 32],
        serial: u64::from(address.0[0]),
        from_ms: 1_000 * (number + 1),
        before: totals(number),
        totals: totals(number + 1),
        is_final: false,
        salt: [4; 16],
    }
}
