//! What runs before the first poll: a reactor's `_initialize`.

use e2e::{App, Daemon, text_guest};
use wapod::ExitReason;

/// A reactor with this body of `_initialize`. It finishes at its second poll if
/// the global was set to 1, and traps if it was not.
fn reactor(body: &str) -> String {
    format!(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (memory (export "memory") 1)
          (global $initialized (mut i32) (i32.const 0))
          (global $polls (mut i32) (i32.const 0))
          (func (export "_initialize") {body})
          (func (export "wapo_poll") (result i32)
            (if (i32.ne (global.get $initialized) (i32.const 1)) (then unreachable))
            (global.set $polls (i32.add (global.get $polls) (i32.const 1)))
            (drop (call $fast (i32.const 0) (i32.const 109) (i32.const 1)
              (i32.const 0) (i32.const 0) (i32.const 0)))
            (i32.eq (global.get $polls) (i32.const 2))))"#
    )
}

async fn run(text: &str) -> App {
    Daemon::start().await.deploy(text_guest(text)).await
}

const INITIALIZE: &str =
    "(global.set $initialized (i32.add (global.get $initialized) (i32.const 1)))";

#[tokio::test(flavor = "multi_thread")]
async fn initialize_runs_once_before_the_first_poll() {
    let app = run(&reactor(INITIALIZE)).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_initialize_is_told_apart() {
    let app = run(&reactor("unreachable")).await;
    let reason = app.exited().await;
    assert!(
        matches!(&reason, ExitReason::Trapped(text) if text.contains("in _initialize")),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_initialize_that_loops_costs_gas_and_can_be_stopped() {
    let app = run(&reactor("(loop $l (br $l))")).await;
    let grown = async {
        while app.usage().gas < 1_000 {
            tokio::task::yield_now().await;
        }
    };
    e2e::within("gas to grow", grown).await;
    assert_eq!(app.stop().await, ExitReason::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_that_name_with_another_type_is_none_of_ours() {
    let text = reactor("(param i32)").replace(
        "(if (i32.ne (global.get $initialized) (i32.const 1)) (then unreachable))",
        "",
    );
    let app = run(&text).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
}
