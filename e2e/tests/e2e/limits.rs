//! What an app may have at most.

use e2e::probe::{SCRATCH, Script};
use e2e::{App, Daemon, Probe, guest, text_guest};
use wapod::ExitReason;

const PAGE: u64 = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn memory_stops_at_the_limit() {
    let probe = Probe::with(|app| app.memory_max_bytes = Some(40 * PAGE)).await;
    let script = Script::new().grow(9).grow(8).grow(1).grow(0x7fff_ffff);
    let mut output = probe.run(&script).await;
    let results: Vec<u32> = (0..4).map(|_| output.number()).collect();
    assert_eq!(results, [u32::MAX, 32, u32::MAX, u32::MAX]);
    assert_eq!(probe.app().usage().memory_bytes, 40 * PAGE);
    let last = SCRATCH + (24 << 16) - 1;
    assert_eq!(probe.read(last, 1).await, [0], "the last byte is there");
    probe.app().stop().await;
    assert_eq!(probe.app().usage().memory_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_out_of_memory_gets_an_error_not_more() {
    let mut config = guest("sdk-suite");
    config.memory_max_bytes = Some(16 << 20);
    let app = Daemon::start().await.deploy(config).await;
    assert_eq!(app.ask_number("/alloc/1000000").await, 1_000_000);
    assert!(app.query("/alloc/20000000", []).await.is_err());
    assert_eq!(app.ask("/").await, "sdk-suite", "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_begins_above_the_limit_does_not_start() {
    let mut config = text_guest(
        r#"(module (memory (export "memory") 100)
            (func (export "wapo_poll") (result i32) (i32.const 0)))"#,
    );
    config.memory_max_bytes = Some(99 * PAGE);
    let error = Daemon::start().await.try_deploy(config).await;
    let text = error.err().unwrap().to_string();
    assert!(text.contains("6400 KiB of memory"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_cannot_be_given_more_than_the_server_has() {
    let daemon = Daemon::with(|config| config.memory_max_bytes = 64 << 20).await;
    let mut config = guest("hello-http");
    config.memory_max_bytes = Some(65 << 20);
    let error = daemon.try_deploy(config).await.err().unwrap().to_string();
    assert!(error.contains("memory"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_do_not_grow_without_end() {
    let text = r#"(module (memory (export "memory") 1) (table 1 funcref)
        (func (export "wapo_poll") (result i32)
          (if (i32.ne (table.grow (ref.null func) (i32.const 10_000_000)) (i32.const -1))
            (then unreachable))
          (i32.const 1)))"#;
    let app = Daemon::start().await.deploy(text_guest(text)).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_ends_a_guest_that_loops() {
    let probe = Probe::with(|app| app.gas_max = Some(100_000)).await;
    let asked = probe.try_run(&Script::new().spin()).await;
    assert!(asked.is_err());
    assert_eq!(
        probe.app().exited().await,
        ExitReason::GasExhausted(100_000)
    );
    let gas = probe.app().usage().gas;
    assert!((99_999..102_000).contains(&gas), "{gas}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_ends_a_guest_that_calls_the_host() {
    let probe = Probe::with(|app| app.gas_max = Some(1_000_000)).await;
    // 10 gas for each byte.
    let script = Script::new().fast_times(1_000, 113, [SCRATCH, 10_000, 0, 0]);
    let _answer = probe.try_run(&script).await;
    assert_eq!(
        probe.app().exited().await,
        ExitReason::GasExhausted(1_000_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_ends_a_guest_that_calls_the_host_and_never_returns() {
    let text = r#"(module
        (import "wapo" "ocall_fast_return"
          (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "wapo_poll") (result i32)
          (loop $for_ever
            (drop (call $fast (i32.const 0) (i32.const 113)
              (i32.const 0) (i32.const 10000) (i32.const 0) (i32.const 0)))
            (br $for_ever))
          (i32.const 0)))"#;
    let mut config = text_guest(text);
    config.gas_max = Some(10_000_000);
    let app = Daemon::start().await.deploy(config).await;
    assert_eq!(app.exited().await, ExitReason::GasExhausted(10_000_000));
    // A slice of work more: some twenty calls.
    let gas = app.usage().gas;
    assert!((10_000_000..13_000_000).contains(&gas), "{gas}");
}

async fn crowd(daemon: &Daemon, count: usize) -> Vec<App> {
    let mut apps = Vec::new();
    for number in 0..count {
        let mut config = guest("hello-http");
        config.label = number.to_string();
        apps.push(daemon.deploy(config).await);
    }
    apps
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_too_many_says_so() {
    let daemon = Daemon::with(|config| config.instances_max = 3).await;
    let apps = crowd(&daemon, 3).await;
    for app in &apps {
        app.get("/").await.expect_text("Hello, World!\n");
    }
    let mut config = guest("hello-http");
    config.label = "one more".into();
    let refused = daemon.try_deploy(config.clone()).await;
    let error = refused.err().expect("there is no slot").to_string();
    assert!(error.contains("No available slots"), "{error}");
    apps[0].stop().await;
    let more = daemon.deploy(config).await;
    more.get("/").await.expect_text("Hello, World!\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_not_longer_than_the_app_says() {
    let mut config = guest("query");
    config.query_max_bytes = 1_000;
    let app = Daemon::start().await.deploy(config).await;
    let payload = vec![b'x'; 1_000 - "/echo".len()];
    assert_eq!(
        app.query("/echo", payload.clone()).await,
        Ok(payload.clone())
    );
    let long = [payload, vec![b'x']].concat();
    let error = app.query("/echo", long).await.unwrap_err();
    assert!(error.contains("1000 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_an_ended_guest_is_not_seen_by_the_next() {
    // One slot, so that the second guest lives where the first one did.
    let daemon = Daemon::with(|config| config.instances_max = 1).await;
    let first = Probe::on(&daemon, |app| app.label = "first".into()).await;
    let pages = 64;
    first.run(&Script::new().grow(pages)).await;
    first
        .run(&Script::new().fill(SCRATCH, 0x5e, (pages + 16) << 16))
        .await;
    assert_eq!(first.read(SCRATCH, 4).await, [0x5e; 4]);
    first.app().stop().await;

    let second = Probe::on(&daemon, |app| app.label = "second".into()).await;
    second.run(&Script::new().grow(pages)).await;
    for page in 0..pages + 16 {
        let seen = second.read(SCRATCH + (page << 16), 0x8000).await;
        assert!(seen.iter().all(|byte| *byte == 0), "page {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_memory_costs_gas() {
    let daemon = Daemon::start().await;
    let fill = async |len| Probe::gas_of(&daemon, &Script::new().fill(SCRATCH, 1, len)).await;
    let (small, large) = (fill(1).await, fill(1 << 20).await);
    assert!(large > small + 100, "{small} and {large}");
}
