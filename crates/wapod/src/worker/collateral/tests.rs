//! Collateral from a service that is played by a socket, with the simulator's content.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wapo_simulator::{Enclave, Simulator};

use super::*;

const NOW: u64 = 1_800_000_000;

fn simulator() -> Simulator {
    Simulator::new(
        &[7; 32],
        Enclave::default(),
        wapo_simulator::Platform::default(),
    )
    .expect("a simulator")
}

fn quote() -> Quote {
    Quote::Sgx(Bounded::new(simulator().quote(&[1; 64])).expect("short"))
}

fn plan(quote: &Quote) -> Plan {
    match quote {
        Quote::Sgx(quote) => Plan::of(quote).expect("a quote"),
        other => panic!("no quote of SGX: {other:?}"),
    }
}

/// What a caching service answers, by path: the header of the chain, its value, the body.
fn answers(collateral: &str) -> HashMap<&'static str, (&'static str, String, Vec<u8>)> {
    let all: serde_json::Value = serde_json::from_str(collateral).expect("JSON");
    let text = |name: &str| all[name].as_str().expect("a text").to_owned();
    let escaped = |name: &str| text(name).replace('\n', "%0A").replace(' ', "%20");
    let signed = |inner: &str, name: &str, signature: &str| {
        let (content, signature) = (text(name), text(signature));
        format!(r#"{{"{inner}":{content},"signature":"{signature}"}}"#).into_bytes()
    };
    HashMap::from([
        (
            "/sgx/certification/v4/pckcrl",
            (
                "SGX-PCK-CRL-Issuer-Chain",
                escaped("pck_crl_issuer_chain"),
                text("pck_crl").into_bytes(),
            ),
        ),
        (
            "/sgx/certification/v4/tcb",
            (
                "TCB-Info-Issuer-Chain",
                escaped("tcb_info_issuer_chain"),
                signed("tcbInfo", "tcb_info", "tcb_info_signature"),
            ),
        ),
        (
            "/sgx/certification/v4/qe/identity",
            (
                "SGX-Enclave-Identity-Issuer-Chain",
                escaped("qe_identity_issuer_chain"),
                signed("enclaveIdentity", "qe_identity", "qe_identity_signature"),
            ),
        ),
        (
            "/sgx/certification/v4/rootcacrl",
            ("x-none", String::new(), text("root_ca_crl").into_bytes()),
        ),
    ])
}

/// Plays the service, and says where it is.
async fn service(collateral: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let answers = Arc::new(collateral.map(|collateral| answers(&collateral)));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a head"));
                }
                let head = String::from_utf8(head).expect("text");
                let path = head.split([' ', '?']).nth(1).expect("a path").to_owned();
                let found = answers
                    .as_ref()
                    .as_ref()
                    .and_then(|all| all.get(path.as_str()));
                let (status, (name, chain, body)) = match found {
                    Some(found) => ("200 OK", found.clone()),
                    None => ("503 Busy", ("x-none", String::new(), Vec::new())),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\n{name}: {chain}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn collateral_of_a_quote_is_fetched_kept_and_there_at_the_next_start() {
    let published = simulator().collateral(NOW).expect("collateral");
    let url = service(Some(published.clone())).await;
    let folder = tempfile::tempdir().expect("folder");
    let file = Some(folder.path().join("collateral.json"));
    let open = || Collateral::open(None, Some(&url), &[], file.clone()).expect("a service");
    let collateral = open();
    assert_eq!(collateral.of(&quote(), NOW), None);
    assert!(collateral.renew(&quote(), NOW).await);
    let kept = collateral.of(&quote(), NOW).expect("collateral");
    let parsed = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
    let (ours, theirs) = (parsed(&kept), parsed(published.as_bytes()));
    for name in [
        "tcb_info",
        "qe_identity",
        "pck_crl",
        "root_ca_crl",
        "tcb_info_signature",
    ] {
        assert_eq!(ours[name], theirs[name], "{name}");
    }
    assert!(!collateral.renew(&quote(), NOW + 1).await, "it is new");
    let later = NOW + COLLATERAL_RENEWAL.as_secs();
    assert!(collateral.renew(&quote(), later).await, "it is old");
    let (next, now) = (open(), later + 1);
    assert_eq!(next.of(&quote(), now), Some(kept), "from the file");
    assert!(next.renew(&quote(), now).await, "which may be of before");
    assert!(!next.renew(&quote(), now).await);
    let oversized = vec![b'x'; COLLATERAL_BYTES_MAX + 1];
    std::fs::write(file.as_ref().expect("a file"), oversized).expect("written");
    assert_eq!(open().of(&quote(), NOW), None);
}

#[tokio::test]
async fn a_service_that_fails_is_asked_again_after_a_pause_and_its_answers_are_bounded() {
    let failing = service(None).await;
    let collateral = Collateral::open(None, Some(&failing), &[], None).expect("a service");
    assert!(!collateral.renew(&quote(), NOW).await);
    let plan = plan(&quote());
    let again = |now| collateral.state().begin(Some(&plan), now);
    assert!(!again(NOW + 1));
    assert!(again(NOW + COLLATERAL_RETRY_PAUSE.as_secs()));
    let mut large = serde_json::from_str::<serde_json::Value>(
        &simulator().collateral(NOW).expect("collateral"),
    )
    .expect("JSON");
    large["pck_crl"] = "ab".repeat(COLLATERAL_BYTES_MAX).into();
    let flooding = service(Some(large.to_string())).await;
    let collateral = Collateral::open(None, Some(&flooding), &[], None).expect("a service");
    assert!(!collateral.renew(&quote(), NOW).await);
    assert_eq!(collateral.of(&quote(), NOW), None);
}

#[tokio::test]
async fn collateral_of_another_platform_is_neither_handed_on_nor_new() {
    let published = simulator().collateral(NOW).expect("collateral");
    let url = service(Some(published)).await;
    let collateral = Collateral::open(None, Some(&url), &[], None).expect("a service");
    // Of a processor that is none of the simulator's.
    let digits = include_str!("../../../../wapo-verify/tests/vectors/sgx_quote.hex");
    let digits: String = digits.split_whitespace().collect();
    let moved = hex::decode(digits).expect("hex");
    let moved = Quote::Sgx(Bounded::new(moved).expect("short"));
    assert_ne!(plan(&moved), plan(&quote()));
    assert!(collateral.renew(&quote(), NOW).await);
    assert!(collateral.of(&quote(), NOW).is_some());
    assert_eq!(collateral.of(&moved, NOW), None);
    let later = NOW + COLLATERAL_RETRY_PAUSE.as_secs();
    assert!(!collateral.renew(&quote(), later).await, "it is new");
    assert!(collateral.renew(&moved, later).await, "it has none");
    assert!(collateral.of(&moved, later).is_some());
    assert_eq!(collateral.of(&quote(), later), None);
}

#[tokio::test]
async fn what_is_no_service_is_refused_and_none_is_asked_without_one() {
    for bad in ["pccs.example.com", "ftp://pccs.example.com", "https://", ""] {
        let error = Collateral::open(None, Some(bad), &[], None).err();
        assert!(error.expect("refused").contains("is no URL"), "{bad}");
    }
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("collateral.json");
    std::fs::write(&file, "{}").expect("of when there was a service");
    let collateral = Collateral::open(None, None, &[], Some(file)).expect("none");
    assert!(!collateral.renew(&quote(), NOW).await);
    assert_eq!(collateral.of(&quote(), NOW), None);
}
