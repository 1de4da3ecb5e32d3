//! What is counted while guests live: time, memory, storage.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{BLOB, ended, engine, running, start, start_with};
use wapo_host::{ExitReason, InstanceConfig, Meter, RestartPolicy, Usage};

/// Waits for ever.
const IDLE: &str = r#"(func (export "wapo_poll") (result i32) (i32.const 0))"#;

const PAGE: u128 = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_life_time_are_measured() {
    let meter = Arc::new(Meter::default());
    let engine = engine();
    let before = Instant::now();
    let mut handles = Vec::new();
    for _ in 0..2 {
        let config = InstanceConfig {
            meter: Arc::clone(&meter),
            ..InstanceConfig::default()
        };
        handles.push(start(&engine, IDLE, config).await.0);
    }
    for handle in &handles {
        running(handle).await;
    }
    let both = Instant::now();
    tokio::time::sleep(Duration::from_millis(120)).await;
    let usage = meter.read();
    let (least, most) = (both.elapsed(), before.elapsed());
    assert_eq!(u128::from(usage.memory_bytes), 2 * PAGE);
    let running_us = u128::from(usage.running_us);
    assert!(running_us <= 2 * most.as_micros(), "{usage:?}");
    assert!(running_us + 1_000 >= 2 * least.as_micros(), "{usage:?}");
    let memory = usage.memory_byte_us / PAGE;
    assert!(memory <= 2 * most.as_micros(), "{usage:?}");
    assert!(memory + 1_000 >= 2 * least.as_micros(), "{usage:?}");

    for handle in &handles {
        handle.stop();
        ended(handle).await;
    }
    let last = meter.read();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(meter.read(), last, "nothing runs, nothing counts");
    assert_eq!(last.memory_bytes, 0);
    assert_eq!((last.starts, last.restarts), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_counts_from_the_moment_it_grew() {
    let meter = Arc::new(Meter::default());
    let config = InstanceConfig {
        meter: Arc::clone(&meter),
        ..InstanceConfig::default()
    };
    let (handle, _) = start(
        &engine(),
        r#"(func (export "wapo_poll") (result i32)
             (drop (memory.grow (i32.const 99))) (i32.const 0))"#,
        config,
    )
    .await;
    running(&handle).await;
    while u128::from(meter.read().memory_bytes) < 100 * PAGE {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = meter.read();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let after = meter.read();
    let memory = (after.memory_byte_us - before.memory_byte_us) / PAGE;
    let time = u128::from(after.running_us - before.running_us);
    assert!(time >= 50_000);
    assert!(memory.abs_diff(100 * time) <= 100, "{memory} in {time}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_are_counted_and_their_pauses_are_not_life() {
    let config = InstanceConfig {
        restart: RestartPolicy::OnFailure,
        ..InstanceConfig::default()
    };
    let meter = Arc::clone(&config.meter);
    let (handle, _) = start(
        &engine(),
        r#"(func (export "wapo_poll") (result i32) unreachable)"#,
        config,
    )
    .await;
    let begun = Instant::now();
    let mut status = handle.status();
    let twice = status.wait_for(|status| status.restarts == 2).await;
    assert_eq!(twice.expect("restarts").restarts, 2);
    let usage = meter.read();
    assert_eq!(usage.restarts, 2);
    assert!(usage.starts >= 2, "the third may be on its way: {usage:?}");
    // 100 + 200 ms of pauses.
    let elapsed = begun.elapsed().as_micros();
    assert!(
        u128::from(usage.running_us) + 290_000 <= elapsed,
        "{usage:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_from_and_to_storage_are_counted() {
    // A blob is read; a record of 300 bytes is written, then read.
    let config = InstanceConfig::default();
    let meter = Arc::clone(&config.meter);
    let (handle, embedder) = start_with(
        &engine(),
        r#"(data (i32.const 0) "sha256:00")
           (func $call (param i32 i32)
             (drop (call $slow (i32.const 0) (local.get 0) (i32.const 0) (local.get 1)
               (i32.const 0) (i32.const 0))))
           (func (export "wapo_poll") (result i32)
             (call $call (i32.const 260) (i32.const 0))
             (call $call (i32.const 244) (i32.const 9))
             (call $call (i32.const 261) (i32.const 300))
             (call $call (i32.const 261) (i32.const 65537))
             (call $call (i32.const 260) (i32.const 0))
             (i32.const 1))"#,
        config,
        support::Deaf::default(),
    )
    .await;
    assert_eq!(ended(&handle).await, ExitReason::Finished);
    let usage = meter.read();
    assert_eq!(usage.storage_read_bytes, BLOB.len() as u64 + 300);
    assert_eq!(
        usage.storage_written_bytes, 300,
        "what is refused is not written"
    );
    let record = embedder.record.lock().expect("record").clone();
    assert_eq!(record.map(|record| record.len()), Some(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usage_of_two_meters_adds_up() {
    let mut sum = Usage::default();
    let engine = engine();
    for _ in 0..2 {
        let config = InstanceConfig::default();
        let meter = Arc::clone(&config.meter);
        let (handle, _) = start(
            &engine,
            r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#,
            config,
        )
        .await;
        assert_eq!(ended(&handle).await, ExitReason::Finished);
        sum = sum.saturating_add(meter.read());
    }
    assert_eq!((sum.starts, sum.memory_bytes), (2, 0));
    assert!(sum.running_us > 0 && sum.memory_byte_us > 0, "{sum:?}");
}
