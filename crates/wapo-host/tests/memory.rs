//! Memory that all instances share: what is granted, refused and given back.

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use support::{Deaf, ended, running, start, start_with};
use wapo_host::{Engine, EngineConfig, ExitReason, InstanceConfig, Phase};

const PAGE: u64 = 65_536;

/// Waits for ever.
const IDLE: &str = r#"(func (export "wapo_poll") (result i32) (i32.const 0))"#;

fn engine(budget_bytes: Option<u64>) -> Engine {
    Engine::new(EngineConfig {
        instances_max: 16,
        hog_threads: 1,
        memory_budget_bytes: budget_bytes,
        ..EngineConfig::default()
    })
    .expect("engine")
}

/// Emits the outcome of growing by 2 pages, twice.
const GROWS: &str = r#"
    (func $grow
      (i32.store (i32.const 0) (memory.grow (i32.const 2)))
      (drop (call $fast (i32.const 0) (i32.const 243) (i32.const 0) (i32.const 4)
        (i32.const 0) (i32.const 0))))
    (func (export "wapo_poll") (result i32) (call $grow) (call $grow) (i32.const 1))"#;

#[tokio::test(flavor = "multi_thread")]
async fn growth_beyond_the_budget_is_refused_to_the_guest() {
    let engine = engine(Some(4 * PAGE));
    let (handle, embedder) = start(&engine, GROWS, InstanceConfig::default()).await;
    assert_eq!(ended(&handle).await, ExitReason::Finished);
    let output = embedder.output.lock().expect("output").clone();
    let outcomes: Vec<i32> = output
        .chunks(4)
        .map(|bytes| i32::from_le_bytes(bytes.try_into().expect("four")))
        .collect();
    assert_eq!(outcomes, [1, -1], "from one page to three, then no more");
    let lines = embedder.lines.lock().expect("lines");
    let said = lines.iter().find(|line| line.text.contains("memory"));
    let said = said.expect("a line about it");
    assert!(
        said.text.contains("128 KiB are wanted and 64 of 256 KiB"),
        "{}",
        said.text
    );
    let age = SystemTime::now()
        .duration_since(said.time)
        .expect("in the past");
    assert!(age < Duration::from_secs(10), "{age:?}");
    assert_eq!(engine.memory().used, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_guest_cannot_have_what_another_has() {
    let engine = engine(Some(3 * PAGE));
    let (first, _) = start(&engine, IDLE, InstanceConfig::default()).await;
    running(&first).await;
    assert_eq!(engine.memory().used, PAGE);
    let (second, embedder) = start(&engine, GROWS, InstanceConfig::default()).await;
    assert_eq!(ended(&second).await, ExitReason::Finished);
    let output = embedder.output.lock().expect("output").clone();
    assert_eq!(output, [255; 8], "neither growth fits");
    first.stop();
    ended(&first).await;
    assert_eq!(engine.memory().used, 0);
    let (third, embedder) = start(&engine, GROWS, InstanceConfig::default()).await;
    assert_eq!(ended(&third).await, ExitReason::Finished);
    assert_eq!(embedder.output.lock().expect("output")[..4], [1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_memory_that_does_not_fit_says_so() {
    let engine = engine(Some(PAGE + PAGE / 2));
    let (first, _) = start(&engine, IDLE, InstanceConfig::default()).await;
    running(&first).await;
    let (second, _) = start(&engine, IDLE, InstanceConfig::default()).await;
    let reason = ended(&second).await;
    assert!(
        matches!(&reason, ExitReason::FailedToStart(text) if text.contains("memory budget")
            && text.contains("64 KiB are wanted and 32 of 96 KiB")),
        "{reason}"
    );
    assert_eq!(engine.memory().used, PAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_count_as_well() {
    let engine = engine(Some(PAGE + 10_000));
    let table = |elements: u32| format!("(table {elements} funcref) {IDLE}");
    let (fits, _) = start(&engine, &table(1_000), InstanceConfig::default()).await;
    running(&fits).await;
    assert_eq!(engine.memory().used, PAGE + 8_000);
    fits.stop();
    ended(&fits).await;
    let (large, _) = start(&engine, &table(1_251), InstanceConfig::default()).await;
    let reason = ended(&large).await;
    assert!(
        matches!(&reason, ExitReason::FailedToStart(text) if text.contains("memory budget")),
        "{reason}"
    );
    assert_eq!(engine.memory().used, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_gives_memory_back() {
    let engine = engine(Some(64 * PAGE));
    let emits = r#"(func (export "wapo_poll") (result i32)
        (drop (call $fast (i32.const 0) (i32.const 243) (i32.const 0) (i32.const 4)
          (i32.const 0) (i32.const 0)))
        (i32.const 1))"#;
    for (body, what) in [
        (
            r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#,
            "finished",
        ),
        (
            r#"(func (export "wapo_poll") (result i32) unreachable)"#,
            "trapped",
        ),
        (
            r#"(func (export "wapo_poll") (result i32) (i32.const 9))"#,
            "a violation",
        ),
        (
            r#"(func $start unreachable) (start $start)
               (func (export "wapo_poll") (result i32) (i32.const 1))"#,
            "a bad start",
        ),
    ] {
        let (handle, _) = start(&engine, body, InstanceConfig::default()).await;
        ended(&handle).await;
        assert_eq!(engine.memory().used, 0, "{what}");
    }
    let broken = Deaf {
        breaks: true,
        ..Deaf::default()
    };
    let config = InstanceConfig::default();
    let meter = Arc::clone(&config.meter);
    let (handle, _) = start_with(&engine, emits, config, broken).await;
    let reason = ended(&handle).await;
    assert!(matches!(reason, ExitReason::Violation(_)), "{reason}");
    assert_eq!(engine.memory().used, 0, "a panic of the host");
    assert_eq!(meter.read().memory_bytes, 0, "a panic of the host");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_charged_no_more_than_the_engine_can_give() {
    // The guest asks for more than a slot has, which the instance would allow.
    let engine = Engine::new(EngineConfig {
        instances_max: 4,
        memory_max_bytes: 2 * PAGE,
        ..EngineConfig::default()
    })
    .expect("engine");
    let config = InstanceConfig {
        memory_max_bytes: 100 * PAGE,
        ..InstanceConfig::default()
    };
    let meter = Arc::clone(&config.meter);
    let (handle, embedder) = start(
        &engine,
        r#"(func (export "wapo_poll") (result i32)
             (i32.store (i32.const 0) (memory.grow (i32.const 50)))
             (drop (call $fast (i32.const 0) (i32.const 243) (i32.const 0) (i32.const 4)
               (i32.const 0) (i32.const 0)))
             (i32.const 0))"#,
        config,
    )
    .await;
    while embedder.output.lock().expect("output").is_empty() {
        assert!(!matches!(handle.status().borrow().phase, Phase::Ended(_)));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(*embedder.output.lock().expect("output"), [255; 4]);
    assert_eq!(engine.memory().used, PAGE);
    assert_eq!(meter.read().memory_bytes, PAGE);
}

/// Ends well when memory and table are as the module describes them; leaves
/// both dirty, memory up to `dirty_bytes`.
fn tidy_then_dirty(dirty_bytes: u32) -> String {
    format!(
        r#"(data (i32.const 100) "data")
        (table 100 funcref)
        (elem (i32.const 3) func $poll)
        (func $expect_zeros (param $at i32) (param $end i32)
          (loop $each
            (if (i32.load8_u (local.get $at)) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $each (i32.lt_u (local.get $at) (local.get $end)))))
        (func $poll (export "wapo_poll") (result i32)
          (call $expect_zeros (i32.const 0) (i32.const 100))
          (if (i32.ne (i32.load (i32.const 100)) (i32.const 0x61746164)) (then unreachable))
          (call $expect_zeros (i32.const 104) (i32.const 65536))
          (drop (memory.grow (i32.const 39)))
          (call $expect_zeros (i32.const 65536) (i32.const 2621440))
          (if (ref.is_null (table.get (i32.const 3))) (then unreachable))
          (if (i32.eqz (ref.is_null (table.get (i32.const 4)))) (then unreachable))
          (memory.fill (i32.const 0) (i32.const 0xaa) (i32.const {dirty_bytes}))
          (i32.store (i32.const 2621436) (i32.const -1))
          (table.set (i32.const 3) (ref.null func))
          (table.set (i32.const 4) (ref.func $poll))
          (i32.const 1))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_clean_when_it_is_used_again() {
    let engine = Engine::new(EngineConfig {
        instances_max: 1,
        hog_threads: 1,
        ..EngineConfig::default()
    })
    .expect("engine");
    // Less than stays resident, more, and all of it; each after each.
    for dirty_bytes in [200, 2_621_440, 60_000, 60_000, 300_000, 200] {
        for _ in 0..2 {
            let body = tidy_then_dirty(dirty_bytes);
            let (handle, _) = start(&engine, &body, InstanceConfig::default()).await;
            assert_eq!(ended(&handle).await, ExitReason::Finished, "{dirty_bytes}");
        }
    }
}

/// Recurses until less than 100 KiB of stack are left, and waits for ever.
const DEEP: &str = r#"
    (func $recurse (param $level i32) (result i32)
      (if (i64.lt_u (call $fast (i32.const 0) (i32.const 318) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0)) (i64.const 102400))
        (then (return (local.get $level))))
      (i32.add (call $recurse (i32.add (local.get $level) (i32.const 1))) (i32.const 1)))
    (func (export "wapo_poll") (result i32)
      (drop (call $recurse (i32.const 0))) (i32.const 0))"#;

/// Bytes of a stack that was used as far as [`DEEP`] does, less what is free.
const DEEP_BYTES_MIN: u64 = 3 << 19;

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_was_deep_is_memory_of_its_instance_until_it_ends() {
    let engine = engine(Some(8 << 20));
    let (idle, _) = start(&engine, IDLE, InstanceConfig::default()).await;
    running(&idle).await;
    idle.charge_stack();
    assert_eq!(engine.memory().used, PAGE, "an ordinary stack is free");
    let (deep, _) = start(&engine, DEEP, InstanceConfig::default()).await;
    running(&deep).await;
    // What it has done is known when its step is over.
    let charged = async {
        while engine.memory().used < 2 * PAGE + DEEP_BYTES_MIN {
            deep.charge_stack();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let charged = tokio::time::timeout(Duration::from_secs(10), charged).await;
    assert!(charged.is_ok(), "{:?}", engine.memory());
    deep.stop();
    ended(&deep).await;
    assert_eq!(engine.memory().used, PAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_stack_is_more_than_there_is_ends() {
    let engine = engine(Some(1 << 20));
    let (deep, _) = start(&engine, DEEP, InstanceConfig::default()).await;
    running(&deep).await;
    let end = async {
        loop {
            deep.charge_stack();
            if let Phase::Ended(reason) = &deep.status().borrow().phase {
                return reason.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(10), end).await;
    let reason = end.expect("in time").to_string();
    assert!(reason.contains("its stack has"), "{reason}");
    assert!(reason.contains("of 1024 KiB are left"), "{reason}");
    assert_eq!(engine.memory().used, 0);
}

/// Memory of this process that is resident, in bytes, page by page: the numbers in
/// `status` lag behind.
fn resident_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("a rollup");
    let line = rollup.lines().find(|line| line.starts_with("Rss:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = number.and_then(|text| text.parse().ok()).expect("a number");
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_that_were_deep_go_back_to_the_kernel() {
    const COUNT: usize = 12;
    let engine = engine(None);
    let mut deep = Vec::new();
    let before = resident_bytes();
    for _ in 0..COUNT {
        let (handle, _) = start(&engine, DEEP, InstanceConfig::default()).await;
        let mut status = handle.status();
        let polled = status.wait_for(|status| status.phase == Phase::Running);
        let polled = tokio::time::timeout(Duration::from_secs(10), polled).await;
        assert!(polled.expect("in time").is_ok());
        deep.push(handle);
    }
    let during = resident_bytes();
    for handle in deep {
        handle.stop();
        ended(&handle).await;
    }
    let given_back = during.saturating_sub(resident_bytes());
    let taken = during.saturating_sub(before);
    assert!(
        taken > COUNT as u64 * DEEP_BYTES_MIN,
        "{taken} of {during} bytes"
    );
    assert!(
        given_back > COUNT as u64 * DEEP_BYTES_MIN / 2,
        "{given_back} of {taken} bytes"
    );
}
