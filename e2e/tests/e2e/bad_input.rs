//! Hostile and broken guests: an error with a reason, never a crash.

use e2e::probe::{Drain, MEMORY_BYTES, SCRATCH, Script};
use e2e::{App, Daemon, Errno, Probe, ports, text_guest, within};
use tokio::net::TcpListener;
use wapod::{AppConfig, ExitReason, Module};

/// Calls with a slice: number, whether slow, the slots before the slice.
const SLICES: &[(u32, bool, &[u32])] = &[
    (103, false, &[1, 0]),
    (104, false, &[1, 0]),
    (113, false, &[]),
    (202, false, &[0]),
    (204, false, &[0]),
    (210, false, &[]),
    (213, false, &[]),
    (214, false, &[]),
    (215, false, &[]),
    (220, false, &[3]),
    (243, false, &[]),
    (244, true, &[]),
    (250, true, &[]),
    (252, true, &[]),
    (255, true, &[]),
    (261, true, &[]),
    (262, false, &[]),
    (263, false, &[]),
    (300, false, &[]),
    (303, false, &[0]),
    (307, false, &[]),
    (309, false, &[]),
    (310, false, &[1, 0]),
    (311, false, &[1, 0]),
    (312, false, &[1, 0]),
    (315, false, &[]),
];

/// Calls that travel through the fast import.
const FAST: &[u32] = &[
    0, 101, 103, 104, 105, 106, 109, 110, 111, 113, 201, 202, 203, 204, 210, 212, 213, 214, 215,
    220, 243, 253, 262, 263, 300, 301, 303, 304, 307, 309, 310, 311, 312, 315, 316, 317,
];
/// Calls that travel through the slow import.
const SLOW: &[u32] = &[
    102, 112, 211, 240, 242, 244, 250, 251, 252, 254, 255, 260, 261, 302, 305, 306, 308, 313,
];

#[tokio::test(flavor = "multi_thread")]
async fn pointers_outside_memory_are_refused() {
    let probe = Probe::start().await;
    let bad = [
        (MEMORY_BYTES, 1),
        (MEMORY_BYTES - 1, 2),
        (MEMORY_BYTES + 1, 0),
        (0, MEMORY_BYTES + 1),
        (SCRATCH, u32::MAX),
        (SCRATCH, 0x8000_0000),
        (u32::MAX, 1),
        (u32::MAX, u32::MAX),
        (0x8000_0000, 0x8000_0000),
    ];
    for (call, slow, before) in SLICES {
        for (at, len) in bad {
            let mut slots = [0; 4];
            slots[..before.len()].copy_from_slice(before);
            slots[before.len()] = at;
            slots[before.len() + 1] = len;
            let result = match slow {
                true => probe.slow_only(*call, slots).await,
                false => probe.fast(*call, slots).await,
            };
            assert_eq!(
                result,
                Err(Errno::InvalidParameter),
                "{call} {at:#x}+{len:#x}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_slice_may_stand_anywhere_in_memory() {
    let probe = Probe::start().await;
    for at in [0, 1, MEMORY_BYTES - 1, MEMORY_BYTES] {
        assert_eq!(probe.fast(243, [at, 0, 0, 0]).await, Ok(0), "{at}");
        assert_eq!(probe.fast(300, [at, 0, 0, 0]).await, Ok(0), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_calls_and_the_wrong_import_are_refused() {
    let probe = Probe::start().await;
    let unknown = [
        1,
        99,
        100,
        107,
        108,
        114,
        200,
        241,
        264,
        299,
        399,
        65_536,
        0x7fff_ffff,
        u32::MAX,
    ];
    for call in unknown.iter().chain(SLOW) {
        let result = probe.fast(*call, [0; 4]).await;
        assert_eq!(result, Err(Errno::UnknownCall), "fast {call}");
    }
    for call in unknown.iter().chain(FAST) {
        let result = probe.slow_only(*call, [0; 4]).await;
        assert_eq!(result, Err(Errno::UnknownCall), "slow {call}");
    }
    assert!(FAST.iter().all(|call| !SLOW.contains(call)));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_that_cannot_be_decoded_is_refused() {
    let port = ports::free();
    let probe = Probe::with(|app| app.listen_ports = ports::only(port)).await;
    let lengths = [
        vec![0xff; 64],
        vec![3, 255, 255, 255, 255],
        vec![0xfe, 0xff, 0xff, 0xff],
    ];
    let no_text = vec![4, 0xff, 0];
    let cut = vec![40, b'1', b'2'];
    let no_option = [vec![56], b"127.0.0.1:1999".to_vec(), vec![2]].concat();
    let no_config = [vec![56], b"127.0.0.1:1999".to_vec(), vec![1, 1]].concat();
    for call in [210, 214, 215, 307] {
        let bad = lengths
            .iter()
            .chain([&no_text, &cut, &no_option, &no_config]);
        for input in bad {
            let result = probe.fast_with(call, &[], input).await;
            assert_eq!(result, Err(Errno::InvalidParameter), "{call} {input:?}");
        }
        let result = probe.fast_with(call, &[], &[]).await;
        assert_eq!(result, Err(Errno::InvalidParameter), "{call} without input");
    }
    // Bytes after the input are ignored.
    let address = format!("127.0.0.1:{port}");
    let length = u8::try_from(address.len() << 2).unwrap();
    let more = [vec![length], address.into_bytes(), vec![0, 1, 2, 3]].concat();
    assert!(probe.fast_with(210, &[], &more).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_connector_polled_again_is_an_error() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = server.local_addr().unwrap().port();
    let probe = Probe::with(|app| app.egress = vec!["127.0.0.1".parse().unwrap()]).await;
    for port in [open, ports::free()] {
        let connecting = probe.tcp_connect("127.0.0.1", port.into()).await.unwrap();
        let first = probe.poll_res(connecting).await;
        assert_eq!(first.is_ok(), port == open);
        for _ in 0..3 {
            assert_eq!(probe.poll_res(connecting).await, Err(Errno::Io));
        }
        assert_eq!(probe.close(connecting).await, Ok(0));
    }
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_run_out_and_come_back() {
    let port = ports::free();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = server.local_addr().unwrap().port();
    let probe = Probe::with(|app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let connecting = probe.tcp_connect("127.0.0.1", peer.into()).await.unwrap();
    // In one script, since a query needs a handle to be answered.
    let address = format!("127.0.0.1:{port}");
    let listen = [
        vec![u8::try_from(address.len() << 2).unwrap()],
        address.into_bytes(),
        vec![0],
    ]
    .concat();
    let len = u32::try_from(listen.len()).unwrap();
    let script = Script::new()
        .write(SCRATCH, &listen)
        .fast_times(10_000, 201, [u32::MAX, 0, 0, 0])
        .fast(210, [SCRATCH, len, 0, 0])
        .slow(240, [4, 0, 0, 0])
        .fast(106, [u32::MAX, connecting, 0, 0])
        .fast(101, [4000, 0, 0, 0])
        .fast(201, [u32::MAX, 0, 0, 0])
        .fast(201, [u32::MAX, 0, 0, 0])
        .fast(101, [4000, 0, 0, 0]);
    let mut output = probe.run(&script).await;
    // The probe's channel, the reply of the query and the connector are handles, too.
    assert_eq!(output.counted(), (Err(Errno::Limited), 8192 - 3));
    for call in ["tcp_listen", "create_input_channel", "poll_res"] {
        assert_eq!(output.result(), Err(Errno::Limited), "{call}");
    }
    assert_eq!(output.result(), Ok(0));
    assert_eq!(output.result(), Ok(4000), "the one that was freed");
    assert_eq!(output.result(), Err(Errno::Limited));
    assert_eq!(output.result(), Ok(0));
    // What was refused for want of a handle works with one.
    let script = Script::new().flood(4, 101, [5000, 0, 0, 0]);
    probe.run(&script).await;
    assert!(probe.poll_res(connecting).await.is_ok());
    assert!(probe.create_input_channel(4).await.is_ok());
}

/// A guest floods the host's queue; says how that ends.
async fn flooded(script: &Script) -> ExitReason {
    let probe = Probe::start().await;
    let drain = Script::new().drain(Drain::Never);
    probe.run(&drain).await;
    let asking = probe.try_run(script);
    let (reason, _) = tokio::join!(probe.app().exited(), within("the script", asking));
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_a_hostile_guest_are_bounded() {
    let tasks = Script::new().flood(10_000_000, 109, [1, 0, 0, 0]);
    // A waker for each call that is answered at once.
    let wakers = Script::new().flood(10_000_000, 103, [1, 7777, SCRATCH, 0]);
    for script in [tasks, wakers] {
        let reason = flooded(&script).await;
        let ExitReason::Violation(text) = &reason else {
            panic!("not ended by the host: {reason}");
        };
        assert!(text.contains("waits"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marking_the_same_tasks_again_and_again_is_harmless() {
    let probe = Probe::start().await;
    let script = Script::new().fast_times(1_000_000, 109, [3, 0, 0, 0]);
    assert_eq!(probe.run(&script).await.counted(), (Ok(0), 1_000_000));
    assert!(probe.getrandom(1).await.is_ok());
}

async fn refusal(config: AppConfig) -> String {
    let daemon = Daemon::start().await;
    match daemon.try_deploy(config).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it runs"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_guest_is_refused_with_the_reason() {
    const POLL: &str = r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#;
    const MEMORY: &str = r#"(memory (export "memory") 1)"#;
    let bytes = |bytes: &[u8]| AppConfig::new(Module::new(bytes.to_vec()));
    for (config, words) in [
        (bytes(b""), "WebAssembly"),
        (bytes(b"#!/bin/sh\n"), "WebAssembly"),
        (bytes(b"\0asm\x01\0\0\0\xff\xff"), ""),
        (bytes(b"\0asm\x0d\0\x01\0"), ""),
        (text_guest(&format!("(module {POLL})")), "memory"),
        (text_guest(&format!("(module {MEMORY})")), "wapo_poll"),
        (
            text_guest(&format!(
                r#"(module {MEMORY} (func (export "wapo_poll") (param i32)))"#
            )),
            "wapo_poll",
        ),
        (
            text_guest(&format!(
                r#"(module (import "env" "system" (func)) {MEMORY} {POLL})"#
            )),
            "env::system",
        ),
        (
            text_guest(&format!(
                r#"(module (import "wapo" "ocall" (func (param i32) (result i64))) {MEMORY} {POLL})"#
            )),
            "wapo::ocall",
        ),
        (
            text_guest(&format!("(module {MEMORY} (memory 1) {POLL})")),
            "memor",
        ),
        (
            text_guest(&format!(
                "(module (memory (export \"memory\") i64 1) {POLL})"
            )),
            "memory64",
        ),
        (
            text_guest(&format!(
                "(module (memory (export \"memory\") 1 1 shared) {POLL})"
            )),
            "threads",
        ),
    ] {
        let text = refusal(config).await;
        assert!(text.contains(words), "{words}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

async fn run_text(text: &str) -> (App, ExitReason) {
    let app = Daemon::start().await.deploy(text_guest(text)).await;
    let reason = app.exited().await;
    (app, reason)
}

/// A module with this start function that finishes at its second poll.
fn with_start(body: &str) -> String {
    format!(
        r#"(module
            (import "wapo" "ocall_fast_return"
              (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
            (import "wapo" "ocall"
              (func $slow (param i32 i32 i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (global $polls (mut i32) (i32.const 0))
            (func $start {body})
            (start $start)
            (func (export "wapo_poll") (result i32)
              (global.set $polls (i32.add (global.get $polls) (i32.const 1)))
              (i32.eq (global.get $polls) (i32.const 2))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_the_start_section_work() {
    // A timer is made, reset and waited for before the first poll, a slow call
    // that may suspend as well. It fires after that poll, also on a busy machine:
    // this guest listens to nothing and would wait for ever if it fired before.
    let text = with_start(
        "(drop (call $fast (i32.const 0) (i32.const 201) (i32.const 500)
           (i32.const 0) (i32.const 0) (i32.const 0)))
         (drop (call $fast (i32.const 0) (i32.const 103) (i32.const 3)
           (i32.const 0) (i32.const 0) (i32.const 0)))
         (drop (call $slow (i32.const 0) (i32.const 252) (i32.const 0)
           (i32.const 8) (i32.const 0) (i32.const 0)))
         (drop (call $slow (i32.const 0) (i32.const 240) (i32.const 4)
           (i32.const 0) (i32.const 0) (i32.const 0)))",
    );
    let (_, reason) = run_text(&text).await;
    assert_eq!(reason, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_section_that_fails_is_told_apart() {
    let (_, reason) = run_text(&with_start("unreachable")).await;
    assert!(
        matches!(&reason, ExitReason::Trapped(text) if text.contains("start")),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_section_that_loops_can_be_stopped() {
    let daemon = Daemon::start().await;
    let app = daemon
        .deploy(text_guest(&with_start("(loop $l (br $l))")))
        .await;
    assert_eq!(app.stop().await, ExitReason::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn recursion_without_end_is_a_trap() {
    let (app, reason) = run_text(
        r#"(module (memory (export "memory") 1)
            (func $f (result i32) (i32.add (call $f) (i32.const 1)))
            (func (export "wapo_poll") (result i32) (call $f)))"#,
    )
    .await;
    assert!(matches!(&reason, ExitReason::Trapped(_)), "{reason}");
    app.expect_log("stack").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_returns_nonsense_ends_the_guest() {
    for number in [2, 7, u32::MAX] {
        let probe = Probe::start().await;
        let script = Script::new().poll_returns(number);
        let _answer = probe.try_run(&script).await;
        let reason = probe.app().exited().await;
        assert!(matches!(&reason, ExitReason::Violation(_)), "{reason}");
    }
}
