//! What an app is charged for.

use e2e::probe::Script;
use e2e::{Daemon, Probe, ports, text_guest, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wapod::ExitReason;

/// Computes for a while, calls the host now and then, and finishes.
const WORK: &str = r#"(module
    (import "wapo" "ocall_fast_return"
      (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (func (export "wapo_poll") (result i32)
      (local $i i32)
      (loop $l
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 100_000))) (then
          (drop (call $fast (i32.const 0) (i32.const 110) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0)))))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 3_000_000))))
      (i32.const 1)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn gas_is_deterministic() {
    let mut readings = Vec::new();
    for _ in 0..3 {
        let app = Daemon::start().await.deploy(text_guest(WORK)).await;
        assert_eq!(app.exited().await, ExitReason::Finished);
        readings.push(app.usage().gas);
    }
    // At least the 30 calls of 200.
    assert!(readings[0] > 6_000, "{readings:?}");
    assert!(
        readings.iter().all(|gas| *gas == readings[0]),
        "{readings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_survives_the_end_of_an_instance() {
    let probe = Probe::start().await;
    probe.tip(7).await.unwrap();
    let asked = probe
        .try_run(&Script::new().fast_times(1_000, 110, [0; 4]).trap())
        .await;
    assert!(asked.is_err());
    probe.app().exited().await;
    let usage = probe.app().usage();
    assert_eq!((usage.tip, usage.starts, usage.memory_bytes), (7, 1, 0));
    assert!(usage.gas > 0 && usage.requests >= 2, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tip_has_64_bits() {
    let probe = Probe::start().await;
    probe.tip(0x1_0000_0005).await.unwrap();
    assert_eq!(probe.app().usage().tip, 0x1_0000_0005);
    probe.tip(1).await.unwrap();
    assert_eq!(probe.app().usage().tip, 0x1_0000_0006);
    probe.tip(u64::MAX).await.unwrap();
    assert_eq!(probe.app().usage().tip, u64::MAX, "it saturates");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_reads_its_gas() {
    let probe = Probe::start().await;
    let first = probe.app_gas_consumed().await.unwrap();
    let second = probe.app_gas_consumed().await.unwrap();
    assert_eq!((first.len(), second.len()), (80, 80));
    let number =
        |reading: &[u8], at: usize| u64::from_le_bytes(reading[at..at + 8].try_into().unwrap());
    // The second one may come in the same poll, which is not settled yet.
    assert!(number(&second, 0) >= number(&first, 0), "gas grows");
    assert_eq!(
        number(&second, 8),
        number(&first, 8) + 1,
        "readings are counted"
    );
    assert_eq!(first[16..48], second[16..48], "the session stays");
    assert_ne!(first[48..80], second[48..80], "the nonce does not");
    // One poll is settled before the next begins.
    probe.run(&Script::new()).await;
    assert!(number(&second, 0) <= probe.app().usage().gas);
    let settled = async {
        loop {
            let third = probe.app_gas_consumed().await.unwrap();
            if number(&third, 0) > number(&first, 0) {
                return;
            }
        }
    };
    within("gas to grow", settled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_the_network_are_counted() {
    let port = ports::free();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = server.local_addr().unwrap().port();
    let probe = Probe::with(|app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let count = || {
        let usage = probe.app().usage();
        (usage.network_ingress_bytes, usage.network_egress_bytes)
    };
    assert_eq!(count(), (0, 0));
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_eq!(count(), (128, 0), "an accepted connection");
    client.write_all(&[1; 1000]).await.unwrap();
    probe.read_exact(stream, 1000).await;
    probe.write_all(stream, &[2; 500]).await;
    within("the bytes", client.read_exact(&mut [0; 500]))
        .await
        .unwrap();
    assert_eq!(count(), (1128, 500));
    probe.poll_shutdown(stream).await.unwrap();
    assert_eq!(count(), (1128, 628), "an end");
    let connecting = probe.tcp_connect("127.0.0.1", peer.into()).await.unwrap();
    assert_eq!(count(), (1128, 1140), "an attempt");
    probe.poll_res(connecting).await.unwrap();
    assert_eq!(count(), (1640, 1140), "a connection");
}

/// Prices per call: number, slots, gas.
const PRICES: &[(u32, [u32; 4], u64)] = &[
    (101, [9999, 0, 0, 0], 200),
    (103, [u32::MAX, 9999, 0, 0], 200),
    (109, [1, 0, 0, 0], 200),
    (110, [0; 4], 200),
    (111, [0; 4], 100),
    (113, [0x10_0000, 100, 0, 0], 1_000),
    (202, [9999, 0x10_0000, 12_800, 0], 1_100),
    (203, [9999, 0, 0, 0], 300),
    (212, [u32::MAX, 9999, 0, 0], 1_000),
    (213, [0x10_0000, 0, 80, 0], 1_000),
    (220, [3, 0x10_0000, 0, 0], 0),
    (243, [0x10_0000, 12_800, 0, 0], 100),
    (253, [0; 4], 100),
    (262, [0x10_0000, 65, 0, 0], 0),
];

#[tokio::test(flavor = "multi_thread")]
async fn calls_cost_what_the_contract_says() {
    const TIMES: u32 = 1_000;
    let daemon = Daemon::start().await;
    // The first slot grows each time, which no price depends on.
    let measure =
        async |call, slots| Probe::gas_of(&daemon, &Script::new().flood(TIMES, call, slots)).await;
    // What the probe itself burns for so many calls that cost nothing.
    let nothing = measure(9_999, [0; 4]).await;
    for (call, slots, price) in PRICES {
        let gas = measure(*call, *slots).await.saturating_sub(nothing);
        let each = gas / u64::from(TIMES);
        assert!(
            each.abs_diff(*price) <= 2,
            "call {call}: {each} instead of {price}"
        );
    }
}
