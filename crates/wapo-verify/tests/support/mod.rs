//! What the tests of verifications share: vectors, simulated evidence, and questions to
//! verdicts.

#![allow(
    dead_code,
    reason = "each binary of tests uses a part of what they share"
)]

use std::sync::LazyLock;

use parity_scale_codec::Encode as _;
use wapo_crypto::{ContentType, WorkerKey, report_data};
use wapo_rpc::AppAddress;
use wapo_rpc::statement::{
    AppClaims, AppEvidence, AppLimits, Bounded, Quote, WorkerClaims, WorkerEvidence,
};
use wapo_simulator::{DEVELOPMENT_SEED, Enclave, Platform, Simulator};
use wapo_verify::{Context, Outcome, Policy, Roots, Verdict};

/// 2026-06-01, in unix seconds.
pub(crate) const NOW_S: u64 = 1_780_272_000;
pub(crate) const DAY_S: u64 = 86_400;
pub(crate) const NONCE: [u8; 32] = [0x4e; 32];

/// Quote, collateral or certificates, and a time at which these count.
pub(crate) type Vector<'a> = (&'a [u8], &'a [u8], u64);

/// What a package publishes.
pub(crate) struct Published {
    quote: Vec<u8>,
    beside: Vec<u8>,
    now: u64,
}

impl Published {
    pub(crate) fn vector(&self) -> Vector<'_> {
        (&self.quote, &self.beside, self.now)
    }
}

macro_rules! published {
    ($(#[doc = $doc:literal])* $name:ident, $quote:literal, $beside:expr, $now:expr) => {
        $(#[doc = $doc])*
        pub(crate) static $name: LazyLock<Published> = LazyLock::new(|| Published {
            quote: hex(include_str!(concat!("../vectors/", $quote, ".hex"))),
            beside: $beside,
            now: $now,
        });
    };
}

macro_rules! text {
    ($name:literal) => {
        include_bytes!(concat!("../vectors/", $name, ".json")).to_vec()
    };
}

published! {
    /// SGX, 2025-06-20.
    SGX, "sgx_quote", text!("sgx_quote_collateral"), 1_750_400_000
}
published! {
    /// TDX, 2025-06-20.
    TDX, "tdx_quote", text!("tdx_quote_collateral"), 1_750_400_000
}
published! {
    /// TDX of a platform that is out of date, 2026-02-20.
    TDX_OUTDATED, "tdx_quote_outdated", text!("tdx_quote_outdated_collateral"), 1_771_600_000
}
published! {
    /// TDX with the longest report, 2026-10-10.
    TDX_LONG, "tdx_quote_td15ex", text!("tdx_quote_td15ex_collateral"), 1_791_600_000
}
published! {
    /// SEV-SNP: report and certificate of the chip, 2026-06-01.
    SNP, "snp_milan_report", hex(include_str!("../vectors/snp_milan_vcek.hex")), NOW_S
}

/// The certificate of another chip.
pub(crate) fn other_chip() -> Vec<u8> {
    hex(include_str!("../vectors/snp_turin_vcek.hex"))
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    hex::decode(digits).expect("hex digits")
}

/// A context with the default roots.
pub(crate) fn context<'a>(now: u64, roots: &'a Roots, policy: &'a Policy) -> Context<'a> {
    Context {
        now,
        roots,
        policy,
        nonce: None,
    }
}

/// A policy from JSON.
pub(crate) fn policy(json: &str) -> Policy {
    serde_json::from_str(json).expect("a policy")
}

/// A policy that lets the simulator count.
pub(crate) fn accepting() -> Policy {
    Policy {
        accept_simulator: true,
        ..Policy::default()
    }
}

/// How a check ended, and what it says.
pub(crate) fn check<'a>(verdict: &'a Verdict, name: &str) -> (Outcome, &'a str) {
    let found = verdict.checks.iter().find(|check| check.name == name);
    let found = found.unwrap_or_else(|| panic!("no check {name} in {verdict:#?}"));
    (found.outcome, &found.detail)
}

/// Asserts that exactly this check failed, for this reason.
pub(crate) fn only_failure(verdict: &Verdict, name: &str, says: &str) {
    let failed: Vec<_> = verdict.failures().collect();
    let [failed] = failed.as_slice() else {
        panic!("one failure, not {failed:#?}");
    };
    assert_eq!(failed.name, name, "{failed:?}");
    assert!(failed.detail.contains(says), "{failed:?}");
    assert!(!verdict.is_good());
}

pub(crate) fn simulator(enclave: Enclave, platform: Platform) -> Simulator {
    Simulator::new(&DEVELOPMENT_SEED, enclave, platform).expect("certificates")
}

pub(crate) fn default_simulator() -> Simulator {
    simulator(Enclave::default(), Platform::default())
}

pub(crate) fn worker_key() -> WorkerKey {
    WorkerKey::from_seed([1; 32])
}

pub(crate) fn worker_claims() -> WorkerClaims {
    WorkerClaims {
        version: WorkerClaims::VERSION,
        pubkey: worker_key().public(),
        query_pubkey: [3; 32],
        answer_pubkey: [4; 91].into(),
        session: [5; 32],
        software: Bounded::new("wapod 1.0.0".into()).expect("short"),
        host_controlled: Bounded::new(vec![Bounded::new("pccs".into()).expect("short")])
            .expect("one"),
        key_version: 1,
        issued_at: NOW_S,
        expires_at: NOW_S + DAY_S,
        nonce: NONCE.into(),
    }
}

pub(crate) fn app_claims() -> AppClaims {
    AppClaims {
        version: AppClaims::VERSION,
        worker: worker_key().public(),
        worker_session: [5; 32],
        address: AppAddress([7; 32]),
        deployment: [8; 32],
        code_hash: Bounded::new("sha256:00".into()).expect("short"),
        args: Bounded::new(vec![Bounded::new("-a".into()).expect("short")]).expect("one"),
        env_hash: [9; 32],
        label: Bounded::new("hello".into()).expect("short"),
        limits: AppLimits {
            memory_bytes: 1 << 20,
            instances: 2,
            gas_max: 0,
        },
        key_version: 1,
        app_pubkey: [6; 91].into(),
        issued_at: NOW_S,
        expires_at: NOW_S + 3600,
        nonce: NONCE.into(),
    }
}

/// Evidence over claims, by a simulator, with its collateral of [`NOW_S`].
pub(crate) fn worker_evidence(simulator: &Simulator, claims: &WorkerClaims) -> WorkerEvidence {
    let claims = claims.encode();
    let quote = simulator.quote(&report_data::for_worker_claims(&claims));
    let collateral = simulator.collateral(NOW_S).expect("a time").into_bytes();
    WorkerEvidence {
        quote: Quote::Simulator(Bounded::new(quote).expect("short")),
        claims: Bounded::new(claims).expect("short"),
        collateral: Some(Bounded::new(collateral).expect("short")),
    }
}

/// Evidence of an app, signed by [`worker_key`].
pub(crate) fn app_evidence(worker: WorkerEvidence, claims: &AppClaims) -> AppEvidence {
    let claims = claims.encode();
    let signature = worker_key().sign(ContentType::AppEvidence, &claims, [0; 32]);
    AppEvidence {
        worker,
        claims: Bounded::new(claims).expect("short"),
        signature: signature.into(),
    }
}
