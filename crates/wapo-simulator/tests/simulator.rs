//! The simulator against dcap-qvl, which knows nothing of it: a quote verifies under
//! the simulator's root, and each bad case is refused for its reason.

use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::quote::Report;
use dcap_qvl::verify::{QuoteVerifier, VerifiedReport};
use wapo_simulator::{
    COLLATERAL_LIFE_S, DEVELOPMENT_SEED, Enclave, Platform, PlatformLevel, Simulator,
};

/// 2026-06-01, in unix seconds.
const NOW_S: u64 = 1_780_272_000;
const DAY_S: u64 = 86_400;

fn simulator(enclave: Enclave, platform: Platform) -> Simulator {
    Simulator::new(&DEVELOPMENT_SEED, enclave, platform).expect("certificates")
}

fn collateral(simulator: &Simulator, now: u64) -> QuoteCollateralV3 {
    serde_json::from_str(&simulator.collateral(now).expect("a time")).expect("collateral")
}

fn verify(simulator: &Simulator, published: u64, now: u64) -> Result<VerifiedReport, String> {
    let collateral = collateral(simulator, published);
    QuoteVerifier::new(simulator.root().to_vec())
        .verify(&simulator.quote(&[7; 64]), &collateral, now)
        .map_err(|error| format!("{error:#}"))
}

fn refused(simulator: &Simulator, published: u64, now: u64, why: &str) {
    let error = verify(simulator, published, now).expect_err("a bad case");
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_quote_verifies_under_the_simulators_root_and_says_what_it_was_told() {
    let enclave = Enclave {
        measurement: [3; 32],
        signer: [4; 32],
        product_id: 5,
        svn: 6,
        debug: false,
    };
    let report =
        verify(&simulator(enclave, Platform::default()), NOW_S, NOW_S).expect("a good quote");
    assert_eq!(report.status, "UpToDate");
    let Report::SgxEnclave(body) = report.report else {
        panic!("{:?}", report.report)
    };
    assert_eq!(body.report_data, [7; 64]);
    assert_eq!((body.mr_enclave, body.mr_signer), ([3; 32], [4; 32]));
    assert_eq!((body.isv_prod_id, body.isv_svn), (5, 6));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_another_root() {
    let first = simulator(Enclave::default(), Platform::default());
    let again = simulator(Enclave::default(), Platform::default());
    assert_eq!(first.quote(&[1; 64]), again.quote(&[1; 64]));
    assert_eq!(
        first.collateral(NOW_S).expect("a time"),
        again.collateral(NOW_S).expect("a time")
    );
    let other =
        Simulator::new(&[9; 32], Enclave::default(), Platform::default()).expect("certificates");
    assert_ne!(first.root(), other.root());
}

#[test]
fn quotes_of_the_simulator_do_not_verify_under_intels_root() {
    let simulator = simulator(Enclave::default(), Platform::default());
    let collateral = collateral(&simulator, NOW_S);
    assert!(
        QuoteVerifier::new_prod()
            .verify(&simulator.quote(&[7; 64]), &collateral, NOW_S)
            .is_err()
    );
}

#[test]
fn collateral_counts_from_its_date_to_its_next() {
    let simulator = simulator(Enclave::default(), Platform::default());
    verify(&simulator, NOW_S, NOW_S + COLLATERAL_LIFE_S - 1).expect("the last second");
    refused(&simulator, NOW_S + DAY_S, NOW_S, "future");
    assert!(verify(&simulator, NOW_S, NOW_S + COLLATERAL_LIFE_S + 1).is_err());
    assert!(simulator.collateral(u64::MAX).is_err());
}

#[test]
fn bad_enclaves_and_platforms_are_refused_or_shown() {
    let debug = Enclave {
        debug: true,
        ..Enclave::default()
    };
    refused(
        &simulator(debug, Platform::default()),
        NOW_S,
        NOW_S,
        "Debug",
    );
    let at = |level, pck_revoked| {
        let platform = Platform { level, pck_revoked };
        simulator(Enclave::default(), platform)
    };
    refused(
        &at(PlatformLevel::Current, true),
        NOW_S,
        NOW_S,
        "CertRevoked",
    );
    refused(&at(PlatformLevel::Revoked, false), NOW_S, NOW_S, "Revoked");
    let status = |level| {
        let report = verify(&at(level, false), NOW_S, NOW_S).expect("a quote");
        (report.status, report.advisory_ids.len())
    };
    assert_eq!(
        status(PlatformLevel::OutOfDate),
        ("OutOfDate".to_owned(), 2)
    );
    assert_eq!(
        status(PlatformLevel::HardeningNeeded),
        ("SWHardeningNeeded".to_owned(), 1)
    );
}
