//! Settled usage, the bill: whether a file of reports is a chain that one worker has
//! signed, and what it says.
//!
//! Bytes of a file ([`wapo_rpc::usage_file`]) in, checks and figures out; called by
//! `wapo verify usage` and `wapo usage show`. That a figure is right rests on the
//! worker, whose evidence is another matter ([`crate::worker`]); this module finds out
//! whether figures were changed, left out or put in another order since.

mod entries;

use std::collections::BTreeMap;

use wapo_crypto::ContentType;
use wapo_rpc::AppAddress;
use wapo_rpc::hexbytes::to_hex;
use wapo_rpc::statement::{ExportedReport, REPORT_VERSION, UsageReport};
use wapo_rpc::usage_file::{self, UsageFile};

use parity_scale_codec::Encode as _;

use crate::verdict::Verdict;
pub use entries::Deployment;

/// Signatures that are checked at a time.
///
/// More together are hardly quicker, and one that is bad has to be looked for among
/// as many.
const SIGNATURES_AT_ONCE: usize = 1024;

/// What a verifier knows besides the file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Expected {
    /// Whose reports these have to be.
    pub worker: Option<[u8; 32]>,
    /// Which app the bill has to be about.
    pub app: Option<AppAddress>,
    /// A report that is known, and that the file has to go on from: its number and
    /// hash.
    pub after: Option<(u64, [u8; 32])>,
    /// A number that the file has to reach.
    pub last_seq: Option<u64>,
    /// A time that the file has to reach, in milliseconds since 1970.
    pub until_ms: Option<u64>,
}

/// What a file says when every check has passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bill {
    /// The worker's public key.
    pub worker: [u8; 32],
    /// The app, when it is about one.
    pub app: Option<AppAddress>,
    /// The first report.
    pub first: UsageReport,
    /// The last report: with its number and hash the next file is checked.
    pub last: UsageReport,
    /// Reports.
    pub reports: usize,
    /// Sessions of the worker.
    pub sessions: usize,
    /// What each deployment has used, by its number.
    pub deployments: Vec<Deployment>,
}

impl Bill {
    /// Goes on with the next part of the same chain, which was checked by itself. Then
    /// this is as if both had been checked as one file.
    ///
    /// # Errors
    ///
    /// What does not fit at the seam. This bill is then of no more use.
    pub fn join(&mut self, next: Self) -> Result<(), String> {
        if (next.worker, next.app) != (self.worker, self.app) {
            return Err("the parts are of two workers, or about two apps".to_owned());
        }
        follows(&self.last, &next.first)?;
        let is_whole = self.first.seq == 1;
        let known = std::mem::take(&mut self.deployments);
        let mut known: BTreeMap<_, _> = known.into_iter().map(|one| (one.serial, one)).collect();
        for part in next.deployments {
            entries::join(&mut known, part, is_whole)?;
        }
        self.deployments = known.into_values().collect();
        let is_same_session = self.last.session == next.first.session;
        self.sessions += next.sessions - usize::from(is_same_session);
        self.reports += next.reports;
        self.last = next.last;
        Ok(())
    }
}

/// Checks a file. There are figures only when no check has failed.
pub fn check(file: &[u8], expected: &Expected) -> (Verdict, Option<Bill>) {
    match usage_file::read(file) {
        Ok(file) => check_read(&file, expected),
        Err(error) => {
            let mut verdict = Verdict::default();
            verdict.failed("usage.file", error.to_string(), FILE);
            (verdict, None)
        }
    }
}

/// The same for a file that was read before.
pub fn check_read(file: &UsageFile, expected: &Expected) -> (Verdict, Option<Bill>) {
    let mut verdict = Verdict::default();
    let (Some(first), Some(last)) = (file.reports.first(), file.reports.last()) else {
        verdict.failed("usage.file", "there is no report in it", FILE);
        return (verdict, None);
    };
    let detail = format!("{} reports can be read", file.reports.len());
    verdict.passed("usage.file", detail, FILE);
    worker(&mut verdict, file, expected.worker);
    app(&mut verdict, file, expected.app);
    signatures(&mut verdict, file);
    let sessions = chain(&mut verdict, &file.reports);
    begin(&mut verdict, &first.report, expected.after);
    end(&mut verdict, &last.report, expected);
    let deployments = entries::check(&mut verdict, file);
    let bill = verdict.is_good().then_some(Bill {
        worker: file.worker,
        app: file.app,
        first: first.report,
        last: last.report,
        reports: file.reports.len(),
        sessions,
        deployments,
    });
    (verdict, bill)
}

const FILE: &str =
    "that the file is a bill as this version knows it, written in the one way there is";
const WORKER: &str = "whose bill it is; that this worker tells the truth is shown by its evidence";
const APP: &str = "which app the figures are about";
const SIGNATURES: &str = "that the holder of the worker's key has signed every report";
const CHAIN: &str = "that between the first and the last report none is missing, changed or moved";
const BEGIN: &str = "whether something came before the first report";
const END: &str =
    "whether something came after the last report: a chain does not show that it was cut off";

fn worker(verdict: &mut Verdict, file: &UsageFile, expected: Option<[u8; 32]>) {
    let key = to_hex(file.worker);
    let other = file
        .reports
        .iter()
        .find(|one| one.report.worker != file.worker);
    match (other, expected) {
        (Some(other), _) => {
            let (seq, signer) = (other.report.seq, to_hex(other.report.worker));
            let detail = format!("report {seq} is of the worker {signer}, and the file of {key}");
            verdict.failed("usage.worker", detail, WORKER);
        }
        (None, Some(expected)) if expected != file.worker => {
            let detail = format!(
                "the file is of the worker {key}, not of {}",
                to_hex(expected)
            );
            verdict.failed("usage.worker", detail, WORKER);
        }
        (None, Some(_)) => verdict.passed("usage.worker", format!("the worker is {key}"), WORKER),
        (None, None) => {
            let detail = format!(
                "the worker is {key}, as the file says: give its key or its evidence to know whether that is yours"
            );
            verdict.noted("usage.worker", detail, WORKER);
        }
    }
}

fn app(verdict: &mut Verdict, file: &UsageFile, expected: Option<AppAddress>) {
    match (expected, file.app) {
        (None, Some(app)) => {
            verdict.noted("usage.app", format!("the file is about the app {app}"), APP)
        }
        (None, None) => verdict.noted("usage.app", "the file is about all apps", APP),
        (Some(expected), Some(app)) if expected != app => {
            let detail = format!("the file is about the app {app}, not about {expected}");
            verdict.failed("usage.app", detail, APP);
        }
        (Some(expected), _) => {
            let detail = format!("the file has what the app {expected} used");
            verdict.passed("usage.app", detail, APP);
        }
    }
}

fn signatures(verdict: &mut Verdict, file: &UsageFile) {
    let messages: Vec<Vec<u8>> = file.reports.iter().map(|one| one.report.encode()).collect();
    let signatures = file.reports.iter().map(|one| one.signature);
    let signed: Vec<_> = messages.iter().map(Vec::as_slice).zip(signatures).collect();
    let purpose = ContentType::UsageReport;
    let is_good = |part: &&[_]| wapo_crypto::verify_all(&file.worker, purpose, part);
    if signed.chunks(SIGNATURES_AT_ONCE).all(|part| is_good(&part)) {
        let detail = format!("{} signatures are good", signed.len());
        return verdict.passed("usage.signatures", detail, SIGNATURES);
    }
    let is_bad = |(message, signature): &(&[u8], [u8; 64])| {
        !wapo_crypto::verify(&file.worker, purpose, message, signature)
    };
    let bad = signed
        .iter()
        .position(is_bad)
        .and_then(|at| file.reports.get(at));
    let seq = bad.map_or_else(
        || "some report".to_owned(),
        |one| format!("report {}", one.report.seq),
    );
    let detail = format!(
        "the signature of {seq} is not one of {}",
        to_hex(file.worker)
    );
    verdict.failed("usage.signatures", detail, SIGNATURES);
}

/// Checks that each report follows the one before, and counts the sessions.
fn chain(verdict: &mut Verdict, reports: &[ExportedReport]) -> usize {
    let mut sessions = 1;
    for one in reports {
        if let Err(detail) = alone(&one.report) {
            verdict.failed("usage.chain", detail, CHAIN);
            return sessions;
        }
    }
    for pair in reports.windows(2) {
        let [before, after] = pair else { continue };
        if before.report.session != after.report.session {
            sessions += 1;
        }
        if let Err(detail) = follows(&before.report, &after.report) {
            verdict.failed("usage.chain", detail, CHAIN);
            return sessions;
        }
    }
    let numbers = reports.first().zip(reports.last());
    let (first, last) = numbers.map_or((0, 0), |(first, last)| (first.report.seq, last.report.seq));
    let sessions_text = match sessions {
        1 => "one session".to_owned(),
        several => format!("{several} sessions"),
    };
    let detail = format!("reports {first} to {last} follow each other, in {sessions_text}");
    verdict.passed("usage.chain", detail, CHAIN);
    sessions
}

fn alone(report: &UsageReport) -> Result<(), String> {
    let UsageReport { seq, version, .. } = report;
    if *version != REPORT_VERSION {
        return Err(format!(
            "report {seq} has version {version}, which is not known here"
        ));
    }
    if *seq == 0 {
        return Err("a report has number 0, and the first has 1".to_owned());
    }
    if report.to_ms < report.from_ms {
        return Err(format!("report {seq} ends before it begins"));
    }
    if *seq == 1 && report.previous != [0; 32] {
        return Err("report 1 names one before it".to_owned());
    }
    Ok(())
}

fn follows(before: &UsageReport, after: &UsageReport) -> Result<(), String> {
    let (seq, last) = (after.seq, before.seq);
    if seq <= last {
        return Err(format!(
            "report {seq} stands behind report {last}: they are not in order"
        ));
    }
    match seq - last {
        1 => {}
        2 => return Err(format!("report {} is missing", last + 1)),
        _ => return Err(format!("reports {} to {} are missing", last + 1, seq - 1)),
    }
    let is_same = before.session == after.session;
    match (is_same, after.previous) {
        (true, previous) if previous == before.hash() => {}
        (false, previous) if previous == [0; 32] => {}
        (true, [0, ..]) if after.previous == [0; 32] => {
            return Err(format!(
                "report {seq} begins a chain in the middle of a session"
            ));
        }
        _ => {
            return Err(format!(
                "report {seq} follows another report {last} than the one in the file: one of them was rewritten"
            ));
        }
    }
    if after.from_ms != before.to_ms {
        return Err(format!(
            "report {seq} does not begin when report {last} ends"
        ));
    }
    Ok(())
}

fn begin(verdict: &mut Verdict, first: &UsageReport, after: Option<(u64, [u8; 32])>) {
    match after {
        Some((seq, hash)) => {
            let is_next = first.seq == seq.saturating_add(1)
                && (first.previous == hash || first.previous == [0; 32]);
            let first = first.seq;
            if is_next {
                let detail = format!("report {first} follows report {seq}, which is known");
                verdict.passed("usage.begin", detail, BEGIN);
            } else {
                let detail = format!("report {first} does not follow report {seq} as it is known");
                verdict.failed("usage.begin", detail, BEGIN);
            }
        }
        None if first.seq == 1 => {
            verdict.passed(
                "usage.begin",
                "the file begins with the worker's first report",
                BEGIN,
            );
        }
        None => {
            let detail = format!(
                "the file begins with report {}: what came before is not in it",
                first.seq
            );
            verdict.noted("usage.begin", detail, BEGIN);
        }
    }
}

fn end(verdict: &mut Verdict, last: &UsageReport, expected: &Expected) {
    let UsageReport { seq, to_ms, .. } = last;
    let mut is_asked = false;
    if let Some(wanted) = expected.last_seq {
        is_asked = true;
        if *seq < wanted {
            let detail =
                format!("the file ends with report {seq}, before report {wanted}: it was cut off");
            return verdict.failed("usage.end", detail, END);
        }
    }
    if let Some(wanted) = expected.until_ms {
        is_asked = true;
        if *to_ms < wanted {
            let detail = format!(
                "the last report was made at {to_ms} ms, before {wanted} ms: the file was cut off, or nothing was used"
            );
            return verdict.failed("usage.end", detail, END);
        }
    }
    if is_asked {
        let detail = format!("the file reaches report {seq}, made at {to_ms} ms");
        return verdict.passed("usage.end", detail, END);
    }
    let detail = format!(
        "the last report is {seq}, made at {to_ms} ms: name a number or a time that must be reached to know whether something was cut off"
    );
    verdict.noted("usage.end", detail, END);
}
