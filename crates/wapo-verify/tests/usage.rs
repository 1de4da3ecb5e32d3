//! Bills that a worker made, and what becomes of them on the way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/bills.rs"]
mod bills;

use bills::*;
use parity_scale_codec::Encode as _;
use wapo_crypto::{ContentType, WorkerKey, merkle};
use wapo_rpc::statement::{AppEntry, Bounded, ExportedReport, ReportEntries, UsageReport};
use wapo_verify::usage::{self, Bill, Expected};
use wapo_verify::{Outcome, Verdict};

fn check(file: &str) -> (Verdict, Option<Bill>) {
    usage::check(file.as_bytes(), &Expected::default())
}

/// Name and text of the first check that has failed.
#[track_caller]
fn failure(file: &str, expected: &Expected) -> (&'static str, String) {
    let (verdict, bill) = usage::check(file.as_bytes(), expected);
    assert!(bill.is_none() && !verdict.is_good(), "{verdict:?}");
    let first = verdict.failures().next().unwrap();
    (first.name, first.detail.clone())
}

#[track_caller]
fn refused(file: &str, name: &str, part: &str) {
    let (failed, detail) = failure(file, &Expected::default());
    assert!(
        failed == name && detail.contains(part),
        "{failed}: {detail}"
    );
}

#[test]
fn a_whole_chain_is_good_and_its_figures_are_sums() {
    let worker = Worker::usual(5);
    let (verdict, bill) = check(&worker.whole());
    let bill = bill.unwrap_or_else(|| panic!("{verdict:?}"));
    assert_eq!((bill.reports, bill.sessions), (5, 1));
    assert_eq!(bill.deployments.len(), 2);
    assert_eq!(bill.deployments[0].used(), totals(5));
    assert_eq!(bill.deployments[0].entries, 5);
    let mut checks = verdict.checks.iter();
    let end = checks.find(|one| one.name == "usage.end").unwrap();
    assert_eq!(end.outcome, Outcome::Noted, "a cut end cannot be seen");
    let cut = worker.file(None, &worker.exported(None)[..3]);
    assert!(check(&cut).1.is_some(), "nor is it refused");
}

#[test]
fn a_part_of_a_chain_goes_on_from_a_report_that_is_known() {
    let worker = Worker::usual(5);
    let exported = worker.exported(None);
    let known = exported[1].report;
    let part = worker.file(None, &exported[2..]);
    let (verdict, bill) = check(&part);
    assert!(verdict.is_good(), "{verdict:?}");
    assert_eq!(bill.unwrap().deployments[0].used(), totals(3));
    let after = |seq, hash| Expected {
        after: Some((seq, hash)),
        ..Expected::default()
    };
    let good = usage::check(part.as_bytes(), &after(2, known.hash()));
    assert!(good.1.is_some(), "{:?}", good.0);
    for other in [
        after(2, [5; 32]),
        after(1, known.hash()),
        after(3, known.hash()),
    ] {
        assert_eq!(failure(&part, &other).0, "usage.begin");
    }
}

#[test]
fn what_is_missing_moved_or_put_in_its_place_is_noticed() {
    let worker = Worker::usual(6);
    let good = worker.exported(None);
    let with = |change: &dyn Fn(&mut Vec<ExportedReport>)| {
        let mut reports = good.clone();
        change(&mut reports);
        worker.file(None, &reports)
    };
    let one_missing = with(&|reports| drop(reports.remove(2)));
    let (verdict, _) = check(&one_missing);
    let failures: Vec<_> = verdict.failures().map(|one| one.name).collect();
    assert_eq!(failures, ["usage.chain", "usage.totals"]);
    for (file, part) in [
        (one_missing, "report 3 is missing"),
        (with(&|reports| drop(reports.drain(1..4))), "reports 2 to 4"),
        (with(&|reports| reports.swap(2, 3)), "report 3 is missing"),
        (
            with(&|reports| reports.insert(2, reports[1].clone())),
            "not in order",
        ),
    ] {
        let (verdict, bill) = check(&file);
        let first = verdict.failures().next().unwrap();
        let detail = &first.detail;
        assert!(bill.is_none() && detail.contains(part), "{detail}");
        assert_eq!(first.name, "usage.chain");
    }
}

#[test]
fn signed_reports_that_do_not_follow_each_other_are_refused() {
    let chain = "usage.chain";
    // Signed, and not what the next one names.
    let mut rewritten = Worker::usual(6);
    rewritten.made[2].0.session[0] += 1;
    rewritten.made[3].0.session[0] += 1;
    refused(&rewritten.whole(), chain, "rewritten");
    let with = |change: &dyn Fn(&mut UsageReport)| {
        let mut worker = Worker::usual(2);
        worker.report(vec![entry(SHOP, 2)], change);
        worker.whole()
    };
    let other_time = with(&|report| report.from_ms += 1);
    refused(&other_time, chain, "does not begin when report 2 ends");
    let backwards = with(&|report| report.from_ms = report.to_ms + 1);
    refused(&backwards, chain, "ends before it begins");
    let fresh = with(&|report| report.previous = [0; 32]);
    refused(&fresh, chain, "in the middle of a session");
    refused(&with(&|report| report.version = 2), chain, "version 2");
    let mut none = Worker::usual(0);
    none.report(vec![entry(SHOP, 0)], |report| report.previous = [1; 32]);
    refused(&none.whole(), chain, "report 1 names one before it");
    let mut zero = Worker::usual(0);
    zero.report(vec![entry(SHOP, 0)], |report| report.seq = 0);
    refused(&zero.whole(), chain, "number 0");
}

#[test]
fn a_cut_end_is_noticed_by_whoever_knows_how_far_it_has_to_reach() {
    let worker = Worker::usual(4);
    let reach = |last_seq, until_ms| Expected {
        last_seq,
        until_ms,
        ..Expected::default()
    };
    let whole = worker.whole();
    for expected in [
        reach(Some(4), None),
        reach(None, Some(5_000)),
        reach(Some(3), Some(1)),
    ] {
        let (verdict, bill) = usage::check(whole.as_bytes(), &expected);
        assert!(bill.is_some(), "{verdict:?}");
    }
    for expected in [
        reach(Some(5), None),
        reach(None, Some(5_001)),
        reach(Some(5), Some(1)),
    ] {
        assert_eq!(failure(&whole, &expected).0, "usage.end");
    }
}

#[test]
fn a_new_session_goes_on_with_the_numbers_and_begins_a_chain() {
    let mut worker = Worker::usual(2);
    worker.session = 2;
    worker.report(vec![entry(SHOP, 2)], |_| {});
    worker.report(vec![entry(SHOP, 3)], |_| {});
    assert_eq!(worker.made[2].0.previous, [0; 32]);
    assert_eq!(check(&worker.whole()).1.unwrap().sessions, 2);
    let mut linked = Worker::usual(2);
    let hash = linked.made[1].0.hash();
    linked.session = 2;
    linked.report(vec![entry(SHOP, 2)], |report| report.previous = hash);
    refused(&linked.whole(), "usage.chain", "rewritten");
}

#[test]
fn figures_that_shrink_jump_or_come_after_the_last_word_are_refused() {
    let with = |entries: Vec<AppEntry>| {
        let mut worker = Worker::usual(2);
        worker.report(entries, |_| {});
        worker.whole()
    };
    let next = entry(SHOP, 2);
    let (shrunk, later) = (totals(1), totals(4));
    for (wrong, part) in [
        (
            AppEntry {
                totals: shrunk,
                ..next
            },
            "`gas_consumed`",
        ),
        (
            AppEntry {
                before: totals(3),
                totals: later,
                ..next
            },
            "left out or changed",
        ),
        (AppEntry { from_ms: 1, ..next }, "left out or changed"),
        (
            AppEntry {
                deployment: [8; 32],
                ..next
            },
            "two apps",
        ),
        (AppEntry { serial: 99, ..next }, "begin with nothing"),
        (
            AppEntry {
                from_ms: u64::MAX,
                ..next
            },
            "ends before it begins",
        ),
    ] {
        refused(&with(vec![wrong]), "usage.totals", part);
    }
    let twice = with(vec![next, next]);
    refused(&twice, "usage.totals", "left out or changed");
    let mut over = Worker::usual(2);
    let last = AppEntry {
        is_final: true,
        ..next
    };
    over.report(vec![last], |_| {});
    assert!(check(&over.whole()).1.unwrap().deployments[0].is_final);
    over.report(vec![entry(SHOP, 3)], |_| {});
    refused(&over.whole(), "usage.totals", "removed before");
}

#[test]
fn a_customer_sees_nothing_of_others_and_misses_nothing() {
    let worker = Worker::usual(4);
    let own = worker.exported(Some(SHOP));
    let text = worker.file(Some(SHOP), &own);
    assert!(!text.contains(&OTHER.to_string()), "the other app");
    let bill = check(&text).1.unwrap();
    assert_eq!((bill.app, bill.deployments.len()), (Some(SHOP), 1));
    assert_eq!(bill.deployments[0].used(), totals(4));
    // One entry is left out.
    let mut hidden = own.clone();
    hidden[1].entries = ReportEntries::OfOne(Bounded::default());
    let hidden = worker.file(Some(SHOP), &hidden);
    refused(&hidden, "usage.totals", "left out");
    // That of another, as one's own.
    let mut foreign = own.clone();
    foreign[3].entries = worker.exported(Some(OTHER))[3].entries.clone();
    let foreign = worker.file(Some(SHOP), &foreign);
    refused(&foreign, "usage.entries", "of another app");
    let all = worker.exported(None);
    let mixed = worker.file(Some(SHOP), &all);
    refused(&mixed, "usage.entries", "first line");
    refused(&worker.file(None, &own), "usage.entries", "first line");
    let mut twice = own.clone();
    if let ReportEntries::OfOne(entries) = &own[2].entries {
        let pair = vec![entries[0].clone(), entries[0].clone()];
        twice[2].entries = ReportEntries::OfOne(Bounded::new(pair).unwrap());
    }
    let twice = worker.file(Some(SHOP), &twice);
    refused(&twice, "usage.entries", "twice");
    let expected = Expected {
        app: Some(OTHER),
        ..Expected::default()
    };
    assert_eq!(failure(&text, &expected).0, "usage.app");
}

#[test]
fn entries_that_were_not_signed_are_refused() {
    let worker = Worker::usual(3);
    for change in [
        |entries: &mut Vec<AppEntry>| entries.truncate(1),
        |entries: &mut Vec<AppEntry>| entries.swap(0, 1),
        |entries: &mut Vec<AppEntry>| entries[0].totals.tip += 1,
        |entries: &mut Vec<AppEntry>| entries[0].salt[0] += 1,
        |entries: &mut Vec<AppEntry>| entries.push(entries[0]),
    ] {
        let mut reports = worker.exported(None);
        let mut entries = worker.made[1].1.clone();
        change(&mut entries);
        reports[1].entries = ReportEntries::All(Bounded::new(entries).unwrap());
        refused(&worker.file(None, &reports), "usage.entries", "report 2");
    }
}

#[test]
fn reports_of_another_worker_and_other_statements_are_refused() {
    let worker = Worker::usual(3);
    let mut other = Worker::usual(3);
    other.key = WorkerKey::from_seed([2; 32]);
    let expected = Expected {
        worker: Some(other.key.public()),
        ..Expected::default()
    };
    assert_eq!(failure(&worker.whole(), &expected).0, "usage.worker");
    // Signed by another worker; the reports name this worker.
    let stolen = worker.file(None, &other.exported(None));
    refused(&stolen, "usage.signatures", "report 1");
    let renamed = other.file(None, &worker.exported(None));
    let (verdict, _) = check(&renamed);
    assert_eq!(verdict.failures().next().unwrap().name, "usage.worker");
    let mut forged = worker.exported(None);
    forged[1].signature = other.exported(None)[1].signature;
    let forged = worker.file(None, &forged);
    refused(&forged, "usage.signatures", "report 2");
    // The same bytes, signed as a reading.
    let mut kind = worker.exported(None);
    let bytes = kind[2].report.encode();
    kind[2].signature = worker.key.sign(ContentType::Metrics, &bytes, [7; 32]);
    refused(&worker.file(None, &kind), "usage.signatures", "report 3");
}

#[test]
fn each_byte_that_is_changed_is_noticed() {
    let worker = Worker::usual(2);
    for app in [None, Some(SHOP)] {
        let text = worker.file(app, &worker.exported(app));
        let expected = Expected {
            worker: Some(worker.key.public()),
            app,
            last_seq: Some(2),
            ..Expected::default()
        };
        let refuses = |bytes: &[u8]| {
            let (verdict, bill) = usage::check(bytes, &expected);
            bill.is_none() && !verdict.is_good()
        };
        assert!(!refuses(text.as_bytes()));
        for at in 0..text.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= flip;
                assert!(refuses(&bytes), "byte {at} with {flip:#x}");
            }
        }
        for end in (0..text.len()).step_by(7) {
            assert!(refuses(&text.as_bytes()[..end]), "cut at {end}");
        }
    }
}

#[test]
fn parts_that_fit_are_as_one_and_others_do_not() {
    let mut worker = Worker::usual(2);
    worker.session = 2;
    worker.report(vec![entry(SHOP, 2)], |_| {});
    worker.report(vec![entry(SHOP, 3), entry(OTHER, 3)], |_| {});
    // The entry of the other app has to go on where its last one ended.
    let entries = &mut worker.made[3].1;
    entries[1].from_ms = 3_000;
    entries[1].before = totals(2);
    let leaves: Vec<_> = entries.iter().map(AppEntry::leaf).collect();
    worker.made[3].0.entries = merkle::root(&leaves);
    let all = worker.exported(None);
    let bill = |from: usize, to: usize| {
        let (verdict, bill) = check(&worker.file(None, &all[from..to]));
        bill.unwrap_or_else(|| panic!("{verdict:#?}"))
    };
    for middle in 1..4 {
        let mut joined = bill(0, middle);
        joined.join(bill(middle, 4)).unwrap();
        assert_eq!(joined, bill(0, 4), "{middle}");
    }
    // A report is missing, and with it an entry of both apps.
    assert!(bill(0, 1).join(bill(2, 4)).unwrap_err().contains("missing"));
    // The entry of another chain, whose reports follow each other all the same.
    let mut forged = bill(2, 4);
    forged.deployments[0].before = totals(1);
    let error = bill(0, 2).join(forged).unwrap_err();
    assert!(error.contains("does not go on"), "{error}");
    let other = Bill {
        worker: [3; 32],
        ..bill(2, 4)
    };
    assert!(bill(0, 2).join(other).unwrap_err().contains("two workers"));
}
