//! Every byte counts: what is changed, cut or hidden in a quote, in certificates or in
//! evidence is refused.

mod support;

use parity_scale_codec::{Decode as _, Encode as _};
use support::*;
use wapo_rpc::statement::{AppEvidence, Bounded, Quote, WorkerEvidence, decode};
use wapo_verify::quote::{recognise, verify};
use wapo_verify::{Policy, Roots, app, worker};

/// One bit of each byte would do; which bit differs from byte to byte, so that each place
/// in a byte has its turn.
fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1 << (at % 8);
    changed
}

/// Whether a quote verifies under the label that it has.
fn is_good(like: &Quote, bytes: Vec<u8>, vector: Vector<'_>, policy: &Policy) -> bool {
    let roots = Roots::default();
    let bytes = Bounded::new(bytes).expect("short");
    let quote = match like {
        Quote::Sgx(_) => Quote::Sgx(bytes),
        Quote::Tdx(_) => Quote::Tdx(bytes),
        Quote::Simulator(_) => Quote::Simulator(bytes),
        Quote::SevSnp { certificates, .. } => Quote::SevSnp {
            report: bytes,
            certificates: certificates.clone(),
        },
    };
    let quoted = verify(&quote, Some(vector.1), &context(vector.2, &roots, policy));
    // Nothing is said of the content of a quote whose signatures are not good.
    assert!(quoted.report_data.is_some() || !quoted.verdict.is_good());
    quoted.verdict.is_good()
}

/// Asserts that a quote is good as it is, and with no byte changed.
fn every_byte_counts(vector: Vector<'_>, policy: &Policy) {
    let like = recognise(vector.0, vector.1, &Roots::default()).expect("a quote");
    assert!(is_good(&like, vector.0.to_vec(), vector, policy));
    for at in 0..vector.0.len() {
        let changed = flipped(vector.0, at);
        assert!(!is_good(&like, changed, vector, policy), "byte {at}");
    }
}

fn anything() -> Policy {
    policy(
        r#"{"accept_simulator":true,
            "tcb":["UpToDate","SWHardeningNeeded","ConfigurationNeeded","ConfigurationAndSWHardeningNeeded",
                   "OutOfDate","OutOfDateConfigurationNeeded"],
            "advisories":["INTEL-SA-00289","INTEL-SA-00615"]}"#,
    )
}

#[test]
fn every_byte_of_an_sgx_quote_counts() {
    every_byte_counts(SGX.vector(), &anything());
}

#[test]
fn every_byte_of_a_tdx_quote_counts() {
    every_byte_counts(TDX.vector(), &anything());
}

#[test]
fn every_byte_of_an_snp_report_counts() {
    every_byte_counts(SNP.vector(), &anything());
}

#[test]
fn every_byte_of_a_chips_certificates_counts() {
    let milan = &Roots::default().amd[0];
    let chain = [SNP.vector().1, &milan.authority, &milan.root].concat();
    let roots = Roots::default();
    let none = Policy::default();
    let is_good = |certificates: &[u8]| {
        let quote = recognise(SNP.vector().0, certificates, &roots).expect("a report");
        verify(&quote, None, &context(SNP.vector().2, &roots, &none))
            .verdict
            .is_good()
    };
    assert!(is_good(&chain));
    for at in 0..chain.len() {
        assert!(!is_good(&flipped(&chain, at)), "byte {at}");
    }
}

#[test]
fn quotes_that_end_early_or_go_on_are_refused() {
    let policy = anything();
    for vector in [SGX.vector(), TDX.vector(), TDX_LONG.vector(), SNP.vector()] {
        let like = recognise(vector.0, vector.1, &Roots::default()).expect("a quote");
        let quote = vector.0;
        // A quote that stands in a fixed room ends where its zeros begin.
        let content = quote.iter().rposition(|byte| *byte != 0).expect("content") + 1;
        for length in (0..content - 1).step_by(37).chain([content - 2]) {
            let cut = quote[..length].to_vec();
            assert!(!is_good(&like, cut, vector, &policy), "{length} bytes");
        }
        let longer = [quote, b"x"].concat();
        assert!(!is_good(&like, longer, vector, &policy));
    }
}

#[test]
fn every_byte_of_collateral_that_is_used_counts() {
    let simulator = default_simulator();
    let roots = Roots::default();
    let policy = accepting();
    let quote = recognise(&simulator.quote(&[7; 64]), &[], &roots).expect("a quote");
    let text = simulator.collateral(NOW_S).expect("a time");
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let is_good = |value: &serde_json::Value| {
        let text = value.to_string();
        let context = context(NOW_S, &roots, &policy);
        verify(&quote, Some(text.as_bytes()), &context)
            .verdict
            .is_good()
    };
    assert!(is_good(&parsed));
    for part in [
        "tcb_info",
        "tcb_info_signature",
        "qe_identity",
        "qe_identity_signature",
        "pck_crl",
        "root_ca_crl",
    ] {
        let original = parsed[part].as_str().expect("text");
        for at in 0..original.len() {
            let mut changed = original.as_bytes().to_vec();
            // Another digit where there are digits, in the same case where it is hex.
            changed[at] = match changed[at] {
                b'0' => b'1',
                digit if digit.is_ascii_digit() => b'0',
                b'a' => b'b',
                letter if letter.is_ascii_lowercase() => b'a',
                other => other ^ 1,
            };
            let mut value = parsed.clone();
            value[part] = String::from_utf8(changed).expect("ASCII").into();
            assert!(!is_good(&value), "{part}, byte {at}");
        }
    }
}

#[test]
fn every_byte_of_evidence_counts() {
    let simulator = default_simulator();
    let worker = worker_evidence(&simulator, &worker_claims());
    let collateral = worker.collateral.clone().expect("collateral");
    let without = WorkerEvidence {
        collateral: None,
        ..worker
    };
    let evidence = app_evidence(without, &app_claims());
    let roots = Roots::default();
    let policy = accepting();
    let context = wapo_verify::Context {
        nonce: Some(&NONCE),
        ..context(NOW_S, &roots, &policy)
    };
    let is_good = |bytes: &[u8]| {
        decode::<AppEvidence>(bytes).is_ok_and(|evidence| {
            app::verify(&evidence, Some(&collateral), None, None, &context)
                .verdict
                .is_good()
        })
    };
    let bytes = evidence.encode();
    assert!(is_good(&bytes));
    for at in 0..bytes.len() {
        assert!(!is_good(&flipped(&bytes, at)), "byte {at}");
    }
    for length in (0..bytes.len()).step_by(41) {
        assert!(!is_good(&bytes[..length]), "{length} bytes");
    }
    assert!(!is_good(&[bytes.as_slice(), &[0]].concat()));
}

#[test]
fn hostile_inputs_are_refused_without_much_work() {
    let roots = Roots::default();
    let policy = anything();
    let context = context(SGX.vector().2, &roots, &policy);
    let sgx = recognise(SGX.vector().0, &[], &roots).expect("a quote");
    let deep = "[".repeat(100_000);
    let mut inside: serde_json::Value = serde_json::from_slice(SGX.vector().1).expect("JSON");
    inside["tcb_info"] = "[".repeat(50_000).into();
    let deep_inside = inside.to_string();
    let huge = vec![b' '; 300 * 1024];
    for collateral in [
        deep.as_bytes(),
        deep_inside.as_bytes(),
        &huge,
        b"",
        b"{}",
        b"\xff",
    ] {
        let verdict = verify(&sgx, Some(collateral), &context).verdict;
        assert_eq!(verdict.failures().count(), 1, "{verdict:#?}");
        assert_eq!(
            verdict.failures().next().map(|check| check.name),
            Some("quote.collateral")
        );
    }
    for bytes in [
        &[][..],
        &[3, 0, 2, 0, 0, 0, 0, 0],
        &[0xff; 1184],
        &vec![3; 40_000],
    ] {
        match recognise(bytes, &[], &roots) {
            Err(_) => {}
            Ok(quote) => assert!(
                !verify(&quote, Some(SGX.vector().1), &context)
                    .verdict
                    .is_good()
            ),
        }
    }
    // Lengths that lie.
    let mut lie = SGX.vector().0.to_vec();
    lie[432..436].copy_from_slice(&u32::MAX.to_le_bytes());
    let lie = recognise(&lie, &[], &roots).expect("a quote by its head");
    assert!(
        !verify(&lie, Some(SGX.vector().1), &context)
            .verdict
            .is_good()
    );
    let evidence = [&[0][..], &[0xff; 64]].concat();
    assert!(WorkerEvidence::decode(&mut evidence.as_slice()).is_err());
    assert!(app::from_certificate(&vec![0x30; app::CERTIFICATE_BYTES_MAX + 1]).is_err());
    for bytes in [
        &b""[..],
        b"\x30\x80",
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        SNP.vector().1,
    ] {
        assert!(app::from_certificate(bytes).is_err());
    }
}

#[test]
fn a_quote_of_another_enclave_with_the_right_report_data_is_not_the_right_program() {
    let roots = Roots::default();
    let mine = "00".repeat(32);
    let policy = policy(&format!(
        r#"{{"accept_simulator":true,"sgx":[{{"measurement":"{mine}"}}]}}"#
    ));
    let evidence = worker_evidence(&default_simulator(), &worker_claims());
    let verified = worker::verify(&evidence, None, &context(NOW_S, &roots, &policy));
    only_failure(&verified.verdict, "quote.program", "no entry");
}
