//! What a worker without a key takes of another one's answer, and what it refuses.

use wapo_crypto::{handover, report_data};
use wapo_rpc::statement::{Quote, WorkerClaims, WorkerEvidence};
use wapo_simulator::{DEVELOPMENT_SEED, Enclave, Platform, Simulator};

use super::*;

const NOW: u64 = 1_780_272_000;

fn simulator(enclave: Enclave) -> Simulator {
    Simulator::new(&DEVELOPMENT_SEED, enclave, Platform::default()).expect("certificates")
}

fn policy() -> HandoverPolicy {
    let measurement = hex::encode(Enclave::default().measurement);
    let text = format!(
        "accept_simulator = true\nhost_controlled = []\n[[sgx]]\nmeasurement = \"{measurement}\""
    );
    HandoverPolicy::parse(&text).expect("a policy")
}

fn recipient() -> Recipient {
    Recipient::new(&[1; 32])
}

fn request() -> KeyRequest {
    KeyRequest {
        quote: Quote::Simulator(Bounded::default()),
        claims: [1, 2, 3].into(),
        collateral: None,
    }
}

fn key() -> WorkerKey {
    WorkerKey::from_seed([7; 32])
}

fn claims() -> WorkerClaims {
    WorkerClaims {
        version: WorkerClaims::VERSION,
        pubkey: key().public(),
        query_pubkey: [3; 32],
        answer_pubkey: [4; 91].into(),
        session: [5; 32],
        software: Bounded::new("wapod 1".into()).expect("short"),
        host_controlled: Bounded::default(),
        key_version: 1,
        issued_at: NOW,
        expires_at: NOW + 60,
        nonce: request().hash().into(),
    }
}

fn evidence(enclave: Enclave, claims: &WorkerClaims) -> WorkerEvidence {
    let simulator = simulator(enclave);
    let claims = claims.encode();
    let quote = simulator.quote(&report_data::for_worker_claims(&claims));
    let collateral = simulator.collateral(NOW).expect("a time").into_bytes();
    WorkerEvidence {
        quote: Quote::Simulator(Bounded::new(quote).expect("short")),
        claims: Bounded::new(claims).expect("short"),
        collateral: Some(Bounded::new(collateral).expect("short")),
    }
}

/// An answer, with a key in it, encrypted to a recipient for a request.
fn answer_with(evidence: WorkerEvidence, key: &WorkerKey, to: [u8; 32], hash: [u8; 32]) -> Vec<u8> {
    let plaintext = parcel::pack(key, &KeyVersions::default());
    let sealed = handover::seal(&to, &hash, &plaintext, [9; 32]).expect("sealed");
    let answer = KeyHandover {
        evidence,
        encapsulated: sealed.encapsulated,
        sealed: Bounded::new(sealed.ciphertext).expect("short"),
    };
    answer.encode()
}

fn answer(evidence: WorkerEvidence) -> Vec<u8> {
    answer_with(evidence, &key(), recipient().public(), request().hash())
}

fn good() -> Vec<u8> {
    answer(evidence(Enclave::default(), &claims()))
}

fn opened(answer: &[u8], now: u64) -> Result<Received, String> {
    open(answer, &request(), &recipient(), &policy(), now)
}

fn error(answer: &[u8]) -> String {
    opened(answer, NOW).err().expect("is refused")
}

#[test]
fn the_key_of_an_accepted_worker_is_taken() {
    let received = opened(&good(), NOW).expect("taken");
    assert_eq!(received.key.public(), key().public());
    assert_eq!(received.versions, KeyVersions::default());
}

#[test]
fn a_key_from_another_program_or_a_debugged_one_is_refused() {
    let other = Enclave {
        measurement: [9; 32],
        ..Enclave::default()
    };
    let other = error(&answer(evidence(other, &claims())));
    assert!(other.contains("quote.program"), "{other}");
    let debug = Enclave {
        debug: true,
        ..Enclave::default()
    };
    let debug = error(&answer(evidence(debug, &claims())));
    assert!(debug.contains("quote.debug"), "{debug}");
}

#[test]
fn evidence_of_another_request_or_that_has_expired_is_refused() {
    let old = WorkerClaims {
        nonce: [8; 32].into(),
        ..claims()
    };
    let old = error(&answer(evidence(Enclave::default(), &old)));
    assert!(old.contains("worker.nonce"), "{old}");
    let late = opened(&good(), NOW + 61).err().expect("is refused");
    assert!(late.contains("expired"), "{late}");
}

#[test]
fn a_key_that_the_evidence_is_not_of_is_refused() {
    // An attacker has asked the right worker for evidence and sends a key of its own.
    let stranger = WorkerKey::from_seed([8; 32]);
    let evidence = || evidence(Enclave::default(), &claims());
    let (to, hash) = (recipient().public(), request().hash());
    let sent = error(&answer_with(evidence(), &stranger, to, hash));
    assert!(sent.contains("the evidence is of"), "{sent}");
    let elsewhere = error(&answer_with(evidence(), &key(), [9; 32], hash));
    assert!(elsewhere.contains("cannot be decrypted"), "{elsewhere}");
    let other_request = error(&answer_with(evidence(), &key(), to, [9; 32]));
    assert!(
        other_request.contains("cannot be decrypted"),
        "{other_request}"
    );
}

#[test]
fn an_answer_with_a_flipped_byte_is_refused() {
    let good = good();
    let collateral = evidence(Enclave::default(), &claims()).collateral;
    let collateral = collateral.expect("some").len();
    let sealed = 32 + 2 + parcel::pack(&key(), &KeyVersions::default()).len() + 16;
    // The collateral has bytes without a meaning, such as spaces; it is tested as such.
    let after_claims = good.len() - sealed - collateral;
    let parts = (0..after_claims)
        .step_by(7)
        .chain(good.len() - sealed..good.len());
    for at in parts {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        assert!(opened(&flipped, NOW).is_err(), "byte {at}");
    }
    for length in (0..good.len()).step_by(101) {
        assert!(opened(&good[..length], NOW).is_err(), "{length} bytes");
    }
}
