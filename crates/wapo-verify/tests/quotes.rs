//! Quotes: real ones that packages publish, and those of the simulator for what nobody
//! publishes. The good ones verify, and each bad one is refused for its reason.

mod support;

use support::*;
use wapo_rpc::statement::{Bounded, Quote};
use wapo_simulator::{COLLATERAL_LIFE_S, Enclave, Platform, PlatformLevel, Simulator};
use wapo_verify::quote::{Quoted, recognise, verify};
use wapo_verify::{Outcome, Policy, Roots, Verdict};

/// What the published SGX quote needs.
const SGX_POLICY: &str = r#"{"tcb":["ConfigurationAndSWHardeningNeeded"],"advisories":["INTEL-SA-00289","INTEL-SA-00615"]}"#;

fn run((quote, beside, now): Vector<'_>, policy: &Policy) -> Quoted {
    let roots = Roots::default();
    let quote = recognise(quote, beside, &roots).expect("a quote");
    verify(&quote, Some(beside), &context(now, &roots, policy))
}

fn simulated(simulator: &Simulator, published: u64, policy: &Policy) -> Quoted {
    let roots = Roots::default();
    let quote = recognise(&simulator.quote(&[7; 64]), &[], &roots).expect("a quote");
    assert!(matches!(quote, Quote::Simulator(_)));
    let collateral = simulator.collateral(published).expect("a time");
    let context = context(NOW_S, &roots, policy);
    verify(&quote, Some(collateral.as_bytes()), &context)
}

#[test]
fn published_quotes_of_sgx_tdx_and_snp_verify_offline() {
    for (vector, policy) in [
        (SGX.vector(), policy(SGX_POLICY)),
        (TDX.vector(), Policy::default()),
        (TDX_LONG.vector(), Policy::default()),
        (SNP.vector(), Policy::default()),
    ] {
        let quoted = run(vector, &policy);
        assert!(quoted.verdict.is_good(), "{:#?}", quoted.verdict);
        assert!(quoted.report_data.is_some());
        let program = check(&quoted.verdict, "quote.program");
        assert_eq!(program.0, Outcome::Noted);
        assert!(program.1.contains("ANY program passes"), "{}", program.1);
    }
}

#[test]
fn a_platform_that_is_not_up_to_date_is_refused_unless_the_policy_says_so() {
    let strict = run(SGX.vector(), &Policy::default());
    let (outcome, detail) = check(&strict.verdict, "quote.tcb");
    assert_eq!(outcome, Outcome::Failed);
    assert!(
        detail.contains("ConfigurationAndSWHardeningNeeded"),
        "{detail}"
    );
    let outdated = run(TDX_OUTDATED.vector(), &Policy::default());
    only_failure(
        &outdated.verdict,
        "quote.tcb",
        "older than anything the maker vouches for",
    );
    // The state alone is not enough: what the platform is subject to is accepted by name.
    let half = run(
        SGX.vector(),
        &policy(r#"{"tcb":["ConfigurationAndSWHardeningNeeded"],"advisories":["INTEL-SA-00289"]}"#),
    );
    only_failure(&half.verdict, "quote.advisories", "INTEL-SA-00615");
}

#[test]
fn collateral_that_is_expired_of_the_future_or_of_others_is_refused() {
    let none = Policy::default();
    let (quote, collateral, now) = TDX.vector();
    let late = run((quote, collateral, now + 60 * DAY_S), &none);
    only_failure(&late.verdict, "quote.collateral", "too old");
    let early = run((quote, collateral, now - 60 * DAY_S), &none);
    only_failure(&early.verdict, "quote.collateral", "of the future");
    let other = run(
        (quote, TDX_OUTDATED.vector().1, TDX_OUTDATED.vector().2),
        &none,
    );
    assert!(!other.verdict.is_good());
    let of_sgx = run((quote, SGX.vector().1, SGX.vector().2), &none);
    assert!(!of_sgx.verdict.is_good());
    let roots = Roots::default();
    let quote = recognise(quote, &[], &roots).expect("a quote");
    let without = verify(&quote, None, &context(now, &roots, &none));
    only_failure(&without.verdict, "quote.collateral", "no collateral");
}

#[test]
fn an_untrusted_root_is_refused() {
    let roots = Roots {
        intel: default_simulator().root().to_vec(),
        simulator: Vec::new(),
        ..Roots::default()
    };
    let quote = recognise(TDX.vector().0, &[], &roots).expect("a quote");
    let none = Policy::default();
    let quoted = verify(
        &quote,
        Some(TDX.vector().1),
        &context(TDX.vector().2, &roots, &none),
    );
    only_failure(
        &quoted.verdict,
        "quote.form",
        "do not end in the maker's root",
    );
    let roots = Roots {
        amd: Vec::new(),
        ..Roots::default()
    };
    let quote = recognise(SNP.vector().0, SNP.vector().1, &roots).expect("a report");
    let quoted = verify(&quote, None, &context(SNP.vector().2, &roots, &none));
    only_failure(&quoted.verdict, "quote.signature", "do not lead to a root");
}

#[test]
fn the_simulator_counts_only_when_it_is_accepted() {
    let simulator = default_simulator();
    let refused = simulated(&simulator, NOW_S, &Policy::default());
    only_failure(
        &refused.verdict,
        "quote.kind",
        "no hardware stands behind it",
    );
    assert_eq!(refused.report_data, None);
    let accepted = simulated(&simulator, NOW_S, &accepting());
    assert!(accepted.verdict.is_good(), "{:#?}", accepted.verdict);
    assert_eq!(accepted.report_data, Some([7; 64]));
    let (outcome, detail) = check(&accepted.verdict, "quote.kind");
    assert_eq!(outcome, Outcome::Noted);
    assert!(detail.contains("NO HARDWARE"), "{detail}");
}

#[test]
fn the_simulators_quote_presented_as_that_of_hardware_is_refused() {
    let simulator = default_simulator();
    let roots = Roots::default();
    let collateral = simulator.collateral(NOW_S).expect("a time");
    let bytes = || Bounded::new(simulator.quote(&[7; 64])).expect("short");
    // Even where the simulator would count: the label is a lie.
    for policy in [Policy::default(), accepting()] {
        for quote in [Quote::Sgx(bytes()), Quote::Tdx(bytes())] {
            let context = context(NOW_S, &roots, &policy);
            let quoted = verify(&quote, Some(collateral.as_bytes()), &context);
            only_failure(
                &quoted.verdict,
                "quote.signature",
                "pretends to be of hardware",
            );
            assert_eq!(quoted.report_data, None);
        }
    }
    // A simulator of another seed is nobody's.
    let other = Simulator::new(&[9; 32], Enclave::default(), Platform::default());
    let other = other.expect("certificates");
    let quote = Quote::Simulator(Bounded::new(other.quote(&[7; 64])).expect("short"));
    let collateral = other.collateral(NOW_S).expect("a time");
    let policy = accepting();
    let context = context(NOW_S, &roots, &policy);
    let quoted = verify(&quote, Some(collateral.as_bytes()), &context);
    only_failure(
        &quoted.verdict,
        "quote.form",
        "do not end in the maker's root",
    );
}

#[test]
fn a_quote_under_the_wrong_label_is_refused() {
    let roots = Roots::default();
    let policy = policy(SGX_POLICY);
    let bytes = |quote: &[u8]| Bounded::new(quote.to_vec()).expect("short");
    for (quote, vector) in [
        (Quote::Tdx(bytes(SGX.vector().0)), SGX.vector()),
        (Quote::Sgx(bytes(TDX.vector().0)), TDX.vector()),
    ] {
        let quoted = verify(&quote, Some(vector.1), &context(vector.2, &roots, &policy));
        only_failure(&quoted.verdict, "quote.form", "as it is labelled");
    }
}

#[test]
fn debug_mode_and_revoked_platforms_are_refused() {
    let debug = Enclave {
        debug: true,
        ..Enclave::default()
    };
    let debug = simulated(&simulator(debug, Platform::default()), NOW_S, &accepting());
    only_failure(&debug.verdict, "quote.debug", "debug mode");
    let on = |level, pck_revoked| {
        let platform = Platform { level, pck_revoked };
        let simulator = simulator(Enclave::default(), platform);
        simulated(&simulator, NOW_S, &accepting()).verdict
    };
    only_failure(
        &on(PlatformLevel::Current, true),
        "quote.revocation",
        "revoked",
    );
    only_failure(&on(PlatformLevel::Revoked, false), "quote.tcb", "Revoked");
    let outdated = on(PlatformLevel::OutOfDate, false);
    assert_eq!(check(&outdated, "quote.tcb").0, Outcome::Failed);
    assert_eq!(check(&outdated, "quote.advisories").0, Outcome::Failed);
}

#[test]
fn simulated_collateral_counts_within_its_dates() {
    let simulator = default_simulator();
    let of = |published| simulated(&simulator, published, &accepting()).verdict;
    only_failure(&of(NOW_S + DAY_S), "quote.collateral", "of the future");
    only_failure(
        &of(NOW_S - COLLATERAL_LIFE_S - DAY_S),
        "quote.collateral",
        "too old",
    );
    assert!(of(NOW_S - COLLATERAL_LIFE_S + DAY_S).is_good());
}

#[test]
fn programs_count_by_what_the_policy_lists() {
    let enclave = Enclave {
        measurement: [1; 32],
        signer: [2; 32],
        product_id: 3,
        svn: 4,
        debug: false,
    };
    let simulator = simulator(enclave, Platform::default());
    let with = |program: &str| {
        let json = format!(r#"{{"accept_simulator":true,{program}}}"#);
        simulated(&simulator, NOW_S, &policy(&json)).verdict
    };
    let (one, two) = ("01".repeat(32), "02".repeat(32));
    for good in [
        format!(r#""sgx":[{{"measurement":"{one}"}}]"#),
        format!(
            r#""sgx":[{{"measurement":"{two}"}},{{"signer":"0x{two}","product_id":3,"svn_min":4}}]"#
        ),
    ] {
        let verdict = with(&good);
        assert_eq!(
            check(&verdict, "quote.program").0,
            Outcome::Passed,
            "{good}"
        );
        assert!(verdict.is_good());
    }
    for bad in [
        format!(r#""sgx":[{{"measurement":"{two}"}}]"#),
        format!(r#""sgx":[{{"signer":"{two}","product_id":4}}]"#),
        format!(r#""sgx":[{{"signer":"{two}","svn_min":5}}]"#),
        // Programs of other hardware do not open it for all of this one.
        format!(r#""tdx":[{{"mrtd":"{}"}}]"#, "00".repeat(48)),
    ] {
        only_failure(
            &with(&bad),
            "quote.program",
            "no entry of the policy's `sgx`",
        );
    }
}

#[test]
fn machines_count_by_what_the_policy_lists() {
    let tdx = run(TDX.vector(), &Policy::default());
    let (outcome, detail) = check(&tdx.verdict, "quote.platform");
    assert_eq!(outcome, Outcome::Noted);
    let id = detail
        .split([' ', ';'])
        .nth(1)
        .expect("an identifier")
        .to_owned();
    let with = |json: String| run(TDX.vector(), &policy(&json)).verdict;
    let listed = with(format!(r#"{{"platforms":["{id}"]}}"#));
    assert_eq!(check(&listed, "quote.platform").0, Outcome::Passed);
    let other = with(r#"{"platforms":["00"]}"#.to_owned());
    only_failure(&other, "quote.platform", "`platforms`");
    only_failure(
        &with(r#"{"hardware":["sgx","sev-snp"]}"#.to_owned()),
        "quote.kind",
        "does not list",
    );
    let zero = "00".repeat(48);
    let machine = with(format!(
        r#"{{"tdx":[{{"rtmr3":"{zero}"}},{{"mrtd":"{zero}"}}]}}"#
    ));
    assert!(
        machine.is_good()
            == check(&machine, "quote.program")
                .1
                .contains(&format!("rtmr3 {zero}"))
    );
}

#[test]
fn snp_reports_need_the_right_chip_versions_and_mode() {
    let with = |json: &str| run(SNP.vector(), &policy(json)).verdict;
    let good = with(r#"{"sev_snp":[{"bootloader_min":3,"snp_min":8,"microcode_min":115}]}"#);
    assert!(good.is_good(), "{good:#?}");
    let names = |verdict: &Verdict| {
        verdict
            .checks
            .iter()
            .map(|one| one.name)
            .collect::<Vec<_>>()
    };
    assert!(!names(&good).contains(&"quote.tcb"), "they are demanded");
    assert_eq!(check(&good, "quote.migration").0, Outcome::Passed);
    let any = with("{}");
    let (outcome, detail) = check(&any, "quote.tcb");
    assert_eq!(outcome, Outcome::Noted);
    assert!(detail.contains("microcode 115; ANY versions"), "{detail}");
    only_failure(
        &with(r#"{"sev_snp":[{"microcode_min":116}]}"#),
        "quote.program",
        "microcode 115",
    );
    let none = Policy::default();
    let other = run((SNP.vector().0, &other_chip(), SNP.vector().2), &none);
    only_failure(&other.verdict, "quote.signature", "not signed by the key");
    let without = run((SNP.vector().0, &[], SNP.vector().2), &none);
    only_failure(&without.verdict, "quote.signature", "no certificates");
    let late = run((SNP.vector().0, SNP.vector().1, 2_000_000_000), &none);
    only_failure(&late.verdict, "quote.signature", "expired");
    // With the authority and the root beside it, all of which have to be the right ones.
    let amd = &Roots::default().amd;
    let chain = |authority: &[u8], root: &[u8]| [SNP.vector().1, authority, root].concat();
    let (milan, genoa) = (&amd[0], &amd[1]);
    for (certificates, is_good) in [
        (chain(&milan.authority, &milan.root), true),
        (chain(&milan.authority, &[]), true),
        (chain(&genoa.authority, &[]), false),
        (chain(&milan.authority, &genoa.root), false),
        (chain(&milan.root, &milan.root), false),
        (
            [
                SNP.vector().1,
                SNP.vector().1,
                SNP.vector().1,
                SNP.vector().1,
            ]
            .concat(),
            false,
        ),
        ([SNP.vector().1, &[0x30]].concat(), false),
    ] {
        let roots = Roots::default();
        let quote = recognise(SNP.vector().0, &certificates, &roots).expect("a report");
        let verdict = verify(&quote, None, &context(SNP.vector().2, &roots, &none)).verdict;
        assert_eq!(verdict.is_good(), is_good, "{verdict:#?}");
    }
}
