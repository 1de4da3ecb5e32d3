//! How instances begin, share, and end.

mod support;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{ended, engine, module, run, running, start};
use wapo_host::{ExitReason, InstanceConfig, LoadError, Meter, Phase, RestartPolicy, Weight};

const SPIN: &str = r#"(func (export "wapo_poll") (result i32) (loop $l (br $l)) (i32.const 0))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_returns_one_is_finished() {
    let reason = run(
        &engine(),
        r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#,
    )
    .await;
    assert_eq!(reason, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_poll_export_is_used() {
    let reason = run(
        &engine(),
        r#"(func (export "sidevm_poll") (result i32) (i32.const 1))"#,
    )
    .await;
    assert_eq!(reason, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_number_is_a_violation() {
    let reason = run(
        &engine(),
        r#"(func (export "wapo_poll") (result i32) (i32.const 7))"#,
    )
    .await;
    assert!(matches!(reason, ExitReason::Violation(text) if text.contains("returned 7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_names_its_reason_and_function() {
    let reason = run(
        &engine(),
        r#"(func $inner unreachable)
           (func (export "wapo_poll") (result i32) (call $inner) (i32.const 0))"#,
    )
    .await;
    let ExitReason::Trapped(text) = reason else {
        panic!("not a trap: {reason}");
    };
    assert!(text.contains("unreachable"), "{text}");
    assert!(text.contains("inner"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_stopped_within_moments() {
    let (handle, _) = start(&engine(), SPIN, InstanceConfig::default()).await;
    running(&handle).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    handle.stop();
    assert_eq!(ended(&handle).await, ExitReason::Stopped);
    assert!(begun.elapsed() < Duration::from_millis(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_handle_ends_a_loop_and_frees_its_slot() {
    let engine = engine();
    for _ in 0..40 {
        let (handle, _) = start(&engine, SPIN, InstanceConfig::default()).await;
        running(&handle).await;
        let mut status = handle.status();
        drop(handle);
        let end = status.wait_for(|status| matches!(status.phase, Phase::Ended(_)));
        let ended = tokio::time::timeout(Duration::from_secs(5), end).await;
        assert!(ended.expect("in time").is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gas_limit_ends_a_loop_exactly() {
    let config = InstanceConfig {
        gas_max: Some(1_000),
        ..InstanceConfig::default()
    };
    let meter = Arc::clone(&config.meter);
    let (handle, _) = start(&engine(), SPIN, config).await;
    assert_eq!(ended(&handle).await, ExitReason::GasExhausted(1_000));
    let gas = meter.read().gas;
    assert!((999..=1_001).contains(&gas), "{gas}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_limit_ends_a_loop() {
    let config = InstanceConfig {
        time_max: Some(Duration::from_millis(100)),
        ..InstanceConfig::default()
    };
    let (handle, _) = start(&engine(), SPIN, config).await;
    let reason = ended(&handle).await;
    assert_eq!(reason, ExitReason::TimeExceeded(Duration::from_millis(100)));
    assert_eq!(reason.to_string(), "time limit of 100ms reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn weights_divide_the_processor() {
    let engine = engine();
    let share = |weight| InstanceConfig {
        weight: Arc::new(Weight::new(NonZeroU32::new(weight).expect("not zero"))),
        meter: Arc::new(Meter::default()),
        ..InstanceConfig::default()
    };
    let (light, heavy) = (share(1), share(3));
    let meters = [Arc::clone(&light.meter), Arc::clone(&heavy.meter)];
    let (light, _) = start(&engine, SPIN, light).await;
    let (heavy, _) = start(&engine, SPIN, heavy).await;
    running(&light).await;
    running(&heavy).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    light.stop();
    heavy.stop();
    ended(&light).await;
    ended(&heavy).await;
    let [light, heavy] = meters.map(|meter| meter.read().gas);
    let ratio = heavy as f64 / light as f64;
    assert!((2.0..4.0).contains(&ratio), "{heavy} to {light}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_weight_changes_between_two_polls() {
    // Polls of about half a slice, one after the other.
    const STEPS: &str = r#"
        (func (export "wapo_poll") (result i32) (local $n i32)
          (drop (call $fast (i32.const 0) (i32.const 110) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0)))
          (drop (call $fast (i32.const 0) (i32.const 109) (i32.const 1)
            (i32.const 0) (i32.const 0) (i32.const 0)))
          (loop $l
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 20000))))
          (i32.const 0))"#;
    let engine = engine();
    let config = || InstanceConfig {
        meter: Arc::new(Meter::default()),
        weight: Arc::new(Weight::default()),
        ..InstanceConfig::default()
    };
    let (light, heavy) = (config(), config());
    let (weight, meters) = (
        Arc::clone(&heavy.weight),
        [Arc::clone(&light.meter), Arc::clone(&heavy.meter)],
    );
    let (light, _) = start(&engine, STEPS, light).await;
    let (heavy, _) = start(&engine, STEPS, heavy).await;
    running(&light).await;
    running(&heavy).await;
    weight.set(NonZeroU32::new(4).expect("not zero"));
    let before = meters.each_ref().map(|meter| meter.read().gas);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let after = meters.map(|meter| meter.read().gas);
    light.stop();
    heavy.stop();
    ended(&light).await;
    ended(&heavy).await;
    let ratio = (after[1] - before[1]) as f64 / (after[0] - before[0]) as f64;
    assert!((2.0..6.0).contains(&ratio), "{before:?} to {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_guest_starts_again_with_growing_pauses() {
    let config = InstanceConfig {
        restart: RestartPolicy::OnFailure,
        ..InstanceConfig::default()
    };
    let (handle, _) = start(
        &engine(),
        r#"(func (export "wapo_poll") (result i32) unreachable)"#,
        config,
    )
    .await;
    let mut status = handle.status();
    let begun = Instant::now();
    let seen = status
        .wait_for(|status| status.restarts == 3)
        .await
        .expect("restarts")
        .clone();
    assert!(!matches!(seen.phase, Phase::Ended(_)));
    // 100 + 200 + 400 ms.
    assert!(begun.elapsed() >= Duration::from_millis(690));
    handle.stop();
    assert_eq!(ended(&handle).await, ExitReason::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_guest_starts_again_only_when_asked() {
    for (policy, again) in [
        (RestartPolicy::OnFailure, false),
        (RestartPolicy::Always, true),
    ] {
        let config = InstanceConfig {
            restart: policy,
            ..InstanceConfig::default()
        };
        let (handle, _) = start(
            &engine(),
            r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#,
            config,
        )
        .await;
        let mut status = handle.status();
        let seen = status
            .wait_for(|status| status.restarts > 0 || matches!(status.phase, Phase::Ended(_)))
            .await
            .expect("status")
            .clone();
        assert_eq!(seen.restarts > 0, again, "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_run_say_why() {
    let engine = engine();
    let load = async |text: &str| {
        let wasm = wat::parse_str(text).expect("valid text");
        engine
            .load(&wasm)
            .await
            .expect_err("cannot run")
            .to_string()
    };
    assert_eq!(
        engine.load(b"#!/bin/sh").await.err(),
        Some(LoadError::NotWasm)
    );
    assert_eq!(engine.load(b"").await.err(), Some(LoadError::NotWasm));
    let no_poll = load(r#"(module (memory (export "memory") 1))"#).await;
    assert!(no_poll.contains("#[wapo::main]"), "{no_poll}");
    let wrong =
        load(r#"(module (memory (export "memory") 1) (func (export "wapo_poll") (param i32)))"#)
            .await;
    assert!(wrong.contains("() -> i32"), "{wrong}");
    let no_memory = load(r#"(module (func (export "wapo_poll") (result i32) i32.const 1))"#).await;
    assert!(no_memory.contains("memory"), "{no_memory}");
    let import = load(
        r#"(module (import "env" "system" (func)) (memory (export "memory") 1)
            (func (export "wapo_poll") (result i32) i32.const 1))"#,
    )
    .await;
    assert!(import.contains("env::system"), "{import}");
    let signature = load(
        r#"(module (import "wapo" "ocall" (func (param i32))) (memory (export "memory") 1)
            (func (export "wapo_poll") (result i32) i32.const 1))"#,
    )
    .await;
    assert!(signature.contains("wapo::ocall"), "{signature}");
    let memories = load(
        r#"(module (memory (export "memory") 1) (memory 1)
            (func (export "wapo_poll") (result i32) i32.const 1))"#,
    )
    .await;
    assert!(memories.contains("multi"), "{memories}");
    let mut damaged = module(r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#);
    damaged.truncate(damaged.len() - 3);
    assert!(matches!(
        engine.load(&damaged).await,
        Err(LoadError::Invalid(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_beyond_the_limit_does_not_start() {
    let program = engine();
    let wasm = wat::parse_str(
        r#"(module (memory (export "memory") 100)
            (func (export "wapo_poll") (result i32) (i32.const 1)))"#,
    )
    .expect("valid text");
    let program_loaded = program.load(&wasm).await.expect("loads");
    let config = InstanceConfig {
        memory_max_bytes: 99 << 16,
        ..InstanceConfig::default()
    };
    let handle = program.start(&program_loaded, config, Arc::new(support::Deaf::default()));
    let reason = ended(&handle).await;
    assert!(
        matches!(&reason, ExitReason::FailedToStart(text) if text.contains("memory")),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_the_start_function_is_told_apart() {
    let reason = run(
        &engine(),
        r#"(func $start unreachable) (start $start)
           (func (export "wapo_poll") (result i32) (i32.const 1))"#,
    )
    .await;
    assert!(
        matches!(&reason, ExitReason::Trapped(text) if text.contains("start function")),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_wait_for_a_timer_in_its_start_function() {
    // A timer of 10 ms is made and asked before the first poll; it wakes the guest.
    let reason = run(
        &engine(),
        r#"(global $polls (mut i32) (i32.const 0))
           (func $start
             (drop (call $fast (i32.const 0) (i32.const 201) (i32.const 10) (i32.const 0) (i32.const 0) (i32.const 0)))
             (drop (call $fast (i32.const 0) (i32.const 103) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0))))
           (start $start)
           (func (export "wapo_poll") (result i32)
             (global.set $polls (i32.add (global.get $polls) (i32.const 1)))
             (i32.gt_s (global.get $polls) (i32.const 1)))"#,
    )
    .await;
    assert_eq!(reason, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gas_limit_that_a_crash_used_up_ends_the_restarts() {
    // The call costs 500 gas, far more than the fuel before the crash.
    let config = InstanceConfig {
        gas_max: Some(100),
        restart: RestartPolicy::OnFailure,
        ..InstanceConfig::default()
    };
    let (handle, _) = start(
        &engine(),
        r#"(func (export "wapo_poll") (result i32)
             (drop (call $fast (i32.const 0) (i32.const 201) (i32.const 10) (i32.const 0) (i32.const 0) (i32.const 0)))
             unreachable)"#,
        config,
    )
    .await;
    let reason = ended(&handle).await;
    assert_eq!(reason, ExitReason::GasExhausted(100));
    assert_eq!(reason.to_string(), "gas limit of 100 reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_limit_holds_between_two_starts() {
    let config = InstanceConfig {
        time_max: Some(Duration::from_millis(150)),
        restart: RestartPolicy::OnFailure,
        ..InstanceConfig::default()
    };
    let (handle, _) = start(
        &engine(),
        r#"(func (export "wapo_poll") (result i32) unreachable)"#,
        config,
    )
    .await;
    // The limit falls into the pause of 200 ms after the second crash.
    assert_eq!(
        ended(&handle).await,
        ExitReason::TimeExceeded(Duration::from_millis(150))
    );
    assert!(matches!(handle.status().borrow().restarts, 0..=1));
}
