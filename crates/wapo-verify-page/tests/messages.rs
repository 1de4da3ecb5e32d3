//! What the verifier of the page makes of messages: right ones, wrong ones, hostile ones.

mod support;

#[path = "../../wapo-verify/tests/support/bills.rs"]
mod bills;
#[path = "../../wapo-verify/tests/support/mod.rs"]
mod evidence;

use bills::{OTHER, SHOP, Worker};
use evidence::{DAY_S, NONCE, NOW_S, app_claims, app_evidence, default_simulator, worker_claims};
use parity_scale_codec::Encode as _;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData as _};
use serde_json::Value;
use support::{accepting, answer, failed, head, message, with};
use wapo_rpc::AppAddress;
use wapo_rpc::statement::{Bounded, CERTIFICATE_EXTENSION_OID, WorkerEvidence};
use wapo_verify::evidence_file::{self, APP, WORKER};

fn worker() -> WorkerEvidence {
    evidence::worker_evidence(&default_simulator(), &worker_claims())
}

fn worker_file() -> String {
    evidence_file::write(WORKER, &worker().encode())
}

fn app_file() -> String {
    evidence_file::write(APP, &app_evidence(worker(), &app_claims()).encode())
}

/// Asserts that there is no verdict, for a reason.
#[track_caller]
fn no_verdict(head: Value, files: &[(&str, &str, &[u8])], says: &str) {
    let answer = answer(&message(head, files));
    let error = answer["error"].as_str();
    let error = error.unwrap_or_else(|| panic!("a verdict: {answer}"));
    assert!(error.contains(says), "{error}");
}

#[test]
fn evidence_is_verified_as_the_command_does() {
    let worker = worker_file();
    let files = [("worker", "worker.json", worker.as_bytes())];
    let good = answer(&message(accepting(NOW_S), &files));
    assert_eq!(
        (&good["good"], &good["kind"]),
        (&true.into(), &"worker".into())
    );
    assert_eq!(good["facts"]["software"], "wapod 1.0.0");
    let refused = answer(&message(head(NOW_S), &files));
    assert_eq!(failed(&refused), ["quote.kind"]);
    let late = answer(&message(accepting(NOW_S + 2 * DAY_S), &files));
    assert!(failed(&late).contains(&"worker.time"), "{late}");

    let app = app_file();
    let files = [("app", "app.json", app.as_bytes())];
    let own = with(accepting(NOW_S), "app", format!("0x{}", "07".repeat(32)));
    let own = with(own, "nonce", hex::encode(NONCE));
    let good = answer(&message(own, &files));
    assert_eq!(
        (&good["good"], &good["kind"]),
        (&true.into(), &"app".into())
    );
    let other = with(accepting(NOW_S), "app", "08".repeat(32));
    assert_eq!(failed(&answer(&message(other, &files))), ["app.address"]);
    let policy = b"accept_simulator = true\n[[apps]]\ncode_hash = \"sha256:01\"\n";
    let files = [files[0], ("policy", "policy.toml", policy)];
    assert_eq!(
        failed(&answer(&message(head(NOW_S), &files))),
        ["app.program"]
    );
}

#[test]
fn the_evidence_of_a_certificate_is_bound_to_its_key() {
    let key = KeyPair::generate().expect("a key");
    let mut claims = app_claims();
    claims.app_pubkey = Bounded::new(key.subject_public_key_info()).expect("short");
    let evidence = app_evidence(worker(), &claims).encode();
    let certificate = |key: &KeyPair| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.custom_extensions = vec![CustomExtension::from_oid_content(
            &CERTIFICATE_EXTENSION_OID,
            evidence.clone(),
        )];
        params.self_signed(key).expect("a certificate")
    };
    let good = certificate(&key);
    for content in [good.pem().as_bytes(), good.der()] {
        let answer = answer(&message(accepting(NOW_S), &[("certificate", "c", content)]));
        assert_eq!(answer["good"], true, "{answer}");
        assert!(answer["checks"].to_string().contains("app.key"));
    }
    let other = certificate(&KeyPair::generate().expect("a key"));
    let files = [("certificate", "c", &other.der()[..])];
    assert_eq!(
        failed(&answer(&message(accepting(NOW_S), &files))),
        ["app.key"]
    );
}

#[test]
fn a_bill_is_verified_alone_or_with_the_evidence_of_its_worker() {
    let bill = Worker::usual(3).whole();
    let files = [("usage", "bill", bill.as_bytes())];
    let good = answer(&message(head(NOW_S), &files));
    assert_eq!(
        (&good["good"], &good["facts"]["reports"]),
        (&true.into(), &3.into())
    );
    for (field, value, check) in [
        ("worker", "ab".repeat(32), "usage.worker"),
        ("after", format!("7:{}", "ab".repeat(32)), "usage.begin"),
        ("last_seq", "4".to_owned(), "usage.end"),
        ("until", "2026-06-01T12:00:00Z".to_owned(), "usage.end"),
    ] {
        let refused = answer(&message(with(head(NOW_S), field, value), &files));
        assert_eq!(failed(&refused), [check], "{field}");
    }

    let worker = Worker::usual(3);
    let own = worker.file(Some(SHOP), &worker.exported(Some(SHOP)));
    let own = [("usage", "bill", own.as_bytes())];
    let app = |app: AppAddress| message(with(head(NOW_S), "app", app.to_string()), &own);
    assert_eq!(answer(&app(SHOP))["good"], true);
    assert_eq!(failed(&answer(&app(OTHER))), ["usage.app"]);

    let evidence = worker_file();
    let files = [files[0], ("worker", "worker.json", evidence.as_bytes())];
    let good = answer(&message(accepting(NOW_S), &files));
    assert_eq!(
        (&good["good"], &good["kind"]),
        (&true.into(), &"usage".into())
    );
    // A bill of one app is none of another one, whose evidence comes with it.
    let of_app = app_file();
    let with_app = [own[0], ("app", "app.json", of_app.as_bytes())];
    let refused = answer(&message(accepting(NOW_S), &with_app));
    assert!(failed(&refused).contains(&"usage.app"), "{refused}");
    let names = good["checks"].to_string();
    assert!(names.contains("worker.binding") && names.contains("usage.chain"));
    // Evidence that does not count makes no bill good.
    assert_eq!(
        failed(&answer(&message(head(NOW_S), &files))),
        ["quote.kind"]
    );
    let mut other = Worker::usual(3);
    other.key = wapo_crypto::WorkerKey::from_seed([2; 32]);
    let other = other.whole();
    let files = [("usage", "bill", other.as_bytes()), files[1]];
    assert!(failed(&answer(&message(accepting(NOW_S), &files))).contains(&"usage.worker"));
}

#[test]
fn what_cannot_be_verified_together_is_named() {
    let (worker, app) = (worker_file(), app_file());
    let worker = ("worker", "w", worker.as_bytes());
    let app = ("app", "a", app.as_bytes());
    let usage: (&str, &str, &[u8]) = ("usage", "u", b"{}");
    let policy: (&str, &str, &[u8]) = ("policy", "p", b"");
    let chip: (&str, &str, &[u8]) = ("chip-certificates", "c", b"00");
    let now = || accepting(NOW_S);
    no_verdict(now(), &[], "nothing to verify");
    no_verdict(now(), &[policy], "nothing to verify");
    no_verdict(now(), &[worker, app], "one thing is verified at a time");
    no_verdict(
        now(),
        &[worker, worker],
        "two files with evidence of a worker",
    );
    no_verdict(
        now(),
        &[worker, chip],
        "certificates of a chip says nothing of",
    );
    no_verdict(now(), &[usage, policy], "a policy says nothing of a bill");
    for (field, name) in [
        ("nonce", "Nonce"),
        ("app", "App"),
        ("worker", "Worker"),
        ("after", "Goes on after"),
        ("last_seq", "Reaches report"),
        ("until", "Reaches time"),
    ] {
        no_verdict(with(now(), field, "xy"), &[usage], &format!("{name}: "));
    }
}

#[test]
fn hostile_files_are_refused_with_a_reason() {
    let deep = "[".repeat(900_000);
    let deep_json = format!("{{\"x\":{deep}");
    let deep_toml = format!("apps = {deep}");
    let long = vec![b'0'; 1024 * 1024 + 1];
    let now = || accepting(NOW_S);
    let worker = worker_file();
    let worker = ("worker", "w", worker.as_bytes());
    no_verdict(now(), &[("worker", "w", b"")], "wapo-worker-evidence");
    no_verdict(
        now(),
        &[("app", "w", worker.2)],
        "and wapo-app-evidence is what",
    );
    no_verdict(
        now(),
        &[("worker", "w", deep_json.as_bytes())],
        "the file is no evidence",
    );
    no_verdict(now(), &[("worker", "w", &long)], "at most 1048576 are read");
    no_verdict(now(), &[("quote", "q", &long)], "at most 98304 are read");
    no_verdict(now(), &[("answer", "a", b"{}")], "no answer: missing field");
    no_verdict(now(), &[("quote", "q", b"none")], "no quote of SGX");
    let nonce = with(now(), "nonce", "00");
    no_verdict(
        nonce,
        &[("quote", "q", b"none")],
        "a bare quote says nothing of a nonce",
    );
    let unknown = format!("{{\"{}\":1}}", "\u{202e}x".repeat(1_000_000));
    let long = answer(&message(now(), &[("answer", "a", unknown.as_bytes())]));
    let error = long["error"].as_str().expect("an error");
    assert!(
        error.len() < 40_000 && !error.contains('\u{202e}'),
        "{}",
        error.len()
    );
    no_verdict(now(), &[("certificate", "c", b"0\x82")], "cannot be read");
    let policy = |name, content| [worker, ("policy", name, content)];
    no_verdict(
        now(),
        &policy("p.json", deep.as_bytes()),
        "the policy cannot be read",
    );
    no_verdict(
        now(),
        &policy("p.toml", deep_toml.as_bytes()),
        "the policy cannot be read",
    );
    no_verdict(now(), &policy("p.toml", b"\xff"), "no text");
    no_verdict(now(), &policy("p.toml", b"[[app]]"), "unknown field");
    // What is no collateral or no bill is a check that failed.
    let deep = &deep.as_bytes()[..200_000];
    let bad = answer(&message(now(), &[worker, ("collateral", "c", deep)]));
    assert_eq!(failed(&bad)[0], "quote.collateral", "{bad}");
    let bad = answer(&message(now(), &[("usage", "u", deep_json.as_bytes())]));
    assert_eq!(failed(&bad), ["usage.file"]);
}

#[test]
fn a_message_that_is_cut_or_longer_is_no_message() {
    let worker = worker_file();
    let whole = message(accepting(NOW_S), &[("worker", "w", worker.as_bytes())]);
    for length in (0..whole.len()).step_by(97) {
        assert!(answer(&whole[..length])["error"].is_string(), "{length}");
    }
    assert!(answer(&[&whole[..], b"x"].concat())["error"].is_string());
    assert!(answer(&[0xff; 8])["error"].is_string());
    let other = with(accepting(NOW_S), "other", 1);
    no_verdict(other, &[], "unknown field");
}

/// The page reads no more of a file than the verifier takes, and all of that.
#[test]
fn the_page_and_the_verifier_have_the_same_limits() {
    let script = include_str!("../../wapod/console/verify-files.js");
    let lines = script.lines().filter(|line| line.contains("bytesMax:"));
    let mut roles = 0;
    for line in lines {
        let role = line.split('"').nth(1).expect("a role");
        let kib = line
            .split("bytesMax: ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let kib: usize = kib.expect("a size").parse().expect("a number");
        let most = vec![0; kib * 1024];
        let says = |content: &[u8]| {
            let answer = answer(&message(accepting(NOW_S), &[(role, "x", content)]));
            answer["error"]
                .as_str()
                .unwrap_or_default()
                .contains(&format!("at most {} are read", kib * 1024))
        };
        assert!(!says(&most), "{role}");
        assert!(says(&[&most[..], b"x"].concat()), "{role}");
        roles += 1;
    }
    assert_eq!(roles, 9);
}
