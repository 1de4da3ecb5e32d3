//! Evidence of workers and apps: the chain from the quote to the app's key, and each way
//! in which it can be broken.

mod support;

use parity_scale_codec::Encode as _;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use support::*;
use wapo_crypto::{ContentType, WorkerKey};
use wapo_rpc::AppAddress;
use wapo_rpc::statement::{
    AppClaims, AppEvidence, Bounded, CERTIFICATE_EXTENSION_OID, WorkerClaims, WorkerEvidence,
};
use wapo_verify::app::{self, NoEvidence};
use wapo_verify::worker::CLOCK_SKEW_MAX_S;
use wapo_verify::{Context, Outcome, Policy, Roots, Verdict, worker};

fn check_worker(
    evidence: &WorkerEvidence,
    now: u64,
    policy: &Policy,
    nonce: Option<&[u8]>,
) -> Verdict {
    let roots = Roots::default();
    let context = Context {
        nonce,
        ..context(now, &roots, policy)
    };
    let verified = worker::verify(evidence, None, &context);
    assert!(verified.claims.is_some() || !verified.verdict.is_good());
    verified.verdict
}

fn check_app(evidence: &AppEvidence, policy: &Policy, key: Option<&[u8]>) -> Verdict {
    let roots = Roots::default();
    let context = context(NOW_S, &roots, policy);
    let verified = app::verify(evidence, None, None, key, &context);
    assert!(verified.claims.is_some() || !verified.verdict.is_good());
    verified.verdict
}

fn worker_with(change: impl FnOnce(&mut WorkerClaims)) -> WorkerEvidence {
    let mut claims = worker_claims();
    change(&mut claims);
    worker_evidence(&default_simulator(), &claims)
}

fn app_with(change: impl FnOnce(&mut AppClaims)) -> AppEvidence {
    let mut claims = app_claims();
    change(&mut claims);
    app_evidence(worker_with(|_| {}), &claims)
}

#[test]
fn evidence_of_a_worker_verifies_with_and_without_a_nonce() {
    let evidence = worker_with(|_| {});
    let with = check_worker(&evidence, NOW_S, &accepting(), Some(&NONCE));
    assert!(with.is_good(), "{with:#?}");
    assert_eq!(check(&with, "worker.nonce").0, Outcome::Passed);
    let without = check_worker(&evidence, NOW_S, &accepting(), None);
    assert!(without.is_good());
    assert_eq!(check(&without, "worker.nonce").0, Outcome::Noted);
    let other = check_worker(&evidence, NOW_S, &accepting(), Some(b"other"));
    only_failure(&other, "worker.nonce", "yours is 6f74686572");
    let refused = check_worker(&evidence, NOW_S, &Policy::default(), None);
    only_failure(&refused, "quote.kind", "simulator");
}

#[test]
fn a_quote_over_other_claims_proves_nothing_about_these() {
    let mut evidence = worker_with(|_| {});
    let mut claims = worker_claims();
    claims.pubkey = WorkerKey::from_seed([9; 32]).public();
    evidence.claims = Bounded::new(claims.encode()).expect("short");
    let verdict = check_worker(&evidence, NOW_S, &accepting(), None);
    only_failure(&verdict, "worker.binding", "over other data");
}

#[test]
fn evidence_counts_within_its_dates_and_the_policys_age() {
    let evidence = worker_with(|_| {});
    let at = |now| check_worker(&evidence, now, &accepting(), None);
    assert!(at(NOW_S + DAY_S).is_good());
    only_failure(&at(NOW_S + DAY_S + 1), "worker.time", "expired");
    let later = |seconds: u64| {
        let evidence = worker_with(|claims| {
            claims.issued_at += seconds;
            claims.expires_at += seconds;
        });
        check_worker(&evidence, NOW_S, &accepting(), None)
    };
    assert!(later(CLOCK_SKEW_MAX_S).is_good());
    only_failure(&later(CLOCK_SKEW_MAX_S + 1), "worker.time", "of the future");
    let never = worker_with(|claims| {
        claims.issued_at = NOW_S + 100;
        claims.expires_at = NOW_S + 99;
    });
    let never = check_worker(&never, NOW_S, &accepting(), None);
    only_failure(&never, "worker.time", "expired");
    let young = Policy {
        age_max_s: Some(60),
        ..accepting()
    };
    assert!(check_worker(&evidence, NOW_S + 60, &young, None).is_good());
    let old = check_worker(&evidence, NOW_S + 61, &young, None);
    only_failure(&old, "worker.time", "the policy allows 60 s");
}

#[test]
fn claims_of_another_version_or_form_are_refused() {
    let next = worker_with(|claims| claims.version = 2);
    let verdict = check_worker(&next, NOW_S, &accepting(), None);
    only_failure(&verdict, "worker.claims", "version 2");
    let next = app_with(|claims| claims.version = 2);
    only_failure(
        &check_app(&next, &accepting(), None),
        "app.claims",
        "version 2",
    );
    // What follows the version may have any form there.
    let mut next = app_with(|_| {});
    for (bytes, says) in [
        (&[2, 9][..], "version 2"),
        (&[1, 9], "cannot be read"),
        (&[], "cannot be read"),
    ] {
        next.claims = Bounded::new(bytes.to_vec()).expect("short");
        only_failure(&check_app(&next, &accepting(), None), "app.claims", says);
    }
}

#[test]
fn the_host_decides_what_the_policy_allows() {
    let evidence = worker_with(|_| {});
    let with = |allowed: &[&str]| {
        let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        let policy = Policy {
            host_controlled: Some(allowed),
            ..accepting()
        };
        check_worker(&evidence, NOW_S, &policy, None)
    };
    assert!(with(&["pccs", "log"]).is_good());
    only_failure(&with(&["log"]), "worker.host_controlled", "pccs");
    let free = check_worker(&evidence, NOW_S, &accepting(), None);
    assert_eq!(
        check(&free, "worker.host_controlled"),
        (Outcome::Noted, "the host decides: pccs")
    );
    let key = hex::encode(worker_key().public());
    let listed = policy(&format!(
        r#"{{"accept_simulator":true,"workers":["{key}"]}}"#
    ));
    assert!(check_worker(&evidence, NOW_S, &listed, None).is_good());
    let other = policy(&format!(
        r#"{{"accept_simulator":true,"workers":["{}"]}}"#,
        "00".repeat(32)
    ));
    only_failure(
        &check_worker(&evidence, NOW_S, &other, None),
        "worker.key",
        "`workers`",
    );
}

#[test]
fn evidence_of_an_app_verifies_and_the_policy_names_apps() {
    let evidence = app_with(|_| {});
    let good = check_app(&evidence, &accepting(), None);
    assert!(good.is_good(), "{good:#?}");
    assert_eq!(check(&good, "app.program").0, Outcome::Noted);
    let with = |rule: &str| {
        let json = format!(r#"{{"accept_simulator":true,"apps":[{{"args":["x"]}},{rule}]}}"#);
        check_app(&evidence, &policy(&json), None)
    };
    let (seven, nine) = ("07".repeat(32), "09".repeat(32));
    let all = format!(
        r#"{{"address":"{seven}","code_hash":"sha256:00","args":["-a"],"env_hash":"{nine}"}}"#
    );
    let listed = with(&all);
    assert_eq!(check(&listed, "app.program").0, Outcome::Passed);
    assert!(listed.is_good());
    for (from, to) in [
        (seven.as_str(), nine.as_str()),
        ("sha256:00", "sha256:01"),
        ("\"-a\"", ""),
        ("\"-a\"", "\"-a\",\"b\""),
    ] {
        only_failure(
            &with(&all.replacen(from, to, 1)),
            "app.program",
            "no entry of the policy's `apps`",
        );
    }
}

#[test]
fn evidence_is_of_the_app_that_was_asked_for() {
    let evidence = app_with(|_| {});
    let (roots, policy) = (Roots::default(), accepting());
    let context = context(NOW_S, &roots, &policy);
    let verify = |asked| app::verify(&evidence, None, asked, None, &context).verdict;
    let right = verify(Some(AppAddress([7; 32])));
    assert!(right.is_good(), "{right:#?}");
    assert_eq!(check(&right, "app.address").0, Outcome::Passed);
    // Another app of the same worker, with all else as it should be.
    let other = verify(Some(AppAddress([6; 32])));
    only_failure(&other, "app.address", "and app 0606");
    let is_asked = |verdict: Verdict| verdict.checks.iter().any(|one| one.name == "app.address");
    assert!(!is_asked(verify(None)), "nothing was asked for");
}

#[test]
fn a_nonce_is_demanded_of_the_app_and_of_its_worker() {
    let (roots, policy) = (Roots::default(), accepting());
    let context = Context {
        nonce: Some(&NONCE),
        ..context(NOW_S, &roots, &policy)
    };
    let verify = |evidence| app::verify(&evidence, None, None, None, &context).verdict;
    let good = verify(app_with(|_| {}));
    assert!(good.is_good(), "{good:#?}");
    for name in ["worker.nonce", "app.nonce"] {
        assert_eq!(check(&good, name).0, Outcome::Passed);
    }
    let old_app = app_with(|claims| claims.nonce = Bounded::default());
    only_failure(&verify(old_app), "app.nonce", "yours is");
    let old_worker = worker_with(|claims| claims.nonce = Bounded::default());
    let evidence = app_evidence(old_worker, &app_claims());
    only_failure(&verify(evidence), "worker.nonce", "yours is");
}

#[test]
fn an_app_is_what_the_worker_of_the_quote_signed_in_this_session() {
    let mut forged = app_with(|_| {});
    let other = WorkerKey::from_seed([9; 32]);
    let sign = |content| other.sign(content, &forged.claims, [0; 32]);
    forged.signature = sign(ContentType::AppEvidence).into();
    only_failure(
        &check_app(&forged, &accepting(), None),
        "app.signature",
        "not signed by the worker",
    );
    // Another statement of the same worker over the same bytes is not this one.
    for content in [
        ContentType::AppData,
        ContentType::RpcResponse,
        ContentType::WorkerEvidence,
    ] {
        forged.signature = worker_key().sign(content, &forged.claims, [0; 32]).into();
        only_failure(
            &check_app(&forged, &accepting(), None),
            "app.signature",
            "not signed by the worker",
        );
    }
    let of_other = app_with(|claims| claims.worker = [0; 32]);
    only_failure(
        &check_app(&of_other, &accepting(), None),
        "app.signature",
        "not signed by the worker",
    );
    let earlier = app_with(|claims| claims.worker_session = [0; 32]);
    only_failure(
        &check_app(&earlier, &accepting(), None),
        "app.session",
        "another session",
    );
    let expired = app_with(|claims| claims.expires_at = NOW_S - 1);
    only_failure(
        &check_app(&expired, &accepting(), None),
        "app.time",
        "expired",
    );
}

/// A certificate with evidence for its own key, or for another.
fn certificate(extension: impl FnOnce(&[u8]) -> Vec<CustomExtension>) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().expect("a key");
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    let mut params = CertificateParams::new(["app.example.com".to_owned()]).expect("a name");
    params.custom_extensions = extension(&public);
    (
        params.self_signed(&key).expect("signed").der().to_vec(),
        public,
    )
}

fn carrying(key: &[u8]) -> CustomExtension {
    let evidence = app_with(|claims| {
        claims.app_pubkey = Bounded::new(key.to_vec()).expect("short");
    });
    CustomExtension::from_oid_content(&CERTIFICATE_EXTENSION_OID, evidence.encode())
}

#[test]
fn a_certificate_is_bound_to_the_app_by_its_key() {
    let (der, public) = certificate(|key| vec![carrying(key)]);
    let carried = app::from_certificate(&der).expect("evidence");
    assert_eq!(carried.key, public);
    let verdict = check_app(&carried.evidence, &accepting(), Some(&carried.key));
    assert!(verdict.is_good(), "{verdict:#?}");
    assert_eq!(check(&verdict, "app.key").0, Outcome::Passed);
    // The evidence of an app in the certificate of another server.
    let (stolen, _) = certificate(|_| vec![carrying(&public)]);
    let carried = app::from_certificate(&stolen).expect("evidence");
    let verdict = check_app(&carried.evidence, &accepting(), Some(&carried.key));
    only_failure(&verdict, "app.key", "the evidence was copied");
}

#[test]
fn certificates_without_evidence_or_with_two_say_so() {
    let (plain, _) = certificate(|_| Vec::new());
    assert!(matches!(
        app::from_certificate(&plain),
        Err(NoEvidence::Absent(_))
    ));
    let (twice, _) = certificate(|key| vec![carrying(key), carrying(key)]);
    assert!(matches!(
        app::from_certificate(&twice),
        Err(NoEvidence::Unreadable(_))
    ));
    let (broken, _) = certificate(|_| {
        vec![CustomExtension::from_oid_content(
            &CERTIFICATE_EXTENSION_OID,
            vec![1, 2],
        )]
    });
    assert!(matches!(
        app::from_certificate(&broken),
        Err(NoEvidence::Evidence(_))
    ));
}
