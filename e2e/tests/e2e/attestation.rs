//! Evidence of a worker and of its apps, with the simulator in the place of hardware.
//! What a verifier makes of it is tested with the verifier.

use std::path::Path;
use std::time::Instant;

use e2e::certificates::gullible_client;
use e2e::operator::{manifest, settings};
use e2e::{Operator, TIMEOUT, TlsPort, client, guest, within};
use rustls::CipherSuite;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wapo_rpc::message::{
    AppEvidenceArgs, DeployArgs, DomainAddArgs, Empty, Evidence, RotateKeysArgs,
    SignRegisterInfoArgs, WorkerEvidenceArgs,
};
use wapo_rpc::statement::{
    self, AppClaims, AppEvidence, AttestationReport, CERTIFICATE_EXTENSION_OID, Quote,
    WorkerClaims, WorkerEvidence,
};
use wapo_rpc::{AppAddress, Encoding, UserClient};
use wapod::{AttestationMode, Config, limits};

use crate::statements::verifies;

/// Content types: what an app has attested, and evidence of an app.
pub(crate) const APP_EVIDENCE: u8 = 121;
/// Where a quote of the simulator has its report data.
pub(crate) const REPORT_DATA: std::ops::Range<usize> = 368..432;
/// The extension's identifier as certificates have it: 2.25, and the rest in groups of 7 bits.
const EXTENSION_OID: &[u8] = &[0x06, 0x06, 0x69, 0x85, 0xc6, 0xaf, 0x9d, 0x7a];

pub(crate) fn simulated(config: &mut Config) {
    config.attestation.mode = AttestationMode::Simulator;
    config.attestation.host_controlled = vec!["max-instances".to_owned()];
}

/// What makes an app an attested one, by the name of `proven`.
pub(crate) fn proven(wanted: &mut DeployArgs) {
    wanted.name = "proven".to_owned();
    settings(wanted).attested = true;
}

async fn in_folder(path: &Path) -> Operator {
    Operator::with(|config| {
        simulated(config);
        config.data_dir = Some(path.to_owned());
    })
    .await
}

async fn worker_evidence(operator: &Operator, nonce: &[u8]) -> (WorkerEvidence, WorkerClaims) {
    let nonce = nonce.to_vec();
    let users = users(operator);
    let got = users.worker_evidence(WorkerEvidenceArgs { nonce }).await;
    let got: WorkerEvidence = statement::decode(&got.unwrap().evidence).unwrap();
    let claims = got.worker_claims().unwrap();
    (got, claims)
}

async fn app_evidence(
    operator: &Operator,
    app: AppAddress,
    nonce: &[u8],
) -> (AppEvidence, AppClaims) {
    let args = AppEvidenceArgs {
        address: app.0.to_vec(),
        nonce: nonce.to_vec(),
    };
    let got = users(operator).app_evidence(args).await.unwrap();
    let got: AppEvidence = statement::decode(&got.evidence).unwrap();
    let claims = got.app_claims().unwrap();
    (got, claims)
}

fn users(operator: &Operator) -> UserClient {
    UserClient::new(operator.user_url("").trim_end_matches('/')).unwrap()
}

pub(crate) fn quote_of(evidence: &WorkerEvidence) -> &[u8] {
    match &evidence.quote {
        Quote::Simulator(quote) => quote,
        other => panic!("a quote of something else: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_leads_from_a_quote_over_the_worker_to_the_key_of_an_app() {
    let operator = Operator::with(simulated).await;
    let app = operator.deploy(&guest("query")).await;
    let info = operator.info(Empty {}).await.unwrap();
    assert_eq!(info.attestation, "simulator");
    let (worker, said) = worker_evidence(&operator, b"").await;
    assert_eq!(quote_of(&worker)[REPORT_DATA], worker.report_data());
    assert_eq!(
        (&said.pubkey[..], &said.session[..]),
        (&*info.pubkey, &*info.session)
    );
    assert_eq!(
        (said.version, said.key_version, said.nonce.len()),
        (1, 1, 0)
    );
    assert!(said.software.starts_with("wapod "));
    assert_eq!(said.host_controlled.len(), 1);
    assert!(said.expires_at > said.issued_at);
    let collateral: serde_json::Value =
        serde_json::from_slice(worker.collateral.as_ref().unwrap()).unwrap();
    assert!(collateral["tcb_info"].is_string());

    let (evidence, claims) = app_evidence(&operator, app, b"").await;
    assert_eq!(evidence.worker, worker, "the cached one, for every client");
    let (again, _) = app_evidence(&operator, app, b"").await;
    assert_eq!(
        again, evidence,
        "no two signatures are equal: it is signed once"
    );
    assert!(verifies(
        &said.pubkey,
        APP_EVIDENCE,
        &evidence.claims,
        &evidence.signature
    ));
    assert_eq!((claims.worker, claims.address), (said.pubkey, app));
    assert_eq!(*claims.code_hash, guest("query").module.hash());
    assert_eq!(claims.app_pubkey.len(), 91, "P-256 in DER");
    assert_eq!(claims.limits.instances, 1);
    assert_ne!(claims.app_pubkey, said.answer_pubkey);
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_is_in_a_quote_of_its_own() {
    let operator = Operator::with(simulated).await;
    let app = operator.deploy(&guest("query")).await;
    let (cached, _) = worker_evidence(&operator, b"").await;
    let (fresh, claims) = worker_evidence(&operator, b"nonce").await;
    assert_eq!(&**claims.nonce, b"nonce");
    assert_ne!(fresh.quote, cached.quote);
    assert_eq!(quote_of(&fresh)[REPORT_DATA], fresh.report_data());
    let (evidence, claims) = app_evidence(&operator, app, &[7; 64]).await;
    assert_eq!(*claims.nonce, [7; 64]);
    assert_eq!(*evidence.worker.worker_claims().unwrap().nonce, [7; 64]);
    let (again, _) = worker_evidence(&operator, b"").await;
    assert_eq!(again, cached, "it stays for all others");
    let long = WorkerEvidenceArgs { nonce: vec![0; 65] };
    let error = users(&operator).worker_evidence(long).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("64 bytes at most, this one has 65")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_nonces_is_refused_with_numbers_and_stops_nobody_else() {
    let operator = Operator::with(simulated).await;
    let users = users(&operator);
    let ask = async || {
        let nonce = b"flood".to_vec();
        users.worker_evidence(WorkerEvidenceArgs { nonce }).await
    };
    // One after the other over one connection, for as long as it takes to be too fast.
    let begun = Instant::now();
    let mut given = 0.0;
    let flood = async {
        loop {
            match ask().await {
                Ok(_) => given += 1.0,
                Err(error) => return error.to_string(),
            }
            let most = 20.0 + 5.0 * begun.elapsed().as_secs_f64();
            assert!(given <= most, "{given} were given");
        }
    };
    let refused = within("a refusal", flood).await;
    assert!(
        refused.contains("5 quotes a second, and 20 at once"),
        "{refused}"
    );
    // While it goes on: the operator, and clients that need no nonce.
    let others = async {
        worker_evidence(&operator, b"").await;
        let nonce = b"operator".to_vec();
        let own = operator.worker_evidence(WorkerEvidenceArgs { nonce }).await;
        assert!(!own.unwrap().evidence.is_empty());
    };
    let goes_on = async {
        while begun.elapsed() < TIMEOUT {
            let _ = ask().await;
        }
        panic!("it was over before others were served");
    };
    tokio::select! {
        () = goes_on => {}
        () = others => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_the_daemon_and_change_when_they_are_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let operator = in_folder(folder.path()).await;
    let first = operator.deploy(&guest("query")).await;
    let second = operator.deploy(&guest("sdk-suite")).await;
    let keys = async |operator: &Operator| {
        let (_, worker) = worker_evidence(operator, b"").await;
        let (_, first) = app_evidence(operator, first, b"").await;
        let (_, second) = app_evidence(operator, second, b"").await;
        let worker = (
            worker.key_version,
            worker.answer_pubkey,
            worker.query_pubkey,
        );
        let app = |claims: AppClaims| (claims.key_version, claims.app_pubkey);
        (worker, app(first), app(second))
    };
    let before = keys(&operator).await;
    assert_ne!(before.1.1, before.2.1, "each app has a key of its own");
    operator.shutdown().await;
    let operator = in_folder(folder.path()).await;
    assert_eq!(keys(&operator).await, before);

    let rotate = |address: Vec<u8>| operator.rotate_keys(RotateKeysArgs { address });
    assert_eq!(rotate(first.0.to_vec()).await.unwrap().key_version, 2);
    let rotated = keys(&operator).await;
    assert_eq!((&rotated.0, &rotated.2), (&before.0, &before.2));
    assert_eq!(rotated.1.0, 2);
    assert_ne!(rotated.1.1, before.1.1);
    assert_eq!(rotate(Vec::new()).await.unwrap().key_version, 2);
    let all = keys(&operator).await;
    assert_eq!((&all.1, &all.2), (&rotated.1, &rotated.2));
    assert_eq!(all.0.0, 2);
    assert!(all.0.1 != before.0.1 && all.0.2 != before.0.2);
    let unknown = rotate(vec![9; 32]).await.unwrap_err().to_string();
    assert!(unknown.contains("app not found"), "{unknown}");
    operator.shutdown().await;
    let operator = in_folder(folder.path()).await;
    assert_eq!(keys(&operator).await, all, "rotation outlives the daemon");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_is_in_the_next_evidence() {
    let operator = Operator::with(simulated).await;
    let (_, before) = worker_evidence(&operator, b"").await;
    operator.worker_init(Default::default()).await.unwrap();
    let (evidence, after) = worker_evidence(&operator, b"").await;
    assert_ne!(after.session, before.session);
    assert_eq!(quote_of(&evidence)[REPORT_DATA], evidence.report_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_comes_with_a_quote_over_it() {
    let operator = Operator::with(simulated).await;
    let report_data = async |para_id| {
        let registration = SignRegisterInfoArgs {
            genesis_block_hash: vec![2; 32],
            operator: vec![0],
            para_id,
        };
        let signed = operator.sign_register_info(registration).await.unwrap();
        let report: Option<AttestationReport> = statement::decode(&signed.encoded_report).unwrap();
        let Some(AttestationReport::SgxDcap { quote, collateral }) = report else {
            panic!("no quote");
        };
        assert_eq!(collateral, None);
        quote[REPORT_DATA].to_vec()
    };
    let (one, other) = (report_data(7).await, report_data(8).await);
    assert_ne!(one, other);
    assert_eq!(one, report_data(7).await, "a hash of what is registered");
    // A hash of 32 bytes, then zeros.
    assert_ne!(one[..32], [0; 32]);
    assert_eq!(one[32..], [0; 32]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hardware_there_is_no_evidence_and_the_answer_says_so() {
    let operator = Operator::start().await;
    let app = operator.deploy(&guest("query")).await;
    assert_eq!(operator.info(Empty {}).await.unwrap().attestation, "");
    let users = users(&operator);
    let error = users.worker_evidence(WorkerEvidenceArgs::default()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("this worker attests nothing"), "{error}");
    let args = AppEvidenceArgs {
        address: app.0.to_vec(),
        ..AppEvidenceArgs::default()
    };
    let error = users.app_evidence(args).await.unwrap_err().to_string();
    assert!(error.contains("this worker attests nothing"), "{error}");
    for address in [vec![1; 32], vec![1; 31], Vec::new()] {
        let nonce = Vec::new();
        let asked = users.app_evidence(AppEvidenceArgs { address, nonce }).await;
        assert!(asked.is_err());
    }
}

/// What the extension of a certificate holds.
pub(crate) fn evidence_in(certificate: &[u8]) -> AppEvidence {
    let [2, 25, 1_489_751_802] = CERTIFICATE_EXTENSION_OID else {
        panic!("another identifier");
    };
    let mut windows = certificate.windows(EXTENSION_OID.len());
    let at = windows.position(|one| one == EXTENSION_OID).unwrap();
    // An octet string with a length of two bytes.
    let rest = &certificate[at + EXTENSION_OID.len()..];
    let [0x04, 0x82, high, low, content @ ..] = rest else {
        panic!("no octet string");
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    statement::decode(&content[..length]).unwrap()
}

/// With these both sides hash the evidence in the shortest time. The client here prefers
/// others.
const SHORT_HASH: [CipherSuite; 2] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_an_attested_app_is_served_with_its_evidence() {
    let port = TlsPort::with(simulated).await;
    let operator = port.operator();
    let app = operator.deploy_with(&guest("sdk-suite"), proven).await;
    let (_, claims) = app_evidence(operator, app, b"").await;
    for version in [&TLS12, &TLS13] {
        // Verifiers look into the certificate; it is self-signed.
        let config = gullible_client(&[version]);
        let mut stream = port.connect_with("proven.localhost", config).await.unwrap();
        let session = stream.get_ref().1;
        let suite = session.negotiated_cipher_suite().unwrap().suite();
        assert!(SHORT_HASH.contains(&suite), "{suite:?}");
        let chain = session.peer_certificates().unwrap();
        let evidence = evidence_in(&chain[0]);
        let shown = evidence.app_claims().unwrap();
        assert_eq!(
            (shown.address, &shown.app_pubkey),
            (app, &claims.app_pubkey)
        );
        // The handshake has shown that the server has the secret of this key.
        let key: &[u8] = &claims.app_pubkey;
        assert!(chain[0].windows(key.len()).any(|one| one == key));
        assert!(
            evidence.worker.collateral.is_none(),
            "handshakes stay small"
        );
        let request = b"GET /echo HTTP/1.1\r\nhost: proven.localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        within("an answer", stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    // Others keep their certificates, or have none.
    let mut plain = guest("query");
    plain.label = "plain".to_owned();
    operator.deploy(&plain).await;
    let refused = port.connect_with("plain.localhost", gullible_client(&[&TLS13]));
    assert!(refused.await.is_err());
    operator
        .rotate_keys(RotateKeysArgs {
            address: app.0.to_vec(),
        })
        .await
        .unwrap();
    let rotated = async {
        loop {
            let config = gullible_client(&[&TLS13]);
            let stream = port.connect_with("proven.localhost", config).await.unwrap();
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            let shown = evidence_in(&chain[0]).app_claims().unwrap();
            if shown.key_version == 2 && shown.app_pubkey != claims.app_pubkey {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("a certificate with the new key", rotated).await;
}

/// The client has seen evidence of the app that it asks. That app is replaced while the request
/// waits for it, and the client has seen no evidence of the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_does_not_come_to_the_app_that_replaces_the_attested_one() {
    let port = TlsPort::with(simulated).await;
    let operator = port.operator();
    let on_demand = |wanted: &mut DeployArgs| {
        proven(wanted);
        manifest(wanted).on_demand = true;
    };
    // It takes no requests of the gateway, so those wait until their time is over.
    let first = operator.deploy_with(&guest("query"), on_demand).await;
    let config = gullible_client(&[&TLS13]);
    let connecting = port.connect_with("proven.localhost", config);
    let mut stream = connecting.await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let shown = evidence_in(&chain[0]).app_claims().unwrap();
    assert_eq!(shown.address, first);
    assert_eq!(operator.find(first).await.unwrap().instances, 0);
    let attested = async {
        let request = b"GET /echo HTTP/1.1\r\nhost: proven.localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        within("an answer", reading).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    let replacing = async {
        // Nobody else asks it for anything.
        let starts = operator.until("its start", first, |app| app.instances == 1);
        starts.await;
        let replaces = |wanted: &mut DeployArgs| {
            on_demand(wanted);
            wanted.replaces = first.0.to_vec();
        };
        operator.deploy_with(&guest("sdk-suite"), replaces).await
    };
    let (attested, _second) = tokio::join!(attested, replacing);
    assert!(attested.starts_with("HTTP/1.1 421"), "{attested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_names_as_an_app_may_have_are_in_its_certificate() {
    let port = TlsPort::with(simulated).await;
    let operator = port.operator();
    let app = operator.deploy_with(&guest("sdk-suite"), proven).await;
    let mut names = vec!["proven.localhost".to_owned()];
    for number in 0..limits::DOMAINS_OF_APP_MAX {
        let domain = format!("name-{number}.example.com");
        let added = operator.domain_add(DomainAddArgs {
            address: app.0.to_vec(),
            domain: domain.clone(),
            ..DomainAddArgs::default()
        });
        added.await.unwrap();
        names.push(domain);
    }
    let in_it = async {
        loop {
            let config = gullible_client(&[&TLS13]);
            let stream = port.connect_with("proven.localhost", config).await.unwrap();
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            // As a name of the extension for names has it: its kind, its length, its text.
            let has = |name: &String| {
                let length = u8::try_from(name.len()).unwrap();
                let encoded = [&[0x82, length], name.as_bytes()].concat();
                chain[0].windows(encoded.len()).any(|one| one == encoded)
            };
            if names.iter().all(has) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("a certificate with all names", in_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attested_app_is_written_down_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        TlsPort::with(|config| {
            simulated(config);
            config.data_dir = Some(folder.path().to_owned());
        })
        .await
    };
    let port = start().await;
    let app = guest("sdk-suite");
    port.operator().deploy_with(&app, proven).await;
    port.shutdown().await;
    let port = start().await;
    let apps = port.operator().apps().await;
    assert!(apps[0].settings.as_ref().unwrap().attested);
    let served = async {
        let connect = || port.connect_with("proven.localhost", gullible_client(&[&TLS13]));
        while connect().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("the certificate of an app that was there before", served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_had_by_get_as_well() {
    let operator = Operator::with(simulated).await;
    let answer = client::get(&operator.user_url("/prpc/User.WorkerEvidence")).await;
    answer.expect_status(200);
    let got: Evidence = Encoding::Json.decode(&answer.body).unwrap();
    assert!(statement::decode::<WorkerEvidence>(&got.evidence).is_ok());
}
