//! The worker's key goes from one daemon to another: two programs, each with a policy of what
//! the other has to be, and the simulator in the place of hardware.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use parity_scale_codec::Encode as _;
use serde_json::{Value, json};
use support::{Daemon, Folder};
use wapo_crypto::handover::Recipient;
use wapo_crypto::report_data;
use wapo_rpc::statement::{self, Bounded, KeyHandover, KeyRequest, KeyRequestClaims, Quote};
use wapo_simulator::{DEVELOPMENT_SEED, Enclave, Platform, Simulator};

/// Where a daemon keeps its key.
const KEY: &str = "data/protected_files/worker.key";
const SIMULATOR: [&str; 2] = ["--attestation", "simulator"];
const TO: [&str; 4] = ["--attestation", "simulator", "--key-to-policy", "policy"];

/// Settings that a daemon's evidence names when it is started on this machine.
const HOST: &str = r#"["admin-port", "admin-token", "admin-tls", "attestation", "data-dir", "key-from", "key-from-ca", "key-from-policy", "key-to-policy", "max-instances", "user-port"]"#;

/// A folder with a policy that accepts the simulated program, or another one.
fn folder(measurement: [u8; 32]) -> Folder {
    let folder = Folder::new();
    let measurement = hex::encode(measurement);
    let policy = format!(
        "accept_simulator = true\nhost_controlled = {HOST}\n\n[[sgx]]\nmeasurement = \"{measurement}\"\n"
    );
    fs::write(folder.path("policy"), policy).expect("written");
    folder
}

fn accepting() -> Folder {
    folder(Enclave::default().measurement)
}

/// Options of a new worker that takes its key from there.
fn from(old: &Daemon) -> Vec<String> {
    let url = format!("http://{}", old.admin());
    let own = ["--key-from", &url, "--key-from-policy", "policy"];
    let options = SIMULATOR.iter().chain(&own);
    options.map(|one| (*one).to_owned()).collect()
}

fn texts(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn key_of(folder: &Folder) -> Vec<u8> {
    fs::read(folder.path(KEY)).expect("a key")
}

/// Runs a new worker that must not start, and gives its one line.
fn refused(folder: &Folder, old: &Daemon) -> String {
    refused_with(folder, &from(old), "http")
}

fn refused_with(folder: &Folder, options: &[String], scheme: &str) -> String {
    let mut options = texts(options);
    options.extend(["-c", "4", "--admin-port", "0", "--user-port", "0"]);
    let ended = folder.run(&options);
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    let error = ended.only_error().to_owned();
    assert!(
        error.contains(&format!("no key was taken over from {scheme}://")),
        "{error}"
    );
    assert!(!folder.path(KEY).exists(), "none was made");
    error
}

#[test]
fn a_new_worker_takes_over_key_and_versions_and_keeps_them() {
    let (old_folder, new_folder) = (accepting(), accepting());
    let old = old_folder.start(&TO);
    let rotate = |daemon: &Daemon| daemon.call("Operation.RotateKeys");
    assert!(rotate(&old).contains("\"key_version\":2"));
    let options = from(&old);
    let new = new_folder.start(&texts(&options));
    assert_eq!(new.public_key(), old.public_key());
    assert_eq!(key_of(&new_folder), key_of(&old_folder));
    assert!(rotate(&new).contains("\"key_version\":3"));
    let told = old.wait_for_line("the worker's key was handed to another worker");
    assert!(
        told.contains(&hex::encode(Enclave::default().measurement)),
        "{told}"
    );
    let worker = old.public_key();
    assert_eq!(old.stop("TERM").code, Some(0));
    assert_eq!(new.stop("TERM").code, Some(0));
    // The same options as before, and nobody to ask.
    let again = new_folder.start(&texts(&options));
    assert_eq!(again.public_key(), worker);
    assert!(rotate(&again).contains("\"key_version\":4"));
    let ended = again.stop("TERM");
    assert!(
        ended.log.contains("there is a key already"),
        "{}",
        ended.log
    );
}

#[test]
fn each_side_refuses_what_its_policy_does_not_name_and_the_log_says_why() {
    let wrong = folder([9; 32]);
    let old = wrong.start(&TO);
    let error = refused(&accepting(), &old);
    assert!(
        error.contains("key-to-policy") && error.contains("quote.program"),
        "{error}"
    );
    let logged = old.wait_for_line("the worker's key was not handed over");
    assert!(logged.contains("quote.program"), "{logged}");

    let accepts = accepting();
    let real_only = fs::read_to_string(accepts.path("policy")).expect("a policy");
    let real_only = real_only.replace("accept_simulator = true", "");
    fs::write(accepts.path("policy"), real_only).expect("written");
    let old = accepts.start(&TO);
    let error = refused(&accepting(), &old);
    assert!(error.contains("quote.kind"), "{error}");

    let old_folder = accepting();
    let old = old_folder.start(&TO);
    let error = refused(&folder([9; 32]), &old);
    assert!(
        error.contains("key-from-policy") && error.contains("quote.program"),
        "{error}"
    );

    let closed_folder = Folder::new();
    let closed = closed_folder.start(&SIMULATOR);
    let error = refused(&accepting(), &closed);
    assert!(error.contains("does not hand over its key"), "{error}");
    closed.wait_for_line("the worker's key was not handed over");
}

#[test]
fn the_old_worker_wants_its_operators_token_and_the_new_one_shows_its_own() {
    const TOKEN: (&str, &str) = ("WAPOD_ADMIN_TOKEN", "the-same-for-both");
    let (old_folder, new_folder) = (accepting(), accepting());
    let old = old_folder.start_with(&TO, &[TOKEN]);
    let error = refused(&accepting(), &old);
    assert!(error.contains("token"), "{error}");
    let options = from(&old);
    let new = new_folder.start_with(&texts(&options), &[TOKEN]);
    assert_eq!(key_of(&new_folder), key_of(&old_folder));
    drop(new);
}

#[test]
fn a_policy_that_is_missing_wide_or_damaged_stops_the_start() {
    let folder = accepting();
    let error = |options: &[&str]| {
        let ended = folder.run(options);
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        ended.only_error().to_owned()
    };
    let alone = error(&["--key-from", "http://127.0.0.1:1"]);
    assert!(alone.contains("name a key-from-policy"), "{alone}");
    fs::write(folder.path("wide"), "accept_simulator = true").expect("written");
    let wide = error(&["--key-to-policy", "wide", "--check-config"]);
    assert!(wide.contains("wide: it lists no program"), "{wide}");
    fs::write(folder.path("damaged"), "[[sgx]]\nmeasure = 1").expect("written");
    let damaged = error(&["--key-to-policy", "damaged"]);
    assert!(damaged.contains("line 2: unknown field"), "{damaged}");
    let missing = error(&["--key-to-policy", "nowhere"]);
    assert!(missing.contains("key-to-policy: nowhere:"), "{missing}");
}

#[test]
fn a_certificate_of_an_authority_of_the_operators_own_is_trusted_where_it_is_named() {
    let (old_folder, new_folder) = (accepting(), accepting());
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(old_folder.path("cert.pem"), &certificate).expect("written");
    fs::write(old_folder.path("key.pem"), key).expect("written");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(old_folder.path("key.pem"), private).expect("private");
    fs::write(new_folder.path("ca.pem"), &certificate).expect("written");
    let old = old_folder.start(&[&TO[..], &["--admin-tls", "cert.pem,key.pem"]].concat());
    let with = |ca: &[&str]| -> Vec<String> {
        let url = format!("https://{}", old.admin());
        let own = ["--key-from", &url, "--key-from-policy", "policy"];
        let options = SIMULATOR.iter().chain(&own).chain(ca);
        options.map(|one| (*one).to_owned()).collect()
    };
    let error = refused_with(&new_folder, &with(&[]), "https");
    assert!(error.contains("certificate"), "{error}");
    let missing = with(&["--key-from-ca", "policy"]);
    let ended = new_folder.run(&texts(&missing));
    assert!(ended.only_error().contains("key-from-ca: policy: "));
    let alone = new_folder.run(&["--key-from-ca", "ca.pem"]);
    assert!(alone.only_error().contains("key-from-ca: it is for"));
    let options = with(&["--key-from-ca", "ca.pem"]);
    let _new = new_folder.start(&texts(&options));
    assert_eq!(key_of(&new_folder), key_of(&old_folder));
}

fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock").as_secs()
}

/// Asks the daemon; gives the answer, or what it says in place of one.
fn ask(old: &Daemon, request: &[u8]) -> Result<Value, String> {
    let arguments = json!({ "request": format!("0x{}", hex::encode(request)) });
    let answer = old.try_call("Operation.KeyHandover", &arguments.to_string());
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    match head.starts_with("HTTP/1.1 200") {
        true => Ok(serde_json::from_str(body).expect("JSON")),
        false => Err(body.to_owned()),
    }
}

fn bytes(answer: &Value, field: &str) -> Vec<u8> {
    let digits = answer[field]
        .as_str()
        .expect("hex")
        .trim_start_matches("0x");
    hex::decode(digits).expect("hex")
}

/// A request over a nonce that the daemon has just given.
fn request(old: &Daemon, change: impl FnOnce(&mut KeyRequestClaims)) -> KeyRequest {
    let nonce = bytes(&ask(old, b"").expect("a nonce"), "nonce");
    let mut claims = KeyRequestClaims {
        version: KeyRequestClaims::VERSION,
        recipient: Recipient::new(&[1; 32]).public(),
        nonce: nonce.try_into().expect("32 bytes"),
        software: Bounded::default(),
        host_controlled: Bounded::default(),
        issued_at: unix_s(),
        expires_at: unix_s() + 60,
    };
    change(&mut claims);
    let claims = claims.encode();
    let made = Simulator::new(&DEVELOPMENT_SEED, Enclave::default(), Platform::default());
    let simulator = made.expect("certificates");
    let quote = simulator.quote(&report_data::for_key_request(&claims));
    let collateral = simulator.collateral(unix_s()).expect("a time");
    KeyRequest {
        quote: Quote::Simulator(Bounded::new(quote).expect("short")),
        claims: Bounded::new(claims).expect("short"),
        collateral: Some(Bounded::new(collateral.into_bytes()).expect("short")),
    }
}

#[test]
fn a_request_counts_once_unchanged_and_in_its_time() {
    let folder = accepting();
    let old = folder.start(&TO);
    let good = request(&old, |_| {});
    let answer = ask(&old, &good.encode()).expect("an answer");
    let handover: KeyHandover = statement::decode(&bytes(&answer, "handover")).expect("one");
    let claims = handover.evidence.worker_claims().expect("claims");
    assert_eq!(*claims.nonce, good.hash(), "evidence of this very request");
    assert_eq!(
        format!("0x{}", hex::encode(claims.pubkey)),
        old.public_key()
    );
    let again = ask(&old, &good.encode()).expect_err("replayed");
    assert!(again.contains("has been used"), "{again}");
    old.wait_for_line("was not handed over");

    let error = |request: &KeyRequest| ask(&old, &request.encode()).expect_err("is refused");
    let stale = request(&old, |_| {});
    request(&old, |_| {});
    let stale = error(&stale);
    assert!(stale.contains("was not given last"), "{stale}");
    let expired = error(&request(&old, |claims| {
        claims.issued_at -= 1000;
        claims.expires_at -= 900;
    }));
    assert!(expired.contains("request.time"), "{expired}");
    let other = error(&request(&old, |claims| claims.version = 2));
    assert!(other.contains("request.claims"), "{other}");
    let none = error(&request(&old, |claims| claims.recipient = [0; 32]));
    assert!(
        none.contains("the key to encrypt to is not valid"),
        "{none}"
    );
    // What the worker attests of itself is no request.
    let mut kind = request(&old, |_| {});
    let evidence = old.call("Operation.WorkerEvidence");
    let evidence: Value = serde_json::from_str(&evidence).expect("JSON");
    let evidence = bytes(&evidence, "evidence");
    kind.quote = statement::decode::<statement::WorkerEvidence>(&evidence)
        .expect("evidence")
        .quote;
    let kind = error(&kind);
    assert!(kind.contains("request.binding"), "{kind}");
}

#[test]
fn a_request_with_a_flipped_byte_is_refused() {
    let folder = accepting();
    let old = folder.start(&TO);
    let length = request(&old, |_| {}).claims.len();
    for at in (0..length).step_by(5) {
        let mut flipped = request(&old, |_| {});
        let mut claims = flipped.claims.to_vec();
        claims[at] ^= 1;
        flipped.claims = Bounded::new(claims).expect("short");
        assert!(ask(&old, &flipped.encode()).is_err(), "claims, byte {at}");
    }
    // The report, and its signature.
    for at in (48..500).step_by(23) {
        let mut flipped = request(&old, |_| {});
        let Quote::Simulator(quote) = &flipped.quote else {
            panic!("a quote of something else");
        };
        let mut quote = quote.to_vec();
        quote[at] ^= 1;
        flipped.quote = Quote::Simulator(Bounded::new(quote).expect("short"));
        assert!(ask(&old, &flipped.encode()).is_err(), "quote, byte {at}");
    }
    for garbage in [&b"x"[..], &[0xff; 64], &[3; 4096]] {
        let error = ask(&old, garbage).expect_err("is refused");
        assert!(error.contains("cannot be read"), "{error}");
    }
    assert!(ask(&old, &request(&old, |_| {}).encode()).is_ok());
}
