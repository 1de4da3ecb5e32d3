//! What a guest asks about itself: how much stack is left.

use e2e::{App, Daemon, Probe, text_guest};
use wapod::ExitReason;

/// Stack of wasm code.
const STACK_BYTES: u32 = 512 * 1024;
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
