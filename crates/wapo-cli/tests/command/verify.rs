//! `wapo verify` and `wapo collateral`, as people use them: files and servers of a
//! simulator, the command in a process of its own.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::answers::answers;
use crate::support::place::{Place, simulated};
use crate::support::{output, text};
use parity_scale_codec::Encode as _;
use rcgen::{Certificate, CertificateParams, CustomExtension, KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use serde_json::{Value, json};
use wapo_crypto::{ContentType, WorkerKey, report_data};
use wapo_rpc::AppAddress;
use wapo_rpc::statement::{
    AppClaims, AppEvidence, AppLimits, Bounded, CERTIFICATE_EXTENSION_OID, Quote, WorkerClaims,
    WorkerEvidence,
};
use wapo_simulator::{DEVELOPMENT_SEED, Enclave, Platform, Simulator};

const NONCE: [u8; 4] = [0xca, 0xfe, 0xba, 0xbe];

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn simulator() -> Simulator {
    Simulator::new(&DEVELOPMENT_SEED, Enclave::default(), Platform::default())
        .expect("certificates")
}

fn key() -> WorkerKey {
    WorkerKey::from_seed([1; 32])
}

fn worker() -> WorkerEvidence {
    let claims = WorkerClaims {
        version: WorkerClaims::VERSION,
        pubkey: key().public(),
        query_pubkey: [3; 32],
        answer_pubkey: [4; 91].into(),
        session: [5; 32],
        software: Bounded::new("wapod 1.0.0".into()).expect("short"),
        host_controlled: Bounded::default(),
        key_version: 1,
        issued_at: now(),
        expires_at: now() + 3600,
        nonce: NONCE.into(),
    };
    let claims = claims.encode();
    let quote = simulator().quote(&report_data::for_worker_claims(&claims));
    let collateral = simulator().collateral(now()).expect("a time").into_bytes();
    WorkerEvidence {
        quote: Quote::Simulator(Bounded::new(quote).expect("short")),
        claims: Bounded::new(claims).expect("short"),
        collateral: Some(Bounded::new(collateral).expect("short")),
    }
}

fn app(app_pubkey: &[u8]) -> AppEvidence {
    let claims = AppClaims {
        version: AppClaims::VERSION,
        worker: key().public(),
        worker_session: [5; 32],
        address: AppAddress([7; 32]),
        deployment: [8; 32],
        code_hash: Bounded::new("sha256:00".into()).expect("short"),
        args: Bounded::default(),
        env_hash: [9; 32],
        label: Bounded::new("hello".into()).expect("short"),
        limits: AppLimits {
            memory_bytes: 1 << 20,
            instances: 1,
            gas_max: 0,
        },
        key_version: 1,
        app_pubkey: Bounded::new(app_pubkey.to_vec()).expect("short"),
        issued_at: now(),
        expires_at: now() + 3600,
        nonce: NONCE.into(),
    };
    let claims = claims.encode();
    let signature = key().sign(ContentType::AppEvidence, &claims, [0; 32]);
    AppEvidence {
        worker: worker(),
        claims: Bounded::new(claims).expect("short"),
        signature: signature.into(),
    }
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, content).expect("writes");
    file
}

fn envelope(kind: &str, encoded: &[u8]) -> String {
    json!({"kind": kind, "version": 1, "evidence": format!("0x{}", hex::encode(encoded))})
        .to_string()
}

/// Runs the command; its exit code and what it prints on both streams.
async fn run(folder: &Path, line: &str) -> (Option<i32>, String) {
    let words: Vec<_> = line.split_whitespace().collect();
    let output = output(folder, &words).await;
    (
        output.status.code(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

async fn good(folder: &Path, line: &str) -> String {
    let (code, said) = run(folder, line).await;
    assert_eq!(code, Some(0), "{line}: {said}");
    said
}

async fn refused(folder: &Path, line: &str, says: &str) {
    let (code, said) = run(folder, line).await;
    assert_eq!(code, Some(1), "{line}: {said}");
    assert!(said.contains(says), "{line}: {said}");
}

#[tokio::test]
async fn a_quote_in_a_file_is_verified_and_refused_with_the_reason() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let quote = simulator().quote(&[7; 64]);
    write(folder, "quote", &quote);
    write(folder, "quote.hex", format!("0x{}\n", hex::encode(&quote)));
    write(
        folder,
        "collateral",
        simulator().collateral(now()).expect("a time"),
    );
    for file in ["quote", "quote.hex"] {
        let line = format!("verify quote {file} --collateral collateral --accept-simulator");
        let said = good(folder, &line).await;
        assert!(said.contains("NO HARDWARE"), "{said}");
        assert!(said.contains(&"07".repeat(64)), "{said}");
        assert!(said.contains("good: "), "{said}");
    }
    refused(
        folder,
        "verify quote quote --collateral collateral",
        "--accept-simulator lets it count",
    )
    .await;
    refused(
        folder,
        "verify quote quote --accept-simulator",
        "there is no collateral",
    )
    .await;
    let line = "verify quote quote --collateral collateral --accept-simulator";
    refused(
        folder,
        &format!("{line} --at 2020-01-01T00:00:00Z"),
        "of the future",
    )
    .await;
    refused(
        folder,
        &format!("{line} --at 4000000000"),
        "quote.collateral",
    )
    .await;
    let mut changed = quote.clone();
    changed[100] ^= 1;
    write(folder, "quote", &changed);
    refused(folder, line, "quote.signature").await;
    write(folder, "quote", b"none");
    refused(folder, line, "no quote of SGX").await;
    write(folder, "quote", vec![0; 200_000]);
    refused(folder, line, "more than").await;
    refused(folder, "verify quote nothing", "cannot read nothing").await;
}

#[tokio::test]
async fn published_quotes_verify_with_a_policy_file() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../wapo-verify/tests/vectors");
    let line = format!(
        "verify quote {vectors}/sgx_quote.hex --collateral {vectors}/sgx_quote_collateral.json --at 1750400000"
    );
    refused(folder, &line, "ConfigurationAndSWHardeningNeeded").await;
    let signer = "815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6";
    let policy = format!(
        "tcb = [\"UpToDate\", \"ConfigurationAndSWHardeningNeeded\"]\n\
         advisories = [\"INTEL-SA-00289\", \"INTEL-SA-00615\"]\n\
         [[sgx]]\nsigner = \"{signer}\"\nproduct_id = 0\n"
    );
    write(folder, "policy.toml", &policy);
    let said = good(folder, &format!("{line} --policy policy.toml --json")).await;
    let report: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["good"], true);
    let checks = report["checks"].as_array().expect("checks");
    let program = checks
        .iter()
        .find(|check| check["name"] == "quote.program")
        .expect("a check");
    assert_eq!(program["outcome"], "passed");
    assert!(
        program["proves"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    write(
        folder,
        "policy.toml",
        policy.replace("product_id = 0", "product_id = 1"),
    );
    refused(
        folder,
        &format!("{line} --policy policy.toml"),
        "no entry of the policy's `sgx`",
    )
    .await;
    write(folder, "policy.json", r#"{"mrsigner": []}"#);
    refused(
        folder,
        &format!("{line} --policy policy.json"),
        "unknown field `mrsigner`",
    )
    .await;
    let snp = format!(
        "verify quote {vectors}/snp_milan_report.hex --certificates {vectors}/snp_milan_vcek.hex --at 1780272000"
    );
    good(folder, &snp).await;
}

#[tokio::test]
async fn evidence_of_a_worker_and_of_an_app_is_verified_from_files() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let worker = worker().encode();
    let app = app(&[6; 91]).encode();
    write(
        folder,
        "worker.json",
        envelope("wapo-worker-evidence", &worker),
    );
    write(folder, "app.json", envelope("wapo-app-evidence", &app));
    write(folder, "app.scale", &app);
    let nonce = format!("--nonce {}", hex::encode(NONCE));
    let worker_line = format!("verify worker --evidence worker.json --accept-simulator {nonce}");
    good(folder, &worker_line).await;
    for file in ["app.json", "app.scale"] {
        let line = format!("verify app --evidence {file} --accept-simulator {nonce} --json");
        let said = good(folder, &line).await;
        let report: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(report["facts"]["address"], format!("0x{}", "07".repeat(32)));
    }
    refused(folder, "verify app --evidence app.json", "the simulator's").await;
    refused(
        folder,
        "verify app --evidence worker.json --accept-simulator",
        "wapo-app-evidence is what",
    )
    .await;
    refused(
        folder,
        "verify worker --evidence worker.json --accept-simulator --nonce 00",
        "worker.nonce",
    )
    .await;
    write(
        folder,
        "policy.toml",
        format!("[[apps]]\naddress = \"{}\"\n", "00".repeat(32)),
    );
    let line = "verify app --evidence app.json --accept-simulator --policy policy.toml";
    refused(folder, line, "app.program").await;
    let mut changed = app.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    write(folder, "app.json", envelope("wapo-app-evidence", &changed));
    refused(
        folder,
        "verify app --evidence app.json --accept-simulator",
        "not signed by the worker",
    )
    .await;
    write(
        folder,
        "app.json",
        r#"{"kind":"wapo-app-evidence","version":2,"evidence":"0x"}"#,
    );
    refused(folder, "verify app --evidence app.json", "version 2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_runs_is_verified_with_a_nonce_of_its_own() {
    let place = Place::with(simulated()).await;
    place
        .good(&["deploy", &crate::support::guest("hello-http")])
        .await;
    let accept = "--accept-simulator";
    let said = place
        .good(&["verify", "worker", accept, "--save", "worker.json"])
        .await;
    assert!(said.contains("worker.nonce: yours"), "{said}");
    let line = ["verify", "app", "hello-http", accept, "--save", "app.json"];
    let said = place.good(&line).await;
    assert!(said.contains("app.nonce: yours"), "{said}");
    let cached = place
        .json(&["verify", "app", "hello-http", accept, "--cached"])
        .await;
    assert_eq!(cached["good"], true);
    assert_eq!(cached["facts"]["nonce"], "");
    // The user port answers without a token, by the app's address.
    let url = format!("http://{}", place.worker.user_address());
    let address = cached["facts"]["address"].as_str().expect("an address");
    place
        .good(&["verify", "app", address, accept, "--url", &url])
        .await;
    place
        .good(&["verify", "worker", accept, "--url", &url, "--cached"])
        .await;
    // What was saved is the same evidence, which is still good, and no answer to a new nonce.
    place
        .good(&["verify", "app", "--evidence", "app.json", accept])
        .await;
    place
        .bad(&[
            "verify",
            "worker",
            "--evidence",
            "worker.json",
            accept,
            "--nonce",
            "00",
        ])
        .await;
    place.bad(&["verify", "app", "hello-http"]).await;
    place
        .good(&["collateral", "--from-worker", "-o", "collateral"])
        .await;
    let line = [
        "verify",
        "app",
        "--evidence",
        "app.json",
        accept,
        "--collateral",
        "collateral",
    ];
    place.good(&line).await;
}

#[tokio::test]
async fn a_worker_that_answers_with_another_app_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let address = answers(|_, _| {
        let evidence = app(&[6; 91]).encode();
        let message = wapo_rpc::message::Evidence { evidence };
        let body = wapo_rpc::Encoding::Protobuf.encode(&message);
        Some(("X-Nothing: ".to_owned(), body))
    });
    let nonce = hex::encode(NONCE);
    let line = |app: &str| {
        format!("verify app {app} --url http://{address} --accept-simulator --nonce {nonce}")
    };
    let said = good(place.path(), &line(&"07".repeat(32))).await;
    assert!(said.contains("app.address: app 0707"), "{said}");
    let other = line(&"08".repeat(32));
    refused(place.path(), &other, "refused: app.address").await;
}

#[tokio::test]
async fn a_bad_command_line_has_an_exit_code_of_its_own() {
    let place = tempfile::tempdir().expect("a folder");
    for line in [
        "verify",
        "verify quote",
        "verify app",
        "verify app --evidence a --certificate b",
        "verify app a --evidence b",
        "collateral",
        "collateral quote",
        "verify worker --url http://a --token t",
        "verify worker --url http://a --worker http://b",
        "verify quote x --nonce xy",
        "verify quote x --at tomorrow",
    ] {
        let (code, said) = run(place.path(), line).await;
        assert_eq!(code, Some(2), "{line}: {said}");
    }
}

/// A certificate for a key of its own, with evidence for the key that is given or for its
/// own.
fn attested(of_other: Option<&[u8]>) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let evidence = app(of_other.unwrap_or(&key.subject_public_key_info()));
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.custom_extensions = vec![CustomExtension::from_oid_content(
        &CERTIFICATE_EXTENSION_OID,
        evidence.encode(),
    )];
    (params.self_signed(&key).expect("signed"), key)
}

/// Serves handshakes with a certificate, one after the other.
fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a client");
            let mut connection = ServerConnection::new(Arc::clone(&config)).expect("a server");
            while connection.is_handshaking() {
                if connection.complete_io(&mut socket).is_err() {
                    break;
                }
            }
            // What the client says at the end does not matter.
            let _ = socket.read(&mut [0; 64]);
        }
    });
    address
}

#[tokio::test]
async fn the_certificate_of_a_connection_is_bound_to_the_app() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let (certificate, key) = attested(None);
    write(folder, "app.der", certificate.der());
    write(folder, "app.pem", certificate.pem());
    let address = serve(certificate.der().clone(), &key);
    let said = good(
        folder,
        &format!("verify app --connect {address} --accept-simulator"),
    )
    .await;
    assert!(said.contains("the app's own key"), "{said}");
    for file in ["app.der", "app.pem"] {
        let line = format!("verify app --certificate {file} --accept-simulator");
        good(folder, &line).await;
    }
    // Another server with the evidence of this app.
    let own = key.subject_public_key_info();
    let (stolen, key) = attested(Some(&own));
    let address = serve(stolen.der().clone(), &key);
    let line = format!("verify app --connect {address} --server-name localhost --accept-simulator");
    refused(folder, &line, "the evidence was copied").await;
    // A server like any other.
    let plain =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let address = serve(plain.cert.der().clone(), &plain.signing_key);
    refused(
        folder,
        &format!("verify app --connect {address}"),
        "carries no evidence",
    )
    .await;
    refused(
        folder,
        "verify app --connect 127.0.0.1:1",
        "nothing answers",
    )
    .await;
}

/// What a caching service has at a path: a header with the issuer's chain, and content.
fn published(collateral: &Value, path: &str) -> Option<(&'static str, String, Vec<u8>)> {
    let field = |name: &str| collateral[name].as_str().expect("text").to_owned();
    let signed = |name: &str, part: &str| {
        let signature = field(&format!("{part}_signature"));
        format!(r#"{{"{name}":{},"signature":"{signature}"}}"#, field(part)).into_bytes()
    };
    let chain = |name: &str| {
        let chain = field(&format!("{name}_issuer_chain"));
        chain.bytes().map(|byte| format!("%{byte:02X}")).collect()
    };
    match path {
        "/sgx/certification/v4/pckcrl?ca=platform&encoding=der" => {
            let list = hex::decode(field("pck_crl")).expect("hex");
            Some(("SGX-PCK-CRL-Issuer-Chain", chain("pck_crl"), list))
        }
        "/sgx/certification/v4/tcb?fmspc=7761706F0001" => {
            let body = signed("tcbInfo", "tcb_info");
            Some(("TCB-Info-Issuer-Chain", chain("tcb_info"), body))
        }
        "/sgx/certification/v4/qe/identity" => {
            let body = signed("enclaveIdentity", "qe_identity");
            let name = "SGX-Enclave-Identity-Issuer-Chain";
            Some((name, chain("qe_identity"), body))
        }
        "/sgx/certification/v4/rootcacrl" => Some((
            "X-Nothing",
            String::new(),
            field("root_ca_crl").into_bytes(),
        )),
        _ => None,
    }
}

/// A caching service that publishes a simulator's collateral below a path.
fn pccs(collateral: &str) -> SocketAddr {
    let collateral: Value = serde_json::from_str(collateral).expect("JSON");
    answers(move |path, _| {
        let (header, chain, body) = published(&collateral, path)?;
        Some((format!("{header}: {chain}"), body))
    })
}

#[tokio::test]
async fn collateral_is_fetched_from_a_caching_service_and_counts() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    write(folder, "quote", simulator().quote(&[7; 64]));
    let collateral = simulator().collateral(now()).expect("a time");
    let address = pccs(&collateral);
    good(
        folder,
        &format!("collateral quote --pccs http://{address} -o fetched"),
    )
    .await;
    good(
        folder,
        "verify quote quote --collateral fetched --accept-simulator",
    )
    .await;
    refused(
        folder,
        &format!("collateral quote --pccs http://{address}/elsewhere"),
        "status 404",
    )
    .await;
    refused(
        folder,
        "collateral quote --pccs http://127.0.0.1:1",
        "127.0.0.1:1",
    )
    .await;
    write(folder, "none", b"none");
    refused(
        folder,
        &format!("collateral none --pccs http://{address}"),
        "names no platform",
    )
    .await;
}
