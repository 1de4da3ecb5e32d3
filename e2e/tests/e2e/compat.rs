//! Guests that were built for Wapo 0.x, and what today's compilers emit.

use e2e::probe::{Drain, Script};
use e2e::{App, Daemon, Probe, client, fixture, fixture_with, guest, guests, ports};
use wapod::{AppConfig, ExitReason};

const PRESENT: &[(&str, &str)] = &[
    (
        r#""env" "sidevm_ocall_fast_return""#,
        r#""wapo" "ocall_fast_return""#,
    ),
    (r#""env" "sidevm_ocall""#, r#""wapo" "ocall""#),
    ("sidevm_poll", "wapo_poll"),
];

async fn run(config: AppConfig) -> (App, ExitReason) {
    let app = Daemon::start().await.deploy(config).await;
    let reason = app.exited().await;
    (app, reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_imports_reach_the_same_calls() {
    let mut outputs = Vec::new();
    for config in [fixture("older-names"), fixture_with("older-names", PRESENT)] {
        let (app, reason) = run(config).await;
        assert_eq!(reason, ExitReason::Finished);
        outputs.push(app.handle().take_output());
    }
    assert_eq!(outputs[0], outputs[1]);
    let count = outputs[0].len() / 8;
    assert!(count >= 40, "{count} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_with_the_older_names_serves() {
    let older: Vec<(&str, &str)> = PRESENT.iter().map(|(old, new)| (*new, *old)).collect();
    let app = Daemon::start()
        .await
        .deploy(fixture_with("probe", &older))
        .await;
    let probe = Probe::of(app);
    probe.run(&Script::new().drain(Drain::Older)).await;
    let timer = probe.create_timer(10).await.unwrap();
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_present_poll_export_goes_first() {
    let both = r#"(module (memory (export "memory") 1)
        (func (export "sidevm_poll") (result i32) unreachable)
        (func (export "wapo_poll") (result i32) (i32.const 1)))"#;
    let (_, reason) = run(e2e::text_guest(both)).await;
    assert_eq!(reason, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_wasi_is_there() {
    let (app, reason) = run(fixture("wasi-unstable")).await;
    assert_eq!(reason, ExitReason::Exited(7));
    app.expect_log("an older WASI").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_todays_compilers_load() {
    let wasm = std::fs::read(guests::path_of("sdk-suite")).unwrap();
    // Indirect calls whose table index takes five bytes instead of one, after
    // a type of five bytes: with them, a module needs reference types.
    let is_long_call =
        |bytes: &[u8]| bytes[0] == 0x11 && bytes.ends_with(&[0x80, 0x80, 0x80, 0x80, 0]);
    assert!(
        wasm.windows(11).any(is_long_call),
        "the compiler has changed"
    );
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    assert_eq!(app.ask("/").await, "sdk-suite");
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_compilers_use_are_on() {
    let text = r#"(module (memory (export "memory") 1)
        (table $t 4 funcref)
        (global $base i32 (i32.add (i32.const 1) (i32.const 2)))
        (elem declare func $two)
        (func $two (result i32 i32) (i32.const 1) (i32.const 2))
        (func $tail (result i32) (return_call $one))
        (func $one (result i32) (i32.const 1))
        (func (export "wapo_poll") (result i32)
          (memory.fill (i32.const 0) (i32.const 1) (i32.const 8))
          (memory.copy (i32.const 8) (i32.const 0) (i32.const 8))
          (table.set $t (i32.const 0) (ref.func $two))
          (call_indirect $t (result i32 i32) (i32.const 0)) drop drop
          (drop (i32.extend8_s (i32.const 200)))
          (drop (i32.trunc_sat_f32_s (f32.const nan)))
          (drop (i32x4.extract_lane 0 (i32x4.add (v128.const i32x4 1 2 3 4)
            (v128.const i32x4 1 2 3 4))))
          (call $tail)))"#;
    let (_, reason) = run(e2e::text_guest(text)).await;
    assert_eq!(reason, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_of_the_published_sdk_serves() {
    let port = ports::free();
    let mut config = guest("compat-v0");
    config.listen_ports = ports::only(port);
    config.args = vec![format!("127.0.0.1:{port}")];
    let app = Daemon::start().await.deploy(config).await;
    let url = format!("http://{}", app.listening().await);
    client::get(&format!("{url}/"))
        .await
        .expect_text("Hello, World!");
    let asking = (0..50).map(|number| {
        let verb = if number % 2 == 0 { "sleep" } else { "select" };
        let url = format!("{url}/{verb}/{}", number * 3);
        tokio::spawn(async move { client::get(&url).await })
    });
    for answer in asking.collect::<Vec<_>>() {
        answer.await.unwrap().expect_text("Hello, World!");
    }
    // The exit code of a program of Wapo 0.x is kept, too.
    let _gone = client::try_send(hyper::Method::GET, &format!("{url}/exit"), Vec::new()).await;
    assert_eq!(app.exited().await, ExitReason::Exited(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_guest_of_the_published_sdk_is_a_trap() {
    let port = ports::free();
    let mut config = guest("compat-v0");
    config.listen_ports = ports::only(port);
    config.args = vec![format!("127.0.0.1:{port}")];
    let app = Daemon::start().await.deploy(config).await;
    let url = format!("http://{}/panic", app.listening().await);
    let answer = client::try_send(hyper::Method::GET, &url, Vec::new()).await;
    assert!(answer.is_err());
    assert!(matches!(app.exited().await, ExitReason::Trapped(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_wapo_0_compiles_against_both_crates_and_links() {
    for name in ["compat-v0-api", "compat-v0-api-ours"] {
        let app = Daemon::start().await.deploy(guest(name)).await;
        assert_eq!(app.exited().await, ExitReason::Finished, "{name}");
        app.expect_log("every name is there").await;
    }
}
