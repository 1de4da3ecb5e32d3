//! Requests for a worker's key: which are good, and each way in which one is not.

mod support;

use parity_scale_codec::Encode as _;
use support::*;
use wapo_crypto::report_data;
use wapo_rpc::statement::{Bounded, KeyRequest, KeyRequestClaims, Quote};
use wapo_simulator::{Enclave, Platform, Simulator};
use wapo_verify::handover::{self, TooWide, names_programs};
use wapo_verify::{Context, Policy, Roots, Verdict};

const GIVEN: [u8; 32] = [7; 32];

fn request_claims() -> KeyRequestClaims {
    KeyRequestClaims {
        version: KeyRequestClaims::VERSION,
        recipient: [1; 32],
        nonce: GIVEN,
        software: Bounded::new("wapod 2".into()).expect("short"),
        host_controlled: Bounded::default(),
        issued_at: NOW_S,
        expires_at: NOW_S + 600,
    }
}

fn request_of(simulator: &Simulator, claims: &KeyRequestClaims) -> KeyRequest {
    let claims = claims.encode();
    let quote = simulator.quote(&report_data::for_key_request(&claims));
    let collateral = simulator.collateral(NOW_S).expect("a time").into_bytes();
    KeyRequest {
        quote: Quote::Simulator(Bounded::new(quote).expect("short")),
        claims: Bounded::new(claims).expect("short"),
        collateral: Some(Bounded::new(collateral).expect("short")),
    }
}

fn with(change: impl FnOnce(&mut KeyRequestClaims)) -> KeyRequest {
    let mut claims = request_claims();
    change(&mut claims);
    request_of(&default_simulator(), &claims)
}

/// What a worker demands of another build of the simulated signer.
fn demanding() -> Policy {
    let signer = hex::encode(Enclave::default().signer);
    policy(&format!(
        r#"{{"accept_simulator":true,"sgx":[{{"signer":"{signer}","product_id":1,"svn_min":1}}],"host_controlled":["log-format"]}}"#
    ))
}

fn check(request: &KeyRequest, policy: &Policy) -> Verdict {
    let roots = Roots::default();
    let context = Context {
        nonce: Some(&GIVEN),
        ..context(NOW_S, &roots, policy)
    };
    let verified = handover::verify(request, &context);
    assert!(verified.claims.is_some() || !verified.verdict.is_good());
    verified.verdict
}

#[test]
fn a_request_of_an_accepted_program_with_the_given_nonce_is_good() {
    let verdict = check(&with(|_| {}), &demanding());
    assert!(verdict.is_good(), "{verdict:#?}");
}

#[test]
fn other_programs_debugging_and_the_simulator_are_refused() {
    let of = |enclave: Enclave| {
        let simulator = simulator(enclave, Platform::default());
        check(&request_of(&simulator, &request_claims()), &demanding())
    };
    let signer = [9; 32];
    let other = of(Enclave {
        signer,
        ..Enclave::default()
    });
    only_failure(&other, "quote.program", "no entry of the policy's `sgx`");
    let older = of(Enclave {
        svn: 0,
        ..Enclave::default()
    });
    only_failure(&older, "quote.program", "version 0");
    let debug = of(Enclave {
        debug: true,
        ..Enclave::default()
    });
    assert!(debug.failures().any(|check| check.name == "quote.debug"));
    let real_only = Policy {
        accept_simulator: false,
        ..demanding()
    };
    only_failure(&check(&with(|_| {}), &real_only), "quote.kind", "simulator");
}

#[test]
fn other_nonces_dates_hosts_and_versions_are_refused() {
    let fails = |request: KeyRequest, name: &str, says: &str| {
        only_failure(&check(&request, &demanding()), name, says);
    };
    fails(
        with(|claims| claims.nonce = [8; 32]),
        "request.nonce",
        "0808",
    );
    let late = |claims: &mut KeyRequestClaims| {
        claims.issued_at = NOW_S - 700;
        claims.expires_at = NOW_S - 100;
    };
    fails(with(late), "request.time", "expired");
    let host = |claims: &mut KeyRequestClaims| {
        let name = Bounded::new("key-from-policy".to_owned()).expect("short");
        claims.host_controlled = Bounded::new(vec![name]).expect("one");
    };
    fails(with(host), "request.host_controlled", "key-from-policy");
    fails(
        with(|claims| claims.version = 2),
        "request.claims",
        "version 2",
    );
}

#[test]
fn evidence_of_a_worker_and_a_quote_over_other_claims_are_no_request() {
    let mut moved = with(|_| {});
    moved.claims = with(|claims| claims.recipient = [2; 32]).claims;
    let verdict = check(&moved, &demanding());
    only_failure(&verdict, "request.binding", "over other data");
    // The same bytes, attested as what a worker says of itself.
    let mut other_kind = with(|_| {});
    let quote = default_simulator().quote(&report_data::for_worker_claims(&other_kind.claims));
    other_kind.quote = Quote::Simulator(Bounded::new(quote).expect("short"));
    let verdict = check(&other_kind, &demanding());
    only_failure(&verdict, "request.binding", "over other data");
}

#[test]
fn each_flipped_byte_of_quote_and_claims_is_refused() {
    let good = with(|_| {});
    let Quote::Simulator(quote) = &good.quote else {
        panic!("a quote of something else");
    };
    for at in 0..good.claims.len() {
        let mut flipped = good.clone();
        let mut bytes = good.claims.to_vec();
        bytes[at] ^= 1;
        flipped.claims = Bounded::new(bytes).expect("short");
        assert!(
            !check(&flipped, &demanding()).is_good(),
            "claims, byte {at}"
        );
    }
    // The report is the signed part; all the rest of a quote is tested as such.
    for at in 48..432 {
        let mut bytes = quote.to_vec();
        bytes[at] ^= 1;
        let flipped = KeyRequest {
            quote: Quote::Simulator(Bounded::new(bytes).expect("short")),
            ..good.clone()
        };
        assert!(!check(&flipped, &demanding()).is_good(), "quote, byte {at}");
    }
}

#[test]
fn a_policy_that_a_key_depends_on_names_its_programs() {
    let of = |json: &str| names_programs(&policy(json));
    assert_eq!(of("{}"), Err(TooWide::Any));
    assert_eq!(of(r#"{"sgx":[{"product_id":1}]}"#), Err(TooWide::Sgx));
    let hash = "ab".repeat(48);
    let registers = format!(r#""mrtd":"{hash}","rtmr1":"{hash}","rtmr2":"{hash}""#);
    let tdx = |more: &str| of(&format!(r#"{{"tdx":[{{{registers}{more}}}]}}"#));
    assert_eq!(tdx(""), Err(TooWide::Tdx));
    let firmware = format!(r#","rtmr0":"{hash}""#);
    assert_eq!(tdx(&firmware), Err(TooWide::Host));
    let snp = |more: &str| of(&format!(r#"{{"sev_snp":[{{{more}}}]}}"#));
    let versions = r#""bootloader_min":1,"tee_min":1,"snp_min":1,"microcode_min":1"#;
    assert_eq!(snp(versions), Err(TooWide::SevSnp));
    let measurement = format!(r#""measurement":"{hash}""#);
    assert_eq!(snp(&measurement), Err(TooWide::SevSnp));
    assert_eq!(
        snp(&format!("{measurement},{versions}")),
        Err(TooWide::Host)
    );
    assert_eq!(names_programs(&demanding()), Ok(()));
}
