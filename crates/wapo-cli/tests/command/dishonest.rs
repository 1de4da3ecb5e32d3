//! The command in front of workers that are not honest: what they say reaches no terminal
//! as a command, and what they sign or do not sign ends in time and with a reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::answers::{answers, refusals};
use crate::support::{output, text};
use parity_scale_codec::Encode as _;
use wapo_crypto::{ContentType, WorkerKey, merkle};
use wapo_rpc::Encoding;
use wapo_rpc::message::{Evidence, UsageExportArgs, UsageExportResponse};
use wapo_rpc::statement::{
    Bounded, ExportedReport, Quote, REPORT_VERSION, ReportEntries, UsageReport, WorkerEvidence,
};

/// Runs the command; gives what it said and its exit code.
async fn run(folder: &Path, line: &str) -> (String, Option<i32>) {
    let words: Vec<_> = line.split(' ').collect();
    let output = output(folder, &words).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    (said, output.status.code())
}

#[tokio::test]
async fn the_words_of_a_worker_do_not_steer_the_terminal() {
    let place = tempfile::tempdir().expect("a folder");
    let address = refusals("no\u{1b}]0;title\u{7}\u{9b}2J\u{61c}\u{202e}\rgood");
    for line in ["list", "logs app", "verify worker", "info"] {
        let line = format!("{line} --worker http://{address}");
        let (said, code) = run(place.path(), &line).await;
        assert_eq!(code, Some(1), "{line}: {said}");
        let shown = r"no\u{1b}]0;title\u{7}\u{9b}2J\u{61c}\u{202e}\rgood";
        assert!(said.contains(shown), "{line}: {said}");
        let obeyed = |one: char| one.is_control() && one != '\n';
        assert!(!said.contains(obeyed), "{line}: {said:?}");
    }
}

#[tokio::test]
async fn what_a_worker_gives_is_read_before_it_is_written() {
    let place = tempfile::tempdir().expect("a folder");
    let collateral = |text: &str| {
        let evidence = WorkerEvidence {
            quote: Quote::Simulator(Bounded::default()),
            claims: Bounded::default(),
            collateral: Some(Bounded::new(text.into()).expect("short")),
        };
        evidence.encode()
    };
    let fields = [
        "pck_crl_issuer_chain",
        "root_ca_crl",
        "pck_crl",
        "tcb_info_issuer_chain",
        "tcb_info",
        "tcb_info_signature",
        "qe_identity_issuer_chain",
        "qe_identity",
        "qe_identity_signature",
    ];
    let whole = fields.map(|field| format!("\"{field}\":\"\""));
    let whole = format!("{{{}}}", whole.join(","));
    let steering = whole.replace("\"tcb_info\":\"", "\"tcb_info\":\"\u{9b}2J");
    for (line, evidence, says) in [
        (
            "verify worker --save written",
            b"none".to_vec(),
            "no evidence that can be read",
        ),
        (
            "collateral --from-worker -o written",
            collateral("{}"),
            "gives no collateral",
        ),
        (
            "collateral --from-worker",
            collateral("\u{1b}]0;x"),
            "gives no collateral",
        ),
        (
            "collateral --from-worker",
            collateral(&steering),
            "has control characters",
        ),
    ] {
        let body = Encoding::Protobuf.encode(&Evidence { evidence });
        let address = answers(move |_, _| Some(("X-Nothing: ".to_owned(), body.clone())));
        let (said, code) = run(place.path(), &format!("{line} --worker http://{address}")).await;
        assert!(code == Some(1) && said.contains(says), "{line}: {said}");
        assert!(!said.contains(['\u{1b}', '\u{9b}']), "{line}: {said:?}");
        assert!(!place.path().join("written").exists(), "{line}: {said}");
    }
    let body = Evidence {
        evidence: collateral(&whole),
    };
    let body = Encoding::Protobuf.encode(&body);
    let address = answers(move |_, _| Some(("X-Nothing: ".to_owned(), body.clone())));
    let line = format!("collateral --from-worker -o written --worker http://{address}");
    let (said, code) = run(place.path(), &line).await;
    assert_eq!(code, Some(0), "{said}");
    let written = fs::read_to_string(place.path().join("written")).expect("a file");
    assert_eq!(written, whole + "\n");
}

fn key() -> WorkerKey {
    WorkerKey::from_seed([1; 32])
}

/// A report without entries, of one second.
fn report(seq: u64, previous: [u8; 32]) -> UsageReport {
    UsageReport {
        version: REPORT_VERSION,
        worker: key().public(),
        session: [2; 32],
        seq,
        previous,
        from_ms: seq.saturating_mul(1000),
        to_ms: seq.saturating_add(1).saturating_mul(1000),
        entries: merkle::root(&[]),
        count: 0,
    }
}

/// An answer with these reports, each signed.
fn page(reports: &[UsageReport], last_seq: u64, next_seq: u64) -> UsageExportResponse {
    let signed = reports.iter().map(|report| ExportedReport {
        report: *report,
        signature: key().sign(ContentType::UsageReport, &report.encode(), [7; 32]),
        entries: ReportEntries::All(Bounded::default()),
    });
    UsageExportResponse {
        reports: signed.map(|one| one.encode()).collect(),
        first_seq: 1,
        last_seq,
        next_seq,
        pubkey: key().public().to_vec(),
    }
}

/// What an export says into which a worker puts these pages, by the number that they are
/// asked for with; how many reports are in the file, which verifies.
async fn export(pages: BTreeMap<u64, UsageExportResponse>, options: &str) -> (String, usize) {
    let place = tempfile::tempdir().expect("a folder");
    let address = answers(move |_, body| {
        let asked: UsageExportArgs = Encoding::Protobuf.decode(body).expect("a request");
        // A page is there for each number that is not asked for too.
        let (_, page) = pages.range(..=asked.from_seq).next_back()?;
        let mut page = page.clone();
        if page.reports.is_empty() && page.next_seq > 0 {
            page.next_seq = asked.from_seq + 1;
        }
        Some(("X-Nothing: ".to_owned(), Encoding::Protobuf.encode(&page)))
    });
    let line = format!("usage export -o bill --worker http://{address}{options}");
    let (said, _) = run(place.path(), &line).await;
    let bill = place.path().join("bill");
    let lines = fs::read_to_string(&bill)
        .unwrap_or_default()
        .lines()
        .count();
    if lines > 1 {
        let (verdict, code) = run(place.path(), "verify usage bill").await;
        assert_eq!(code, Some(0), "{verdict}");
    }
    (said, lines.saturating_sub(1))
}

#[tokio::test]
async fn a_worker_that_does_not_get_on_ends_an_export() {
    let one = report(1, [0; 32]);
    let two = report(2, one.hash());
    let whole = BTreeMap::from([(0, page(&[one], 2, 2)), (2, page(&[two], 2, 0))]);
    let (said, written) = export(whole, "").await;
    assert!(
        written == 2 && said.contains("2 reports, up to 2"),
        "{said}"
    );

    // Nothing but the promise of more.
    let empty = BTreeMap::from([(0, page(&[], u64::MAX, 1))]);
    let (said, written) = export(empty, "").await;
    assert!(written == 0 && said.contains("not the next one"), "{said}");
    // The same after a report.
    let stuck = BTreeMap::from([(0, page(&[one], u64::MAX, 2)), (2, page(&[], u64::MAX, 3))]);
    let (said, written) = export(stuck, "").await;
    assert!(written == 1 && said.contains("not the next one"), "{said}");
    // A gap, and a way back.
    for next_seq in [1, 3] {
        let gap = BTreeMap::from([(0, page(&[one], u64::MAX, next_seq))]);
        let (said, written) = export(gap, "").await;
        assert!(written == 1 && said.contains("not the next one"), "{said}");
    }
    // The highest number, which none follows.
    let highest = report(u64::MAX, [3; 32]);
    let pages = BTreeMap::from([(0, page(&[highest], u64::MAX, 1))]);
    let (said, written) = export(pages, "").await;
    assert!(written == 1 && said.contains("1 reports"), "{said}");
}

#[tokio::test]
async fn pages_of_a_bill_have_to_fit_at_their_seams() {
    let one = report(1, [0; 32]);
    let two = report(2, one.hash());
    for (second, says) in [
        (
            UsageReport {
                previous: [0; 32],
                ..two
            },
            "begins a chain in the middle of a session",
        ),
        (
            UsageReport {
                from_ms: 2001,
                ..two
            },
            "does not begin when report 1 ends",
        ),
        (
            UsageReport {
                previous: [9; 32],
                ..two
            },
            "does not follow report 1",
        ),
    ] {
        let pages = BTreeMap::from([(0, page(&[one], 2, 2)), (2, page(&[second], 2, 0))]);
        let (said, written) = export(pages, "").await;
        assert!(said.contains(says), "{says}: {said}");
        assert_eq!(written, 1, "{said}");
    }
}

#[tokio::test]
async fn an_export_begins_with_the_report_that_was_asked_for() {
    let reports = [report(4, [3; 32]), report(5, [3; 32])];
    let pages = |first: usize| BTreeMap::from([(0, page(&reports[first..=first], 5, 0))]);
    let (said, written) = export(pages(1), " --since 5").await;
    assert_eq!(written, 1, "{said}");
    let (said, written) = export(pages(0), " --since 5").await;
    assert!(said.contains("gives them from 4 on"), "{said}");
    assert_eq!(written, 0, "{said}");
    let mut forgotten = pages(1);
    for page in forgotten.values_mut() {
        page.first_seq = 5;
    }
    let (said, written) = export(forgotten, " --since 2").await;
    assert!(said.contains("forgotten reports 2 to 4"), "{said}");
    assert_eq!(written, 0, "{said}");
}
