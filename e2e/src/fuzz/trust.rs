//! Fuzz targets of what a verifier reads: quotes, evidence, certificates. All of it is a
//! stranger's, and nothing but what was really signed may be found good.

use std::sync::LazyLock;

use wapo_rpc::statement::{self, AppEvidence, KeyHandover, KeyRequest, WorkerEvidence};
use wapo_simulator::{DEVELOPMENT_SEED, Enclave, Platform, Simulator};
use wapo_verify::collateral::Plan;
use wapo_verify::{Context, Policy, Roots, app, quote};

use super::{Target, scale};

/// A time at which the published quotes count, and one of the evidence's.
const QUOTES_NOW_S: u64 = 1_750_400_000;
const EVIDENCE_NOW_S: u64 = 1_780_272_060;

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../../../crates/wapo-verify/tests/vectors/", $name))
    };
}

/// What Intel says about the platform of the published quote of SGX.
const SGX_COLLATERAL: &str = vector!("sgx_quote_collateral.json");
/// The platform is not up to date, and its quote good only with this policy.
const SGX_POLICY: &str = r#"{
    "tcb": ["UpToDate", "ConfigurationAndSWHardeningNeeded"],
    "advisories": ["INTEL-SA-00289", "INTEL-SA-00615"]
}"#;

/// A quote is good when it is one of the two that were published, to the bit.
pub(super) fn quote(bytes: &[u8]) {
    static CHIP: LazyLock<Vec<u8>> = LazyLock::new(|| from_hex(vector!("snp_milan_vcek.hex")));
    static PUBLISHED: LazyLock<[Vec<u8>; 2]> =
        LazyLock::new(|| [vector!("sgx_quote.hex"), vector!("snp_milan_report.hex")].map(from_hex));
    static POLICY: LazyLock<Policy> =
        LazyLock::new(|| serde_json::from_str(SGX_POLICY).expect("a policy"));

    if let Ok(plan) = Plan::of(bytes) {
        let urls = plan.requests("https://pccs").map(|request| request.url);
        let is_plain = |url: &String| url.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(urls.iter().all(is_plain), "{urls:?}");
    }
    let roots = Roots::default();
    let Ok(read) = quote::recognise(bytes, &CHIP, &roots) else {
        return;
    };
    let context = Context {
        now: QUOTES_NOW_S,
        roots: &roots,
        policy: &POLICY,
        nonce: None,
    };
    let verdict = quote::verify(&read, Some(SGX_COLLATERAL.as_bytes()), &context).verdict;
    let was_published = PUBLISHED.iter().any(|one| one == bytes);
    assert_eq!(verdict.is_good(), was_published, "{verdict:?}");
}

/// Evidence has one encoding, and is good when it is the seed's; only the collateral
/// beside it, which counts where a verifier has none, may be another.
pub(super) fn evidence(bytes: &[u8]) {
    static SIGNED: LazyLock<AppEvidence> = LazyLock::new(|| {
        let target = Target::named("evidence").expect("a target");
        let mut seeds = target.seeds().into_iter();
        let seed = seeds.find(|(name, _)| name == "app.hex").expect("a seed");
        statement::decode(&seed.1).expect("evidence")
    });

    scale::<WorkerEvidence>(bytes);
    scale::<AppEvidence>(bytes);
    scale::<KeyRequest>(bytes);
    scale::<KeyHandover>(bytes);
    if let Ok(carried) = app::from_certificate(bytes) {
        assert!(!is_good(&carried.evidence, Some(&carried.key)), "no app");
    }
    if let Ok(mut evidence) = statement::decode::<AppEvidence>(bytes) {
        let is_good = is_good(&evidence, None);
        evidence.worker.collateral = None;
        assert_eq!(is_good, evidence == *SIGNED, "{evidence:?}");
    }
}

fn is_good(evidence: &AppEvidence, key: Option<&[u8]>) -> bool {
    static COLLATERAL: LazyLock<String> = LazyLock::new(|| {
        let simulator = Simulator::new(&DEVELOPMENT_SEED, Enclave::default(), Platform::default());
        let simulator = simulator.expect("a simulator");
        simulator.collateral(EVIDENCE_NOW_S).expect("a time")
    });
    let (roots, policy) = (
        Roots::default(),
        Policy {
            accept_simulator: true,
            ..Policy::default()
        },
    );
    let context = Context {
        now: EVIDENCE_NOW_S,
        roots: &roots,
        policy: &policy,
        nonce: None,
    };
    let verified = app::verify(evidence, Some(COLLATERAL.as_bytes()), None, key, &context);
    verified.verdict.is_good()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    hex::decode(digits).expect("hex digits")
}
