//! Row `trust-usage`: what the bill costs. One report on a thousand apps, from the call
//! that asks for it to the answer, so with signing, hashing and the write to the disk;
//! and the check of a file of ten thousand reports.

use std::time::Instant;

use anyhow::{Context as _, Result};
use parity_scale_codec::Encode as _;
use wapo_crypto::{ContentType, WorkerKey, merkle};
use wapo_rpc::statement::{
    AppEntry, Bounded, ExportedReport, REPORT_VERSION, ReportEntries, UsageReport, UsageTotals,
};
use wapo_rpc::{AppAddress, usage_file};
use wapo_verify::usage::{self, Expected};

use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

const ROW: &str = "trust-usage";
/// Apps of the report.
const APPS: usize = 1_000;
/// Reports of the file.
const REPORTS: u64 = 10_000;
/// Apps in each of them.
const APPS_OF_REPORT: u8 = 3;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let apps = if plan.smoke { 10 } else { APPS };
    let mut daemon = Server::start("daemon")?;
    let us: f64 = daemon.ask_one(&format!("usage {apps}"))?.parse()?;
    report.add(Line {
        row: ROW,
        what: format!("a signed report of the usage of {apps} apps, on the disk"),
        beside: String::new(),
        ours: format!("{} ms", number(us / 1e3)),
        value: us / 1e3,
        unit: "ms",
        goal: Goal::AtMost(30.0),
    });
    let reports = if plan.smoke { 100 } else { REPORTS };
    let file = bill(reports)?;
    let mut times = Vec::new();
    for _ in 0..plan.rounds {
        let begun = Instant::now();
        let (verdict, bill) = usage::check(file.as_bytes(), &Expected::default());
        times.push(begun.elapsed().as_secs_f64());
        bill.with_context(|| format!("a bill that does not verify: {verdict:?}"))?;
    }
    let seconds = median(&times);
    report.add(Line {
        row: ROW,
        what: format!("check of a bill of {reports} reports on {APPS_OF_REPORT} apps each"),
        beside: String::new(),
        ours: format!("{} s", number(seconds)),
        value: seconds,
        unit: "s",
        goal: Goal::AtMost(1.0),
    });
    Ok(())
}

/// A file as a worker's would be.
fn bill(reports: u64) -> Result<String> {
    let key = WorkerKey::from_seed([1; 32]);
    let mut file = usage_file::header(&key.public(), None);
    let mut previous = [0; 32];
    for number in 0..reports {
        let entries: Vec<_> = (1..=APPS_OF_REPORT).map(|app| entry(app, number)).collect();
        let leaves: Vec<_> = entries.iter().map(AppEntry::leaf).collect();
        let report = UsageReport {
            version: REPORT_VERSION,
            worker: key.public(),
            session: [2; 32],
            seq: number + 1,
            previous,
            from_ms: number,
            to_ms: number + 1,
            entries: merkle::root(&leaves),
            count: u32::from(APPS_OF_REPORT),
        };
        previous = report.hash();
        file += &usage_file::line(&ExportedReport {
            report,
            signature: key.sign(ContentType::UsageReport, &report.encode(), [3; 32]),
            entries: ReportEntries::All(Bounded::new(entries)?),
        });
    }
    Ok(file)
}

fn entry(app: u8, number: u64) -> AppEntry {
    let totals = |gas_consumed| UsageTotals {
        gas_consumed,
        ..UsageTotals::default()
    };
    AppEntry {
        address: AppAddress([app; 32]),
        deployment: [app; 32],
        serial: u64::from(app),
        from_ms: number,
        before: totals(number),
        totals: totals(number + 1),
        is_final: false,
        salt: [4; 16],
    }
}
