//! Guests that try to get more than their quotas: by many instances, by closing and
//! opening, by many small writes, by their end.

use std::time::{Duration, Instant};

use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Operator, text_guest, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use wapo_rpc::message::{DeployArgs, StringPair};

use super::settings::quota;
use super::{Neighbour, hog_time, probe_on};

fn with(key: &str, value: &str, instances: u32) -> impl FnOnce(&mut DeployArgs) {
    let pair = StringPair {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    move |args: &mut DeployArgs| {
        e2e::operator::manifest(args).resizable = true;
        let settings = args.settings.as_mut().unwrap();
        settings.quotas = vec![pair];
        settings.instances = instances;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_get_no_more_of_a_core_than_one() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let spinner = text_guest(
        r#"(module (memory (export "memory") 1)
          (func (export "wapo_poll") (result i32) (loop $l (br $l)) (i32.const 0)))"#,
    );
    let app = operator.deploy_with(&spinner, with("cpu", "0.2", 6)).await;
    let info = operator.find(app).await.unwrap();
    assert_eq!(info.instances, 6);
    let (before, begun) = (hog_time(), Instant::now());
    neighbour.answers_for(Duration::from_secs(3)).await;
    let (used, time) = (hog_time() - before, begun.elapsed());
    let most = time.mul_f64(0.2) + Duration::from_millis(250);
    assert!(used <= most, "{used:?} in {time:?}");
    assert!(used > Duration::from_millis(20), "they go on: {used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_that_comes_while_instances_end_starts_all_of_them_again() {
    let operator = Operator::start().await;
    let spinner = text_guest(
        r#"(module (memory (export "memory") 1)
          (func (export "wapo_poll") (result i32) (loop $l (br $l)) (i32.const 0)))"#,
    );
    let app = operator
        .deploy_with(&spinner, with("gas", "unlimited", 3))
        .await;
    for round in 0..12 {
        super::settings::set(&operator, app, "gas", "1")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(round)).await;
        let set = super::settings::set(&operator, app, "gas", "unlimited");
        set.await.unwrap();
        // Those that end at this moment have ended then.
        tokio::time::sleep(Duration::from_millis(100)).await;
        operator
            .until("all instances", app, |info| info.instances == 3)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_come_and_go_use_up_one_quota_of_gas() {
    let operator = Operator::start().await;
    // Its first poll waits for a timer, the second one computes and traps.
    let crashing = text_guest(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (memory (export "memory") 1)
          (global $polls (mut i32) (i32.const 0))
          (func (export "wapo_poll") (result i32) (local $n i32)
            (global.set $polls (i32.add (global.get $polls) (i32.const 1)))
            (if (i32.eq (global.get $polls) (i32.const 1)) (then
              (drop (call $fast (i32.const 0) (i32.const 103) (i32.const -1)
                (i32.wrap_i64 (call $fast (i32.const 0) (i32.const 201)
                  (i32.const 50) (i32.const 0) (i32.const 0) (i32.const 0)))
                (i32.const 0) (i32.const 0)))
              (return (i32.const 0))))
            (loop $l
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $n) (i32.const 50000000))))
            unreachable))"#,
    );
    let gas = |args: &mut DeployArgs| {
        with("gas", "300000", 3)(args);
        args.settings.as_mut().unwrap().restart_always = true;
    };
    let app = operator.deploy_with(&crashing, gas).await;
    let info = operator
        .until("the end", app, |info| info.state == "stopped")
        .await;
    assert!(info.reason.contains("gas used up"), "{}", info.reason);
    let used = info.usage.unwrap().gas;
    assert!(used < 310_000, "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_what_exists() {
    let operator = Operator::start().await;
    // Each instance makes a hundred timers when it begins.
    let hoarder = text_guest(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (memory (export "memory") 1)
          (global $made (mut i32) (i32.const 0))
          (func (export "wapo_poll") (result i32)
            (loop $next
              (drop (call $fast (i32.const 0) (i32.const 201)
                (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 0)))
              (global.set $made (i32.add (global.get $made) (i32.const 1)))
              (br_if $next (i32.lt_u (global.get $made) (i32.const 100))))
            (i32.const 0)))"#,
    );
    let app = operator
        .deploy_with(&hoarder, with("timers", "250", 4))
        .await;
    let timers = quota(&operator, app, "timers").await;
    assert_eq!((timers.used, timers.max), (250, 250));
    assert!(timers.refused >= 150, "{timers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_writes_are_as_slow_as_large_ones() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "egress-per-second=8K").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    let begun = Instant::now();
    let counting = tokio::spawn(async move {
        let (mut count, mut buffer) = (0, vec![0; 64 << 10]);
        while let Ok(read @ 1..) = client.read(&mut buffer).await {
            count += read;
        }
        count
    });
    // Whatever the host answers: a thousand writes of ten bytes at a time.
    while begun.elapsed() < Duration::from_secs(3) {
        let flood = Script::new().fast_times(1000, 104, [u32::MAX, stream, SCRATCH, 10]);
        probe.run(&flood).await;
        neighbour.answers().await;
    }
    let time = begun.elapsed();
    assert_eq!(probe.close(stream).await, Ok(0));
    let count = within("the end", counting).await.unwrap();
    // What is saved up is 16 KiB.
    let most = 8192.0 * time.as_secs_f64() + 16_384.0 + 1_000.0;
    assert!(count as f64 <= most, "{count} bytes in {time:?}");
    assert!(count >= 16_000, "what was saved up goes at once: {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_and_opening_gains_nothing_and_loses_nothing() {
    let operator = Operator::start().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = u32::from(server.local_addr().unwrap().port());
    let accepting = tokio::spawn(async move {
        let mut clients = Vec::new();
        while let Ok((client, _)) = server.accept().await {
            clients.push(client);
        }
    });
    let (probe, _) = probe_on(operator.daemon(), "connections-out=3").await;
    let app = probe.app().handle().address();
    for _ in 0..30 {
        // Attempts that are given up, and connections that are not taken.
        let mut attempts = Vec::new();
        let refused = loop {
            match probe.tcp_connect("127.0.0.1", port).await {
                Ok(attempt) => attempts.push(attempt),
                Err(errno) => break errno,
            }
        };
        assert_eq!((refused, attempts.len()), (Errno::Limited, 3));
        let used = quota(&operator, app, "connections-out").await.used;
        assert_eq!(used, 3);
        for attempt in attempts {
            assert_eq!(probe.close(attempt).await, Ok(0));
        }
        // An attempt that was given up ends a moment later.
        let free = async {
            while quota(&operator, app, "connections-out").await.used > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within("the attempts to end", free).await;
    }
    accepting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_connect_again_and_again_wait_while_the_rate_is_used_up() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    // Each connection costs 128 bytes, of which 16 KiB are saved up.
    let (probe, port) = probe_on(operator.daemon(), "ingress-per-second=128").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let clients = futures_util::future::join_all((0..200).map(|_| TcpStream::connect(&address)));
    let clients = within("the clients", clients).await;
    let begun = Instant::now();
    // What the test itself sends is a few hundred bytes.
    let all = Script::new().fast_times(200, 212, [u32::MAX, listener, 0, 0]);
    let (last, accepted) = probe.run(&all).await.counted();
    assert_eq!(last, Err(Errno::Pending));
    let more = begun.elapsed().as_secs() + 2;
    assert!(u64::from(accepted) <= 128 + more, "{accepted}");
    assert!(accepted >= 110, "{accepted}");
    neighbour.answers().await;
    // The next one comes when there is something again.
    let app = probe.app().handle().address();
    let name = "ingress-per-second";
    super::settings::set(&operator, app, name, "1M")
        .await
        .unwrap();
    assert!(probe.tcp_accept_no_addr(listener).await.is_ok());
    assert!(clients.iter().all(Result::is_ok), "none was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_for_its_rate_and_goes_leaves_nothing_behind() {
    let operator = Operator::start().await;
    let (probe, port) = probe_on(operator.daemon(), "egress-per-second=1").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut streams = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(&address).await.unwrap());
        streams.push(probe.tcp_accept_no_addr(listener).await.unwrap());
    }
    // All at once: what the rate holds up are the answers to the test, too.
    let mut script = Script::new();
    for stream in &streams {
        let waker = probe.new_waker();
        script = script.fast_times(5000, 104, [u32::MAX, *stream, SCRATCH, 10]);
        script = script.fast(104, [waker, *stream, SCRATCH, 10]);
        probe.count_waker(waker, Err(Errno::Pending));
    }
    // A stream that is closed lets go of its waker.
    for stream in &streams {
        script = script.fast(101, [*stream, 0, 0, 0]);
    }
    let mut output = probe.run(&script).await;
    for _ in &streams {
        assert_eq!(output.counted().0, Err(Errno::Pending));
        assert_eq!(output.result(), Err(Errno::Pending));
    }
    for _ in &streams {
        assert_eq!(output.result(), Ok(0));
    }
    let app = probe.app().handle().address();
    let name = "egress-per-second";
    super::settings::set(&operator, app, name, "unlimited")
        .await
        .unwrap();
    probe.check_wakers(&[]).await;
    let quota = quota(&operator, app, "connections-in").await;
    assert_eq!(quota.used, 0);
}
