//! How a guest hears that a wait is over (the exactly-once rule).

use e2e::probe::{Drain, Event, SCRATCH, Script};
use e2e::{Daemon, Errno, Probe, guest, ports, text_guest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wapod::ExitReason;

async fn each_waker_is_released_once(drain: Drain) {
    let port = ports::free();
    let probe = Probe::with(|app| app.listen_ports = ports::only(port)).await;
    probe.run(&Script::new().drain(drain)).await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();

    // Replaced by a second wait for the same.
    let (first, result) = probe.try_wait(212, [listener, 0, 0]).await;
    assert_eq!(result, Err(Errno::Pending));
    let (second, result) = probe.try_wait(212, [listener, 0, 0]).await;
    assert_eq!(result, Err(Errno::Pending));
    probe.check_wakers(&[second]).await;
    let mut client = TcpStream::connect(&address).await.unwrap();
    probe.until_woken(second).await;
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();

    // Both directions wait on their own.
    let (reading, result) = probe.try_wait(103, [stream, SCRATCH, 1]).await;
    assert_eq!(result, Err(Errno::Pending));
    loop {
        let (writing, result) = probe.try_wait(104, [stream, SCRATCH, 1 << 20]).await;
        if result == Err(Errno::Pending) {
            probe.check_wakers(&[reading, writing]).await;
            break;
        }
    }
    client.write_all(b"x").await.unwrap();
    probe.until_woken(reading).await;

    // Gone with the handle.
    let timer = probe.create_timer(1_000_000).await.unwrap();
    let (_, result) = probe.try_wait(103, [timer, 1, 0]).await;
    assert_eq!(result, Err(Errno::Pending));
    let http = probe.create_input_channel(4).await.unwrap();
    let waker = probe.new_waker();
    let result = probe.slow_only(102, [waker, http, 0, 0]).await;
    probe.count_waker(waker, result);
    assert_eq!(result, Err(Errno::Pending));
    for handle in [timer, http, stream, listener] {
        probe.close(handle).await.unwrap();
    }

    // At once, with and without success.
    let (_, result) = probe.try_wait(103, [timer, 1, 0]).await;
    assert_eq!(result, Err(Errno::NotFound));
    probe.check_wakers(&[]).await;
    let _ = first;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_waker_is_released_exactly_once() {
    each_waker_is_released_once(Drain::Events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_waker_is_released_exactly_once_by_the_older_calls() {
    each_waker_is_released_once(Drain::Older).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_bad_arguments_takes_no_waker() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(-1).await.unwrap();
    let (waker, result) = probe.try_wait(103, [timer, u32::MAX, 1]).await;
    assert_eq!(result, Err(Errno::InvalidParameter));
    let events = probe.events().await;
    let waker = waker.cast_signed();
    assert!(!events.contains(&Event::Released(waker)), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_marks_the_task_that_waits() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(20).await.unwrap();
    let waker = probe.new_waker();
    let script = Script::new().task(77).fast(103, [waker, timer, 1, 0]);
    let result = probe.run(&script).await.result();
    probe.count_waker(waker, result);
    assert_eq!(result, Err(Errno::Pending));
    probe.until_woken(waker).await;
    let waker = waker.cast_signed();
    let is_over = |events: &[Event]| events.contains(&Event::Released(waker));
    let events = probe.events_until(is_over).await;
    let position = |event| events.iter().position(|seen| *seen == event);
    assert!(position(Event::Task(77)).is_some(), "{events:?}");
    let (wake, release) = (
        position(Event::Wake(waker)),
        position(Event::Released(waker)),
    );
    assert!(wake.is_some() && wake < release, "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_wait_without_a_waker() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(20).await.unwrap();
    let marker = probe.create_timer(60).await.unwrap();
    let script = Script::new().task(5).fast(103, [u32::MAX, timer, 1, 0]);
    assert_eq!(probe.run(&script).await.result(), Err(Errno::Pending));
    probe.poll_timer(marker).await.unwrap();
    let events = probe.events_until(|seen| seen.contains(&Event::Task(5)));
    events.await;
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_a_timer_anew_keeps_its_wait() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(1_000_000).await.unwrap();
    let (waker, result) = probe.try_wait(103, [timer, 1, 0]).await;
    assert_eq!(result, Err(Errno::Pending));
    probe.reset_timer(timer, 10).await.unwrap();
    probe.until_woken(waker).await;
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    // Set to never, the wait is over without a wake.
    probe.reset_timer(timer, 1_000_000).await.unwrap();
    let (_, result) = probe.try_wait(103, [timer, 1, 0]).await;
    assert_eq!(result, Err(Errno::Pending));
    probe.close(timer).await.unwrap();
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_one_poll_have_no_number_at_which_a_guest_ends() {
    // 200,000 calls under as many wakers, answered at once; then each waker is
    // heard of once, and the guest finishes.
    let text = r#"(module
        (import "wapo" "ocall_fast_return"
          (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 64)
        (func (export "wapo_poll") (result i32)
          (local $id i32) (local $bytes i32) (local $seen i32)
          (loop $calls
            (drop (call $fast (i32.const 0) (i32.const 103) (local.get $id)
              (i32.const 7777) (i32.const 0) (i32.const 0)))
            (local.set $id (i32.add (local.get $id) (i32.const 1)))
            (br_if $calls (i32.lt_u (local.get $id) (i32.const 200000))))
          (loop $hear
            (local.set $bytes (i32.wrap_i64 (call $fast (i32.const 0) (i32.const 300)
              (i32.const 0x200000) (i32.const 8) (i32.const 0) (i32.const 0))))
            (if (local.get $bytes) (then
              ;; An event of a waker, a release: a byte for each id tells of the second.
              (if (i32.and (i32.eq (i32.const 1) (i32.load (i32.const 0x200000)))
                           (i32.lt_s (i32.load (i32.const 0x200004)) (i32.const 0)))
                (then
                  (local.set $id (i32.xor (i32.const -1) (i32.load (i32.const 0x200004))))
                  (if (i32.load8_u (local.get $id)) (then unreachable))
                  (i32.store8 (local.get $id) (i32.const 1))
                  (local.set $seen (i32.add (local.get $seen) (i32.const 1)))))
              (br $hear))))
          (if (i32.ne (local.get $seen) (i32.const 200000)) (then unreachable))
          (i32.const 1)))"#;
    let app = Daemon::start().await.deploy(text_guest(text)).await;
    assert_eq!(app.exited().await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_poll_under_foreign_wakers_without_end() {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    assert_eq!(app.ask_number("/ready/200000").await, 200_000);
}
