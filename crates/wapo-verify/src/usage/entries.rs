//! What each app has used: whether entries are those that were signed, and whether
//! their figures go on where the entry before ended.
//!
//! Called by `usage` with a file whose chain is checked there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use wapo_crypto::merkle;
use wapo_rpc::AppAddress;
use wapo_rpc::statement::{AppEntry, ExportedReport, ReportEntries, UsageTotals};
use wapo_rpc::usage_file::UsageFile;

use crate::verdict::Verdict;

const ENTRIES: &str = "that the figures are those of the signed reports";
const TOTALS: &str =
    "that no part of what an app used is left out in the middle, or is on the bill twice";

/// What one deployment of an app has used, over all reports of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deployment {
    /// Address of the app.
    pub address: AppAddress,
    /// Random number of the deployment.
    pub deployment: [u8; 32],
    /// Number of the deployment on the worker.
    pub serial: u64,
    /// When its first interval began, in milliseconds since 1970.
    pub from_ms: u64,
    /// When its last one ended.
    pub to_ms: u64,
    /// Sums where the file begins; zeros when it begins with the deployment.
    pub before: UsageTotals,
    /// Sums since the deployment.
    pub totals: UsageTotals,
    /// Whether the app has been removed.
    pub is_final: bool,
    /// Entries in the file.
    pub entries: usize,
}

impl Deployment {
    /// What was used in the time of the file.
    pub fn used(&self) -> UsageTotals {
        self.totals.since(&self.before)
    }
}

/// Checks entries, and gives what each deployment has used.
pub(super) fn check(verdict: &mut Verdict, file: &UsageFile) -> Vec<Deployment> {
    let mut count = 0;
    for one in &file.reports {
        match proven(one, file.app.as_ref()) {
            Ok(entries) => count += entries,
            Err(detail) => {
                verdict.failed("usage.entries", detail, ENTRIES);
                return Vec::new();
            }
        }
    }
    verdict.passed(
        "usage.entries",
        format!("{count} entries are those of the reports"),
        ENTRIES,
    );
    let is_whole = file.reports.first().is_some_and(|one| one.report.seq == 1);
    let mut deployments = BTreeMap::new();
    for one in &file.reports {
        for entry in entries(&one.entries) {
            if let Err(detail) = add(&mut deployments, one, entry, is_whole) {
                let detail = format!("report {}: {detail}", one.report.seq);
                verdict.failed("usage.totals", detail, TOTALS);
                return Vec::new();
            }
        }
    }
    let detail = format!(
        "the figures of {} deployments go on from entry to entry",
        deployments.len()
    );
    verdict.passed("usage.totals", detail, TOTALS);
    deployments.into_values().collect()
}

fn entries(entries: &ReportEntries) -> Box<dyn Iterator<Item = &AppEntry> + '_> {
    match entries {
        ReportEntries::All(all) => Box::new(all.iter()),
        ReportEntries::OfOne(some) => Box::new(some.iter().map(|one| &one.entry)),
    }
}

/// Whether entries are those of their report; how many they are.
fn proven(one: &ExportedReport, app: Option<&AppAddress>) -> Result<usize, String> {
    let report = &one.report;
    let seq = report.seq;
    match (&one.entries, app) {
        (ReportEntries::All(all), None) => {
            let leaves: Vec<_> = all.iter().map(AppEntry::leaf).collect();
            let is_count = u32::try_from(all.len()) == Ok(report.count);
            if !is_count || merkle::root(&leaves) != report.entries {
                return Err(format!(
                    "the entries of report {seq} are not those that were signed"
                ));
            }
            Ok(all.len())
        }
        (ReportEntries::OfOne(some), Some(app)) => {
            let mut next = 0;
            for proven in some.iter() {
                let (index, entry) = (proven.index, &proven.entry);
                let root = merkle::root_of_path(entry.leaf(), index, report.count, &proven.path);
                if root != Some(report.entries) {
                    return Err(format!(
                        "entry {index} of report {seq} is not one that was signed"
                    ));
                }
                if entry.address != *app {
                    return Err(format!(
                        "entry {index} of report {seq} is of another app, {}",
                        entry.address
                    ));
                }
                if index < next {
                    return Err(format!("entry {index} of report {seq} is there twice"));
                }
                next = index + 1;
            }
            Ok(some.len())
        }
        _ => Err(format!(
            "report {seq} does not have the entries that the file's first line says"
        )),
    }
}

/// Adds an entry to what is known of its deployment.
fn add(
    deployments: &mut BTreeMap<u64, Deployment>,
    one: &ExportedReport,
    entry: &AppEntry,
    is_whole: bool,
) -> Result<(), String> {
    let app = entry.address;
    if let Some(figure) = entry.totals.shrunk_since(&entry.before) {
        return Err(format!("`{figure}` of the app {app} has become smaller"));
    }
    if entry.from_ms > one.report.to_ms {
        return Err(format!(
            "the interval of the app {app} ends before it begins"
        ));
    }
    let part = Deployment {
        address: app,
        deployment: entry.deployment,
        serial: entry.serial,
        from_ms: entry.from_ms,
        to_ms: one.report.to_ms,
        before: entry.before,
        totals: entry.totals,
        is_final: entry.is_final,
        entries: 1,
    };
    join(deployments, part, is_whole)
}

/// Adds what a later part of a chain says of a deployment. `is_whole` says that the chain
/// begins with the worker's first report.
pub(super) fn join(
    deployments: &mut BTreeMap<u64, Deployment>,
    part: Deployment,
    is_whole: bool,
) -> Result<(), String> {
    let app = part.address;
    match deployments.entry(part.serial) {
        Entry::Vacant(place) => {
            if is_whole && part.before != UsageTotals::default() {
                return Err(format!(
                    "the app {app} does not begin with nothing: an entry was left out"
                ));
            }
            place.insert(part);
        }
        Entry::Occupied(mut place) => {
            let known = place.get_mut();
            if known.address != app || known.deployment != part.deployment {
                return Err(format!("deployment {} is of two apps", part.serial));
            }
            if known.is_final {
                return Err(format!("the app {app} was removed before, and uses more"));
            }
            if known.totals != part.before || known.to_ms != part.from_ms {
                return Err(format!(
                    "the app {app} does not go on where its entry before ended: an entry was left out or changed"
                ));
            }
            known.to_ms = part.to_ms;
            known.totals = part.totals;
            known.is_final = part.is_final;
            known.entries += part.entries;
        }
    }
    Ok(())
}
