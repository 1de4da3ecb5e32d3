//! The real sources against played hardware.

use std::sync::Arc;

use futures_util::future::join_all;

use wapo_crypto::report_data::REPORT_DATA_BYTES;
use wapo_rpc::statement::Quote;

use super::kernel::Played;
use super::source::ReportData;
use super::*;
use crate::limits::{GUEST_QUOTES_WAITING_MAX, STRANGER_QUOTES_WAITING_MAX};

/// A quote that is nothing but its report data at its place.
fn at<const PLACE: usize, const LENGTH: usize>(data: &[u8]) -> Vec<u8> {
    let mut quote = vec![0; LENGTH];
    quote[PLACE..PLACE + data.len()].copy_from_slice(data);
    quote
}

fn sgx(data: &[u8]) -> Vec<u8> {
    at::<368, 1000>(data)
}

fn tdx(data: &[u8]) -> Vec<u8> {
    let mut quote = at::<568, 5000>(data);
    quote[0] = 4;
    quote
}

fn snp(data: &[u8]) -> Vec<u8> {
    at::<0x50, 1184>(data)
}

fn auto(gramine: Option<&Played>, reports: Option<&Played>) -> AttestationSettings {
    let dir = |played: Option<&Played>| match played {
        Some(played) => played.dir().to_owned(),
        None => "/nonexistent".into(),
    };
    AttestationSettings {
        mode: AttestationMode::Auto,
        gramine_dir: dir(gramine),
        reports_dir: dir(reports),
        ..AttestationSettings::default()
    }
}

/// Waits until the played files are there.
async fn found(settings: &AttestationSettings) -> Quoter {
    for _ in 0..5000 {
        if let Some(quoter) = find(settings).expect("a thread").0 {
            return quoter;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("no source was found");
}

fn data(number: usize) -> ReportData {
    let mut data = [0; REPORT_DATA_BYTES];
    data[..8].copy_from_slice(&number.to_le_bytes());
    data
}

/// Many ask at once, and each gets what it asked for.
async fn nothing_is_mixed(quoter: Arc<Quoter>, make: fn(&[u8]) -> Quote) {
    let asked = (0..GUEST_QUOTES_WAITING_MAX).map(|number| {
        let quoter = Arc::clone(&quoter);
        tokio::spawn(async move { (number, quoter.quote(data(number), Asker::Guest).await) })
    });
    for outcome in join_all(asked).await {
        let (number, quote) = outcome.expect("no panic");
        assert_eq!(quote, Ok(make(&data(number))), "{number}");
    }
}

fn bytes<const MAX: usize>(content: Vec<u8>) -> wapo_rpc::statement::Bounded<Vec<u8>, MAX> {
    wapo_rpc::statement::Bounded::new(content).expect("short")
}

#[tokio::test]
async fn concurrent_quotes_of_an_enclave_never_mix_report_data() {
    let played = Played::gramine(sgx);
    let quoter = found(&auto(Some(&played), None)).await;
    assert_eq!(quoter.kind(), SourceKind::Sgx);
    nothing_is_mixed(Arc::new(quoter), |data| Quote::Sgx(bytes(sgx(data)))).await;
}

#[tokio::test]
async fn concurrent_quotes_of_a_confidential_machine_never_mix_report_data() {
    let played = Played::reports("tdx_guest", tdx, b"", 1);
    let quoter = found(&auto(None, Some(&played))).await;
    assert_eq!(quoter.kind(), SourceKind::Tdx);
    nothing_is_mixed(Arc::new(quoter), |data| Quote::Tdx(bytes(tdx(data)))).await;
    let left = std::fs::read_dir(played.dir()).expect("folder").count();
    assert_eq!(left, 0, "each folder is removed");
}

#[tokio::test]
async fn a_report_of_sev_snp_has_the_certificates_that_the_host_keeps() {
    // One entry, the end of the table, the certificate.
    const TABLE: &[u8] = b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd\x30\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0cert";
    let played = Played::reports("sev_guest", snp, TABLE, 1);
    let quoter = found(&auto(None, Some(&played))).await;
    assert_eq!(quoter.kind(), SourceKind::SevSnp);
    let expected = Quote::SevSnp {
        report: bytes(snp(&data(7))),
        certificates: bytes(b"cert".to_vec()),
    };
    assert_eq!(quoter.quote(data(7), Asker::Worker).await, Ok(expected));
}

#[tokio::test]
async fn a_report_into_whose_folder_somebody_else_wrote_is_refused() {
    let played = Played::reports("tdx_guest", tdx, b"", 2);
    let quoter = found(&auto(None, Some(&played))).await;
    let quote = quoter.quote(data(1), Asker::Worker).await;
    assert_eq!(quote, Err(QuoteError::Failed));
}

#[tokio::test]
async fn a_quote_with_the_report_data_of_somebody_else_or_without_any_is_refused() {
    for hardware in [
        (|_| sgx(&[9; 64])) as fn(&[u8]) -> Vec<u8>,
        |_| vec![0; 431],
        |_| vec![0; wapo_rpc::limits::QUOTE_BYTES_MAX + 1],
    ] {
        let played = Played::gramine(hardware);
        let quoter = found(&auto(Some(&played), None)).await;
        let quote = quoter.quote(data(1), Asker::Worker).await;
        assert_eq!(quote, Err(QuoteError::Failed));
    }
}

#[tokio::test]
async fn without_hardware_or_when_it_is_off_there_is_no_source() {
    assert!(find(&auto(None, None)).expect("looked").0.is_none());
    let off = AttestationSettings::default();
    assert!(find(&off).expect("not looked").0.is_none());
    let unknown = Played::reports("arm_cca_guest", tdx, b"", 1);
    let found = find(&auto(None, Some(&unknown))).expect("looked");
    assert!(found.0.is_none());
    let none = tempfile::tempdir().expect("folder");
    std::fs::write(none.path().join("attestation_type"), "none").expect("written");
    let settings = AttestationSettings {
        gramine_dir: none.path().to_owned(),
        ..auto(None, None)
    };
    assert!(find(&settings).expect("looked").0.is_none());
}

#[tokio::test]
async fn more_than_may_wait_are_refused_with_numbers() {
    // Hardware that never answers.
    let played = Played::gramine(|_| {
        loop {
            std::thread::park();
        }
    });
    let settings = auto(Some(&played), None);
    let quoter = Arc::new(found(&settings).await);
    let waiting: Vec<_> = (0..STRANGER_QUOTES_WAITING_MAX)
        .map(|number| {
            let quoter = Arc::clone(&quoter);
            tokio::spawn(async move { quoter.quote(data(number), Asker::Stranger).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let refused = quoter.quote(data(99), Asker::Stranger).await;
    let text = refused.expect_err("refused").to_string();
    assert!(text.starts_with("8 requests for quotes wait"), "{text}");
    // Others have places of their own.
    let guest = tokio::time::timeout(
        std::time::Duration::from_millis(10),
        quoter.quote(data(100), Asker::Guest),
    );
    assert!(guest.await.is_err(), "waits");
    waiting.iter().for_each(|one| one.abort());
    // The thread of the played hardware never ends.
    std::mem::forget(played);
}

#[tokio::test]
async fn the_simulator_is_a_source_only_where_it_was_asked_for() {
    let settings = AttestationSettings {
        mode: AttestationMode::Simulator,
        ..auto(None, None)
    };
    let quoter = found(&settings).await;
    assert_eq!(quoter.kind().name(), "simulator");
    let quote = quoter.quote(data(5), Asker::Worker).await.expect("a quote");
    assert!(matches!(quote, Quote::Simulator(_)));
    assert_eq!("simulator".parse(), Ok(AttestationMode::Simulator));
    assert_eq!(AttestationMode::Auto.to_string(), "auto");
    assert!("Simulator".parse::<AttestationMode>().is_err());
}
