//! What the host does for a guest is bounded in each call and counts as the
//! guest's time.

use std::time::{Duration, Instant};

use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Probe, guest, text_guest, within};
use wapod::{AppConfig, ExitReason};

/// Longer than any slice may be.
const HUGE: u32 = 17 << 20;

/// A call with a slice that is too long: number, whether slow, the slots before
/// the slice, and what it answers.
type TooLong = (u32, bool, &'static [u32], Result<u32, Errno>);

const TOO_LONG: &[TooLong] = &[
    // Reads and writes look at the handle after they have cut the slice.
    (103, false, &[1, 7777], Err(Errno::NotFound)),
    (104, false, &[1, 7777], Err(Errno::NotFound)),
    (113, false, &[], Err(Errno::InvalidParameter)),
    (202, false, &[0], Err(Errno::InvalidParameter)),
    (204, false, &[7777], Err(Errno::NotFound)),
    (210, false, &[], Err(Errno::InvalidParameter)),
    (213, false, &[], Err(Errno::InvalidParameter)),
    (214, false, &[], Err(Errno::InvalidParameter)),
    (215, false, &[], Err(Errno::InvalidParameter)),
    (307, false, &[], Err(Errno::InvalidParameter)),
    (220, false, &[3], Ok(0)),
    (243, false, &[], Ok(0)),
    (244, true, &[], Err(Errno::Io)),
    (250, true, &[], Err(Errno::InvalidParameter)),
    (252, true, &[], Err(Errno::InvalidParameter)),
    (255, true, &[], Err(Errno::InvalidParameter)),
    (261, true, &[], Err(Errno::InvalidParameter)),
    (262, false, &[], Err(Errno::Condition)),
    (263, false, &[], Err(Errno::Condition)),
    (300, false, &[], Ok(0)),
    (303, false, &[0], Err(Errno::InvalidParameter)),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_beyond_its_cap_is_refused_or_cut() {
    let probe = Probe::start().await;
    probe.run(&Script::new().grow(HUGE >> 16)).await;
    // Bytes that are no text: a call that looked at them would say so.
    probe.run(&Script::new().fill(SCRATCH, 0xff, HUGE)).await;
    probe.run(&Script::new().fill(SCRATCH, b'x', 1 << 16)).await;
    for (call, slow, before, expected) in TOO_LONG {
        let mut slots = [0; 4];
        slots[..before.len()].copy_from_slice(before);
        slots[before.len()] = SCRATCH;
        slots[before.len() + 1] = HUGE;
        let result = match slow {
            true => probe.slow_only(*call, slots).await,
            false => probe.fast(*call, slots).await,
        };
        // Of a success only that it is one: events may wait to be taken.
        assert_eq!(result.map(|_| 0), *expected, "{call}");
    }
    let line = probe.app().expect_log("xxxxxxxx").await;
    assert!(line.text.ends_with("x…"), "the log says that it cut a line");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_slices_are_taken() {
    let probe = Probe::start().await;
    probe.run(&Script::new().grow(HUGE >> 16)).await;
    probe.run(&Script::new().fill(SCRATCH, b'x', 1 << 20)).await;
    for (call, slow, before, len, expected) in [
        (220, false, Some(3), 16_388, Ok(0)),
        (243, false, None, 1 << 20, Ok(0)),
        (244, true, None, 256, Err(Errno::Io)),
        (250, true, None, 64 << 10, Ok(66)),
        (255, true, None, 256, Ok(64)),
        (261, true, None, 64 << 10, Ok(0)),
        (262, false, None, 64, Ok(0)),
        (263, false, None, 64, Ok(0)),
        // The last one, since it leaves no text behind.
        (113, false, None, 1 << 20, Ok(0)),
    ] {
        let mut slots = vec![];
        slots.extend(before);
        slots.extend([SCRATCH, len, 0, 0]);
        let slots = slots[..4].try_into().unwrap();
        let result = match slow {
            true => probe.slow_only(call, slots).await,
            false => probe.fast(call, slots).await,
        };
        assert_eq!(result, expected, "{call}");
    }
}

/// Imports and, forever after a first wait, a body: a guest that was judged
/// harmless and is not.
fn hostile(body: &str) -> AppConfig {
    let text = format!(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (import "wapo" "ocall"
            (func $slow (param i32 i32 i32 i32 i32 i32) (result i64)))
          (import "wasi_snapshot_preview1" "fd_write"
            (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read"
            (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_unstable" "fd_pwrite"
            (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff"
            (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
          (import "wasi_unstable" "poll_oneoff"
            (func $older_poll_oneoff (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "random_get"
            (func $random_get (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "path_open"
            (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get"
            (func $clock_time_get (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "sock_recv"
            (func $sock_recv (param i32 i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") {PAGES})
          (global $timer (mut i32) (i32.const -1))
          (func $wait (result i32)
            (i64.ne (i64.const 0) (call $fast (i32.const 0) (i32.const 103)
              (i32.const -1) (global.get $timer) (i32.const 0) (i32.const 0))))
          (func (export "wapo_poll") (result i32)
            (if (i32.eq (global.get $timer) (i32.const -1)) (then
              (global.set $timer (i32.wrap_i64 (call $fast (i32.const 0) (i32.const 201)
                (i32.const 10) (i32.const 0) (i32.const 0) (i32.const 0))))))
            (if (call $wait) (then (return (i32.const 0))))
            ;; A tip, by which the test sees that it begins.
            (drop (call $fast (i32.const 0) (i32.const 253)
              (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)))
            (loop $for_ever {body} (br $for_ever))
            (i32.const 0)))"#
    );
    text_guest(&text)
}

/// Memory of a hostile guest, in pages: 64 MiB, all of it text.
const PAGES: u32 = 1024;

/// A host call with the whole memory as the slice behind `before`.
fn call(import: &str, id: u32, before: &[u32]) -> String {
    let mut slots = before.to_vec();
    slots.extend([0, PAGES << 16, 0, 0]);
    let slots = slots[..4].iter().map(|slot| format!("(i32.const {slot})"));
    let slots: Vec<String> = slots.collect();
    format!(
        "(drop (call ${import} (i32.const 0) (i32.const {id}) {}))",
        slots.join(" ")
    )
}

/// A call of WASI with numbers.
fn wasi(name: &str, numbers: &[&str]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("({number})")).collect();
    format!("(drop (call ${name} {}))", numbers.join(" "))
}

/// One guest for each way to keep the host busy.
fn hostile_bodies() -> Vec<String> {
    let mut bodies = Vec::new();
    for (id, slow, before, _) in TOO_LONG {
        bodies.push(call(if *slow { "slow" } else { "fast" }, *id, before));
    }
    let huge = "i32.const 0x3fffff0";
    let count = "i32.const 8000000";
    let zero = "i32.const 0";
    let one = "i32.const 1";
    bodies.extend([
        wasi("fd_write", &[one, zero, count, zero]),
        wasi("fd_write", &[one, zero, "i32.const 1024", huge]),
        wasi("fd_read", &[zero, zero, count, zero]),
        wasi("fd_read", &[zero, zero, "i32.const 1024", huge]),
        wasi("fd_pwrite", &[one, zero, count, "i64.const 0", huge]),
        wasi("poll_oneoff", &[zero, zero, "i32.const 1000000", huge]),
        wasi(
            "poll_oneoff",
            &[zero, "i32.const 0x3f00000", "i32.const 64", huge],
        ),
        wasi(
            "older_poll_oneoff",
            &[zero, zero, "i32.const 1000000", huge],
        ),
        wasi("random_get", &[zero, huge]),
        wasi("random_get", &[zero, one]),
        wasi(
            "path_open",
            &[
                "i32.const 3",
                zero,
                zero,
                huge,
                zero,
                "i64.const 0",
                "i64.const 0",
                zero,
                zero,
            ],
        ),
        wasi("clock_time_get", &[one, "i64.const 0", huge]),
        wasi("sock_recv", &[one, zero, count, zero, zero, zero]),
    ]);
    bodies
}

// One thread for everything: a guest that holds it holds the test.
#[tokio::test]
async fn whatever_a_guest_calls_its_neighbour_stays_served() {
    let daemon = Daemon::start().await;
    let hello = daemon.deploy(guest("hello-http")).await;
    hello.get("/").await.expect_text("Hello, World!\n");
    for body in hostile_bodies() {
        let app = daemon.deploy(hostile(&body)).await;
        let begun = async {
            while app.usage().tip == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(&body, begun).await;
        let begun = Instant::now();
        for _ in 0..5 {
            hello.get("/").await.expect_text("Hello, World!\n");
        }
        assert_eq!(app.stop().await, ExitReason::Stopped, "{body}");
        let passed = begun.elapsed();
        assert!(passed < Duration::from_secs(10), "{passed:?} beside {body}");
    }
}

/// A module that finishes if all of these expressions are 0, and traps else.
fn checks(imports: &str, expressions: &[&str]) -> AppConfig {
    let checks: Vec<String> = expressions
        .iter()
        .map(|expression| format!("(if {expression} (then unreachable))"))
        .collect();
    text_guest(&format!(
        r#"(module {imports} (memory (export "memory") 512)
          (func (export "wapo_poll") (result i32) {} (i32.const 1)))"#,
        checks.join("\n")
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_beyond_the_bounds_of_wasi_are_refused_with_its_errors() {
    let app = checks(
        r#"(import "wasi_snapshot_preview1" "fd_write"
             (func $fd_write (param i32 i32 i32 i32) (result i32)))
           (import "wasi_unstable" "fd_read"
             (func $fd_read (param i32 i32 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "poll_oneoff"
             (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "path_open"
             (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "sock_shutdown"
             (func $sock_shutdown (param i32 i32) (result i32)))"#,
        &[
            // 1024 empty vectors are written, one more is INVAL.
            "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 0x10000))",
            "(i32.ne (i32.const 28) (call $fd_write
               (i32.const 1) (i32.const 0) (i32.const 1025) (i32.const 0x10000)))",
            "(i32.ne (i32.const 28) (call $fd_read
               (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0x10000)))",
            // A vector that lies outside is FAULT.
            "(i32.ne (i32.const 21) (call $fd_write
               (i32.const 1) (i32.const 0x1ffffff) (i32.const 1) (i32.const 0x10000)))",
            "(i32.ne (i32.const 28) (call $poll_oneoff
               (i32.const 0) (i32.const 0x10000) (i32.const 65) (i32.const 0x20000)))",
            // NAMETOOLONG, and BADF for one that is not.
            "(i32.ne (i32.const 37) (call $path_open (i32.const 9) (i32.const 0) (i32.const 0)
               (i32.const 4097) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
               (i32.const 0x10000)))",
            "(i32.ne (i32.const 8) (call $path_open (i32.const 9) (i32.const 0) (i32.const 0)
               (i32.const 4096) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
               (i32.const 0x10000)))",
            "(i32.ne (i32.const 8) (call $sock_shutdown (i32.const 1) (i32.const 0)))",
        ],
    );
    let app = Daemon::start().await.deploy(app).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_wasi_takes_its_vectors_together() {
    let app = checks(
        r#"(import "wasi_snapshot_preview1" "fd_write"
             (func $fd_write (param i32 i32 i32 i32) (result i32)))
           (data (i32.const 0) "\40\00\00\00\06\00\00\00\00\00\00\00\00\00\00\00\46\00\00\00\07\00\00\00")
           (data (i32.const 0x40) "first second\n")"#,
        &[
            "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 3) (i32.const 0x80))",
            "(i32.ne (i32.const 13) (i32.load (i32.const 0x80)))",
        ],
    );
    let app = Daemon::start().await.deploy(app).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
    app.expect_log("first second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_of_wasi_fill_a_buffer_of_any_size() {
    let app = checks(
        r#"(import "wasi_snapshot_preview1" "random_get"
             (func $random (param i32 i32) (result i32)))"#,
        &[
            "(call $random (i32.const 0) (i32.const 0x1000000))",
            "(i64.eqz (i64.load (i32.const 0)))",
            "(i64.eqz (i64.load (i32.const 0xfffff8)))",
            "(i32.wrap_i64 (i64.load (i32.const 0x1000000)))",
            "(i32.ne (i32.const 21) (call $random (i32.const 0x1fffffe) (i32.const 3)))",
        ],
    );
    let app = Daemon::start().await.deploy(app).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_advances_while_a_poll_runs() {
    let daemon = Daemon::start().await;
    let loops = "(module (memory (export \"memory\") 1)
        (func (export \"wapo_poll\") (result i32) (loop $l (br $l)) (i32.const 0)))";
    let calls = hostile(&call("fast", 110, &[]));
    for config in [text_guest(loops), calls] {
        let app = daemon.deploy(config).await;
        let mut seen = 0;
        for _ in 0..3 {
            let grown = async {
                while app.usage().gas <= seen + 1_000 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            within("gas to grow", grown).await;
            seen = app.usage().gas;
        }
        assert_eq!(app.stop().await, ExitReason::Stopped);
        assert!(app.usage().gas >= seen, "nothing is taken back");
    }
}
