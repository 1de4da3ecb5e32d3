//! What a guest asks about itself: how much stack is left, how long it has computed;
//! and the alarm that it sets for itself.

use std::time::{Duration, Instant};

use e2e::probe::Script;
use e2e::{App, Daemon, Errno, Operator, Probe, text_guest, within};
use wapod::{ExitReason, Phase, RestartPolicy};

/// Stack of wasm code.
const STACK_BYTES: u32 = 2 * 1024 * 1024;
/// What an answer may be short of.
const SLACK_BYTES: u32 = 32 * 1024;

/// A guest that recurses until less than `reserve` is left, in `_initialize` and in
/// each of three polls. At each level it asks twice, and computes for several slices
/// at some of them in between. It traps with `unreachable` if an answer is not smaller
/// than that of the level above, or not the same for the same level.
fn recursion(reserve: u32) -> String {
    format!(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (memory (export "memory") 1)
          (global $polls (mut i32) (i32.const 0))
          (global $levels (mut i32) (i32.const 0))
          (func $call (param $id i32) (result i32)
            (local $result i64)
            (local.set $result (call $fast (i32.const 0) (local.get $id)
              (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
            (if (i64.ne (i64.shr_u (local.get $result) (i64.const 32)) (i64.const 0))
              (then unreachable))
            (i32.wrap_i64 (local.get $result)))
          (func $spin (local $n i32)
            (local.set $n (i32.const 200000))
            (loop $again
              (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
          (func $recurse (param $above i32) (result i32)
            (local $left i32) (local $deepest i32)
            (global.set $levels (i32.add (global.get $levels) (i32.const 1)))
            (local.set $left (call $call (i32.const 318)))
            (if (i32.ge_u (local.get $left) (local.get $above)) (then unreachable))
            (if (i32.eqz (i32.and (global.get $levels) (i32.const 255))) (then (call $spin)))
            (if (i32.lt_u (local.get $left) (i32.const {reserve}))
              (then (return (local.get $left))))
            (local.set $deepest (call $recurse (local.get $left)))
            (if (i32.ne (local.get $left) (call $call (i32.const 318))) (then unreachable))
            (local.get $deepest))
          (func $check
            (local $left i32)
            (local.set $left (call $call (i32.const 318)))
            (if (i32.gt_u (local.get $left) (i32.const {STACK_BYTES})) (then unreachable))
            (if (i32.lt_u (local.get $left) (i32.const {least})) (then unreachable))
            (drop (call $recurse (local.get $left)))
            (if (i32.lt_u (global.get $levels) (i32.const 1000)) (then unreachable)))
          (func (export "_initialize") (call $check))
          (func (export "wapo_poll") (result i32)
            (call $check)
            (global.set $polls (i32.add (global.get $polls) (i32.const 1)))
            (drop (call $call (i32.const 109)))
            (i32.eq (global.get $polls) (i32.const 3))))"#,
        least = STACK_BYTES - SLACK_BYTES,
    )
}

async fn run(text: &str) -> App {
    Daemon::start().await.deploy(text_guest(text)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_that_asks_how_much_stack_is_left_never_traps() {
    for reserve in [32 * 1024, 1] {
        let app = run(&recursion(reserve)).await;
        assert_eq!(app.exited().await, ExitReason::Finished, "{reserve}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_that_goes_on_with_no_stack_left_traps() {
    // At the deepest level the answer is 0, and so it is below: no level stops.
    let text = recursion(0).replace(
        "(if (i32.ge_u (local.get $left) (local.get $above)) (then unreachable))",
        "",
    );
    let reason = run(&text).await.exited().await;
    assert!(
        matches!(&reason, ExitReason::Trapped(text) if text.contains("stack")),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_poll_has_the_whole_stack_again() {
    let probe = Probe::start().await;
    let first = probe.stack_left().await.unwrap();
    assert!((STACK_BYTES - SLACK_BYTES..STACK_BYTES).contains(&first));
    for _ in 0..50 {
        assert_eq!(probe.stack_left().await, Ok(first));
    }
}

/// Sets an alarm of so many milliseconds in its first poll, and loops for ever.
fn looping(limit_ms: u32) -> String {
    format!(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (memory (export "memory") 1)
          (func (export "wapo_poll") (result i32)
            (drop (call $fast (i32.const 0) (i32.const 319)
              (i32.const {limit_ms}) (i32.const 0) (i32.const 0) (i32.const 0)))
            (loop $for_ever (br $for_ever))
            (i32.const 0)))"#
    )
}

const ALARM: &str = "one poll computed for longer than the 200 ms that the guest allows itself";

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_beyond_the_guests_own_limit_ends_with_503_and_a_fresh_instance() {
    let daemon = Daemon::start().await;
    let neighbour = Probe::on(&daemon, |app| app.label = "neighbour".to_owned()).await;
    let probe = Probe::on(&daemon, |app| app.restart = RestartPolicy::OnFailure).await;
    assert_eq!(probe.limit_poll(200).await, Ok(0));
    let channel = probe.create_input_channel(4).await.unwrap();
    let url = probe.app().url("/");
    let asking = tokio::spawn(async move { e2e::client::get(&url).await });
    let _taken = probe.next_exchange(channel).await;
    let ended = probe.try_run(&Script::new().spin()).await;
    assert!(ended.is_err(), "it is not answered");
    within("the answer", asking)
        .await
        .unwrap()
        .expect_status(503);
    assert!(probe.getrandom(1).await.is_ok(), "a fresh instance answers");
    assert_eq!(probe.app().usage().starts, 2);
    probe.app().expect_log(ALARM).await;
    assert!(neighbour.getrandom(1).await.is_ok());
    assert_eq!(neighbour.app().usage().starts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_has_answered_is_followed_by_the_next_one_without_a_pause() {
    let probe = Probe::with(|app| app.restart = RestartPolicy::OnFailure).await;
    let begun = Instant::now();
    for starts in 1..=8 {
        assert_eq!(probe.limit_poll(10).await, Ok(0));
        assert_eq!(probe.app().usage().starts, starts);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ended = probe.try_run(&Script::new().spin()).await;
        assert!(ended.is_err());
    }
    assert!(probe.getrandom(1).await.is_ok());
    // After crashes the pauses are 0.1 + 0.2 + ... + 12.8 s.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_ends_each_start_is_no_way_around_the_pauses() {
    let mut config = text_guest(&looping(1));
    config.restart = RestartPolicy::OnFailure;
    let begun = Instant::now();
    let app = Daemon::start().await.deploy(config).await;
    app.until("restarts", |status| status.restarts == 3).await;
    // 100 + 200 + 400 ms.
    assert!(begun.elapsed() >= Duration::from_millis(690));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_tried_out_outlives_its_own_limit_and_no_other_end() {
    let probe = Probe::with(|app| app.restart = RestartPolicy::AfterPollLimit).await;
    assert_eq!(probe.limit_poll(10).await, Ok(0));
    assert!(probe.try_run(&Script::new().spin()).await.is_err());
    assert!(probe.getrandom(1).await.is_ok(), "a fresh instance answers");
    assert!(probe.try_run(&Script::new().trap()).await.is_err());
    let ended = probe.app().exited().await;
    assert!(matches!(ended, ExitReason::Trapped(_)), "{ended:?}");
    assert_eq!(probe.app().usage().starts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_tried_out_and_serves_nobody_ends_with_its_own_limit() {
    let mut config = text_guest(&looping(1));
    config.restart = RestartPolicy::AfterPollLimit;
    let app = Daemon::start().await.deploy(config).await;
    let ended = app.exited().await;
    assert!(matches!(ended, ExitReason::PollTooLong(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_that_an_instance_has_ended_by_its_own_limit() {
    let operator = Operator::start().await;
    let address = operator.deploy(&text_guest(&looping(200))).await;
    let info = operator.until("a pause", address, |app| app.state == "waiting");
    assert_eq!(info.await.reason, ALARM);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_can_be_taken_back_and_is_no_number_below_zero() {
    let probe = Probe::start().await;
    assert_eq!(probe.limit_poll(-1).await, Err(Errno::InvalidParameter));
    assert_eq!(probe.limit_poll(1).await, Ok(0));
    assert_eq!(probe.limit_poll(0).await, Ok(0));
    let before = time(&probe).await;
    // Far more than a millisecond, in one poll.
    probe.run(&computing()).await;
    let computed = time(&probe).await - before;
    assert!(computed > Duration::from_millis(1), "{computed:?}");
    assert_eq!(probe.app().usage().starts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_polls_are_within_a_limit_however_many_they_are() {
    let probe = Probe::start().await;
    assert_eq!(probe.limit_poll(500).await, Ok(0));
    let begun = time(&probe).await;
    while time(&probe).await - begun < Duration::from_secs(1) {
        probe.run(&computing()).await;
    }
    assert_eq!(probe.app().usage().starts, 1);
    assert_eq!(probe.app().status().phase, Phase::Running);
}

/// Calls for some ten milliseconds, in one poll.
fn computing() -> Script {
    Script::new().fast_times(100_000, 318, [0; 4])
}

async fn time(probe: &Probe) -> Duration {
    let bytes = probe.cpu_time(8).await.unwrap();
    Duration::from_nanos(u64::from_le_bytes(bytes.try_into().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_an_instance_grows_while_it_computes_and_not_while_it_waits() {
    const PAUSE: Duration = Duration::from_secs(2);
    let probe = Probe::start().await;
    let first = time(&probe).await;
    assert!(first < Duration::from_millis(2), "{first:?}");
    let begun = Instant::now();
    probe.run(&computing()).await;
    let second = time(&probe).await;
    assert!(second > first && second - first < begun.elapsed());
    tokio::time::sleep(PAUSE).await;
    let waited = time(&probe).await - second;
    assert!(waited < PAUSE / 2, "{waited:?}");
    assert_eq!(probe.cpu_time(7).await, Err(Errno::InvalidParameter));
    assert_eq!(probe.cpu_time(16).await.unwrap()[8..], [0; 8]);
    let outside = probe.fast(320, [u32::MAX, 8, 0, 0]).await;
    assert_eq!(outside, Err(Errno::InvalidParameter));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_present_poll_is_told_while_it_lasts() {
    // Ends when it has computed for 50 ms; the time never goes back.
    let text = r#"(module
        (import "wapo" "ocall_fast_return"
          (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (global $last (mut i64) (i64.const 0))
        (func (export "wapo_poll") (result i32)
          (loop $again
            (drop (call $fast (i32.const 0) (i32.const 320)
              (i32.const 64) (i32.const 8) (i32.const 0) (i32.const 0)))
            (if (i64.lt_u (i64.load (i32.const 64)) (global.get $last)) (then unreachable))
            (global.set $last (i64.load (i32.const 64)))
            (br_if $again (i64.lt_u (global.get $last) (i64.const 50_000_000))))
          (i32.const 1)))"#;
    let begun = Instant::now();
    let app = run(text).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
    assert!(begun.elapsed() >= Duration::from_millis(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_deep_stacks_is_on_the_workers_budget() {
    let daemon = Daemon::start().await;
    // It stays after its recursion, and its stack is as deep as it was.
    let text = recursion(32 * 1024).replace(
        "(i32.eq (global.get $polls) (i32.const 3))",
        "(i32.const 0)",
    );
    let text = text.replace("(drop (call $call (i32.const 109)))", "");
    let mut config = text_guest(&text);
    config.label = "deep".to_owned();
    let app = daemon.deploy(config).await;
    app.is_running().await;
    let memory = || daemon.running().guest_memory_bytes();
    within("the charge", async {
        while memory() < 3 << 19 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    app.stop().await;
    assert_eq!(memory(), 0);
}
