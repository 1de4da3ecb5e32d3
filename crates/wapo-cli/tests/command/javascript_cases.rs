//! Programs in JavaScript and what a client must get of them: the cases below
//! `guests/wapo-js/tests`, each served by `wapo run`.
//!
//! A case is `NN-name.js` or `.ts` with `NN-name.expect.json` beside it; the
//! members of that are read by [`crate::support::expectation`]. A service is a program
//! that checks what it runs on, and answers with what it found wrong.

use std::path::{Path, PathBuf};

use crate::support::expectation;
use crate::support::running::Running;
use serde_json::Value;

/// Processor time of a request in the cases that use it up, in milliseconds.
const REQUEST_CPU_MS: &str = "2000";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../guests/wapo-js/tests")
        .join(name)
}

/// Serves a program that is limited by these variables, or by none.
async fn serve(program: &Path, limits: &[String]) -> (Running, String, tempfile::TempDir) {
    let place = tempfile::tempdir().expect("folder");
    let program = program.display().to_string();
    // Programs ask themselves, and the worker's own port needs a rule that names it.
    let own = free_address();
    let mut arguments = vec![program.as_str(), "--allow-egress", &own];
    arguments.extend(limits.iter().flat_map(|limit| ["--env", limit.as_str()]));
    let (running, address) = Running::serving(place.path(), &own, &arguments).await;
    (running, address, place)
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// Runs a case; `known` are members of its answer that are known to differ.
async fn case(name: &str, known: &[&str]) {
    let cases = folder("cases");
    let script = ["js", "ts"].map(|kind| cases.join(format!("{name}.{kind}")));
    let script = script.iter().find(|path| path.exists()).expect(name);
    let expected = std::fs::read_to_string(cases.join(format!("{name}.expect.json")));
    let expected: Value = serde_json::from_str(&expected.expect(name)).expect("JSON");
    let limit = format!("WAPO_JS_REQUEST_CPU_MS={REQUEST_CPU_MS}");
    let (running, address, _place) = serve(script, &[limit]).await;
    let wrong = expectation::drive(&address, &expected, known).await;
    running.interrupt().await;
    assert_eq!(wrong, Vec::<String>::new(), "{name}");
}

/// Runs a service and asks what it found wrong; `known` is what it is known to find.
async fn service(name: &str, known: &[&str]) {
    let script = folder("services").join(format!("{name}.js"));
    // A request may compute for longer than in cases: on a busy machine some do.
    let (running, address, _place) = serve(&script, &[]).await;
    let answer = crate::support::get(&address, "/").await;
    running.interrupt().await;
    let (_, body) = answer.rsplit_once("\r\n\r\n").expect("a body");
    let found = match body.trim_end() {
        "ok" => serde_json::json!([]),
        body => {
            let all: Value =
                serde_json::from_str(body).unwrap_or_else(|_| panic!("{name}: {answer}"));
            all["bad"].clone()
        }
    };
    assert_eq!(found, serde_json::json!(known), "{name}");
}

macro_rules! cases {
    ($($test:ident: $name:literal $(but $known:expr)?;)*) => {$(
        #[tokio::test]
        async fn $test() {
            case($name, &[$($known)?]).await;
        }
    )*};
}

cases! {
    cookies: "01-cookies";
    header_rules: "02-header-rules";
    body_once: "03-body-once";
    body_types: "04-body-types";
    response_rules: "05-response-rules";
    request_wire: "06-request-wire";
    redirects: "07-redirects";
    fetch_abort: "08-fetch-abort";
    url_parsing: "09-url-parsing";
    search_params: "10-search-params";
    url_pattern: "11-url-pattern";
    text_decoder: "12-text-decoder";
    stream_tee: "13-stream-tee";
    stream_flow: "14-stream-flow";
    blob_file: "15-blob-file";
    multipart: "16-multipart";
    structured_clone: "17-structured-clone";
    abort_signals: "18-abort-signals";
    event_target: "19-event-target";
    task_order: "20-task-order";
    unhandled_rejection: "21-unhandled-rejection";
    crypto_hash_kdf: "22-crypto-hash-kdf";
    crypto_ciphers: "23-crypto-ciphers";
    crypto_signatures: "24-crypto-signatures";
    compression: "25-compression";
    base64: "26-base64";
    strings_without_intl: "27-strings-without-intl";
    dates: "28-dates";
    // The engine refuses more than 255 alternatives with a group of one name.
    regexp: "29-regexp" but "manyNames";
    json_bigint: "30-json-bigint";
    modules: "31-modules";
    typescript: "32-typescript";
    // The engine gives an error made over several lines the place of its last argument.
    stack_lines: "33-stack-lines" but "line";
    events_stream: "35-events-stream";
    websocket_client: "36-websocket-client";
    too_big: "42-too-big";
}

#[tokio::test]
async fn a_script_without_end_costs_its_own_request() {
    case("37-endless-loop", &[]).await;
}

#[tokio::test]
async fn promises_without_end_cost_their_own_request() {
    case("40-endless-promises", &[]).await;
}

#[tokio::test]
async fn calls_that_are_too_deep_are_an_exception() {
    case("41-deep-recursion", &[]).await;
}

#[tokio::test]
async fn what_a_handler_throws_costs_its_own_request() {
    case("38-handler-throws", &[]).await;
}

#[tokio::test]
async fn a_body_that_fails_does_not_look_complete() {
    case("39-stream-throws", &[]).await;
}

#[tokio::test]
async fn what_an_instance_has_allocated_is_told() {
    service("engine", &[]).await;
}

macro_rules! services {
    ($($test:ident: $name:literal $(but $known:expr)?;)*) => {$(
        #[tokio::test]
        async fn $test() {
            service($name, &[$($known)?]).await;
        }
    )*};
}

services! {
    service_bodies: "bodies";
    service_clone: "clone";
    service_crypto: "crypto";
    service_encoding: "encoding";
    service_events: "events";
    service_fetching: "fetching";
    service_hostile: "hostile";
    service_interfaces: "interfaces";
    service_scale: "scale";
}

#[tokio::test]
async fn modules_of_node_do_what_their_documentation_says() {
    service("node", &[]).await;
}

#[tokio::test]
async fn a_store_follows_its_program_and_nobody_else_sees_it() {
    service("context", &[]).await;
}

#[tokio::test]
async fn isolates_give_what_they_made_and_have_what_they_were_given() {
    service("isolates", &[]).await;
}

#[tokio::test]
async fn modules_of_webassembly_are_what_the_interface_says() {
    service("wasm", &[]).await;
}
