//! The operator's way in: whatever apps do, the daemon can be ended, started
//! without them, and looked at.

#![allow(
    clippy::disallowed_methods,
    reason = "runtimes stand still here on purpose, and a variable tells a process of its part"
)]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::Folder;
use wapod::Signals;

/// Longest wait for a process that should be quick.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is promised beyond the grace, and what a busy machine adds.
const EXTRA: Duration = Duration::from_secs(3);

/// In the environment of the process that has a runtime without a free thread.
const STUCK: &str = "WAPOD_TEST_STUCK";

/// Waits for a timer four times, which counts as good behaviour, then asks for a
/// lock with 128 MiB as its name for ever.
const LONG_NAMES: &str = r#"(module
  (import "wapo" "ocall_fast_return" (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 2048)
  (global $turn (mut i32) (i32.const 0))
  (global $timer (mut i32) (i32.const 0))
  (func $ready (result i32)
    (i64.eqz (call $fast (i32.const 0) (i32.const 103) (i32.const -1) (global.get $timer) (i32.const 0) (i32.const 0))))
  (func (export "wapo_poll") (result i32)
    (if (i32.eqz (global.get $turn)) (then
      (memory.fill (i32.const 0) (i32.const 0x61) (i32.const 134217728))
      (global.set $timer (i32.wrap_i64 (call $fast (i32.const 0) (i32.const 201) (i32.const 300) (i32.const 0) (i32.const 0) (i32.const 0))))
      (global.set $turn (i32.const 1))
      (drop (call $ready))
      (return (i32.const 0))))
    (if (i32.eqz (call $ready)) (then (return (i32.const 0))))
    (if (i32.lt_u (global.get $turn) (i32.const 4)) (then
      (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
      (drop (call $fast (i32.const 0) (i32.const 203) (global.get $timer) (i32.const 100) (i32.const 0) (i32.const 0)))
      (drop (call $ready))
      (return (i32.const 0))))
    (loop $for_ever
      (drop (call $fast (i32.const 0) (i32.const 262) (i32.const 0) (i32.const 134217728) (i32.const 0) (i32.const 0)))
      (br $for_ever))
    (i32.const 0)))"#;

/// Does nothing in an ordinary run. The test below starts it as a program whose
/// runtime has no thread left.
#[test]
fn the_program_whose_runtime_is_stuck() {
    if std::env::var_os(STUCK).is_none() {
        return;
    }
    let runtime = wapod::runtime_builder().worker_threads(2).build();
    let runtime = runtime.expect("a runtime");
    let mut signals = Signals::listen(|| println!("last words")).expect("a thread");
    runtime.block_on(async {
        let config = wapod::Config {
            instances_max: 1,
            ..wapod::Config::default()
        };
        let running = wapod::Server::start(config).await.expect("it starts");
        signals.running(Duration::from_secs(1), running.last_save());
        // Until nobody runs the next one. Which thread takes which is not ours, and
        // timers of the runtime are stuck with it.
        loop {
            let (ran, runs) = std::sync::mpsc::channel();
            tokio::spawn(async move { ran.send(()) });
            if runs.recv_timeout(Duration::from_secs(1)).is_err() {
                break;
            }
            tokio::spawn(async { std::thread::sleep(TIMEOUT * 4) });
        }
        println!("stuck");
        signals.next().await;
        running.shutdown().await;
    });
}

/// A program that ends with the test, whatever becomes of the test.
struct Stuck(std::process::Child);

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this program again and waits until its runtime is stuck.
fn start_stuck() -> Stuck {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args([
            "--exact",
            "the_program_whose_runtime_is_stuck",
            "--nocapture",
        ])
        .env(STUCK, "1")
        .stdout(Stdio::piped());
    let mut child = Stuck(command.spawn().expect("it starts"));
    let output = child.0.stdout.take().expect("piped");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    let is_stuck = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.ends_with("stuck"));
    assert!(is_stuck, "it says when it is stuck");
    child
}

/// Sends signals with a moment in between, and gives the exit code and the time
/// it took.
fn ends(mut child: Stuck, signals: &[&str]) -> (Option<i32>, Duration) {
    let begun = Instant::now();
    for signal in signals {
        let id = child.0.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status();
        assert!(sent.expect("kill").success());
        std::thread::sleep(Duration::from_millis(50));
    }
    loop {
        if let Some(status) = child.0.try_wait().expect("a status") {
            return (status.code(), begun.elapsed());
        }
        assert!(begun.elapsed() < TIMEOUT, "it did not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn signals_end_it_within_the_grace_though_no_thread_of_the_runtime_is_free() {
    let (code, time) = ends(start_stuck(), &["TERM"]);
    assert_eq!(code, Some(143));
    assert!(time >= Duration::from_secs(1), "{time:?}");
    assert!(time < Duration::from_secs(1) + EXTRA, "{time:?}");
}

#[test]
fn a_second_signal_ends_it_at_once_though_no_thread_of_the_runtime_is_free() {
    let (code, time) = ends(start_stuck(), &["INT", "INT"]);
    assert_eq!(code, Some(130));
    assert!(time < EXTRA, "{time:?}");
}

#[test]
fn an_app_that_keeps_the_host_busy_can_be_ended_and_removed() {
    let folder = Folder::new();
    let daemon = folder.start(&["--drain-grace", "1"]);
    let manifest = serde_json::json!({"label": "long names", "resizable": true});
    daemon.deploy_text(LONG_NAMES, &manifest);
    // Its timers are over by then, as a rule. What is asserted holds before, too.
    std::thread::sleep(Duration::from_secs(2));
    let begun = Instant::now();
    let ended = daemon.stop("TERM");
    assert!(
        begun.elapsed() < Duration::from_secs(1) + EXTRA,
        "{:?}",
        begun.elapsed()
    );
    assert!(
        matches!(ended.code, Some(0 | 143)),
        "{:?}: {}",
        ended.code,
        ended.log
    );

    let daemon = folder.start(&["--safe-mode"]);
    let apps = daemon.apps();
    assert_eq!(apps.len(), 1, "{apps:?}");
    assert_eq!(apps[0]["state"], "stopped");
    daemon.call("Operation.AppRemoveAll");
    assert!(daemon.apps().is_empty());
    assert_eq!(daemon.stop("TERM").code, Some(0));
}

#[test]
fn in_safe_mode_apps_start_by_hand_only() {
    let folder = Folder::new();
    let sample = include_str!("../console/sample.wat");
    let daemon = folder.start(&[]);
    let waiting = daemon.deploy_text(sample, &serde_json::json!({"label": "one"}));
    let asked = daemon.deploy_text(
        sample,
        &serde_json::json!({"label": "two", "on_demand": true}),
    );
    daemon.stop("TERM");

    let daemon = folder.start(&["--safe-mode"]);
    assert!(
        daemon.get("/health").contains("\"ready\":true"),
        "{}",
        daemon.get("/health")
    );
    let info = daemon.call("Operation.Info");
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info["safe_mode"], true, "{info}");
    assert_eq!(info["running_instances"], 0, "{info}");
    let state = |address: &str| {
        let apps = daemon.apps();
        let app = apps.iter().find(|app| app["address"] == address);
        app.expect("it is there")["state"].clone()
    };
    assert_eq!(state(&waiting), "stopped");
    assert_eq!(state(&asked), "idle");
    // A request starts nothing, and says why.
    let answer = daemon.get_app(&asked);
    assert!(
        answer.contains(" 503 ") && answer.contains("safe mode"),
        "{answer}"
    );
    assert_eq!(state(&asked), "idle");
    // The operator does.
    let arguments = serde_json::json!({"address": waiting}).to_string();
    daemon.call_with("Operation.AppStart", &arguments);
    assert_eq!(state(&waiting), "running");
    daemon.call_with("Operation.AppStop", &arguments);
    assert_eq!(state(&waiting), "stopped");
    daemon.stop("TERM");

    // Without it everything is as it was left.
    let daemon = folder.start(&[]);
    assert!(daemon.get_app(&asked).contains(" 200 "));
    let arguments = serde_json::json!({"address": waiting}).to_string();
    daemon.call_with("Operation.AppStart", &arguments);
}
