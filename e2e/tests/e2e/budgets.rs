//! What guests may take of the host together: descriptors and memory.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::probe::{SCRATCH, Script};
use e2e::{App, Daemon, Errno, Probe, guest, ports, text_guest, within};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use wapod::DescriptorLimits;

const LIMITS: DescriptorLimits = DescriptorLimits {
    total: 120,
    per_instance: 16,
};

async fn small_daemon() -> Daemon {
    Daemon::with(|config| config.guest_descriptors = Some(LIMITS)).await
}

/// Waits until guests hold so many descriptors.
async fn held(daemon: &Daemon, expected: u64) {
    let reached = async {
        while daemon.running().guest_descriptors().used != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let what = format!(
        "{expected} descriptors: {:?}",
        daemon.running().guest_descriptors()
    );
    within(&what, reached).await;
}

/// An address at which nobody answers: its queue is full, so the kernel drops
/// whatever else comes.
async fn silent() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    loop {
        let connecting = TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(200), connecting).await {
            Ok(client) => clients.push(client.unwrap()),
            Err(_) => return (address, clients, listener),
        }
    }
}

/// Listens on 127.1.100.100, 127.1.100.101 and so on until it is refused.
fn many_listeners(port: u16) -> String {
    let address = format!("127.1.100.100:{port:05}");
    format!(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\4c{address}\00")
          (data (i32.const 100) "x")
          (global $fourth (mut i32) (i32.const 100))
          (func (export "wapo_poll") (result i32)
            (block $refused (loop $next
              (i32.store8 (i32.const 11) (i32.add (i32.const 48)
                (i32.div_u (global.get $fourth) (i32.const 100))))
              (i32.store8 (i32.const 12) (i32.add (i32.const 48)
                (i32.rem_u (i32.div_u (global.get $fourth) (i32.const 10)) (i32.const 10))))
              (i32.store8 (i32.const 13) (i32.add (i32.const 48)
                (i32.rem_u (global.get $fourth) (i32.const 10))))
              (br_if $refused (i64.ne (i64.const 0) (i64.shr_u
                (call $fast (i32.const 0) (i32.const 210) (i32.const 0) (i32.const 21)
                  (i32.const 0) (i32.const 0)) (i64.const 32))))
              (drop (call $fast (i32.const 0) (i32.const 243) (i32.const 100) (i32.const 1)
                (i32.const 0) (i32.const 0)))
              (global.set $fourth (i32.add (global.get $fourth) (i32.const 1)))
              (br $next)))
            (i32.const 0)))"#
    )
}

async fn deploy_many_listeners(daemon: &Daemon, label: &str) -> App {
    // Five digits, so that the text above has one length.
    let port = ports::free();
    assert!(port >= 10_000, "the system's free ports are high");
    let mut config = text_guest(&many_listeners(port));
    label.clone_into(&mut config.label);
    config.listen_ports = ports::only(port);
    daemon.deploy(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_opens_listeners_without_end_gets_its_share_and_no_more() {
    let daemon = small_daemon().await;
    let app = deploy_many_listeners(&daemon, "one").await;
    let line = app.expect_log("no descriptor").await;
    assert!(line.text.contains("of 16 at most"), "{}", line.text);
    let listeners = app.status().listening.len();
    // Each takes two: its own and the one that is kept to share the port.
    assert_eq!(listeners, 8);
    assert_eq!(daemon.running().guest_descriptors().used, 16);

    // A second one of its kind does not use up what is left for others.
    deploy_many_listeners(&daemon, "two")
        .await
        .expect_log("no descriptor")
        .await;
    let hello = daemon.deploy(guest("hello-http")).await;
    hello.get("/").await.expect_text("Hello, World!\n");
    let port = ports::free();
    let probe = Probe::on(&daemon, |app| app.listen_ports = ports::only(port)).await;
    let listener = probe.tcp_listen(&format!("127.0.0.1:{port}"), None).await;
    assert!(listener.is_ok(), "{listener:?}");

    let used = daemon.running().guest_descriptors().used;
    app.stop().await;
    held(&daemon, used - 16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_connect_are_bounded_and_given_back() {
    let daemon = small_daemon().await;
    let (address, _clients, _listener) = silent().await;
    let rule = address.to_string();
    let probe = Probe::on(&daemon, |app| app.egress = vec![rule.parse().unwrap()]).await;
    let port = u32::from(address.port());
    let mut attempts = Vec::new();
    let refused = loop {
        match probe.tcp_connect("127.0.0.1", port).await {
            Ok(attempt) => attempts.push(attempt),
            Err(errno) => break errno,
        }
    };
    assert_eq!(refused, Errno::Limited);
    // Half of an instance's descriptors.
    assert_eq!(attempts.len(), 8);
    assert_eq!(daemon.running().guest_descriptors().used, 8);
    let line = probe.app().expect_log("attempts to connect").await;
    assert!(line.text.contains('8'), "{}", line.text);
    for attempt in attempts {
        assert_eq!(probe.close(attempt).await, Ok(0));
    }
    held(&daemon, 0).await;
    assert!(probe.tcp_connect("127.0.0.1", port).await.is_ok());
    probe.app().stop().await;
    held(&daemon, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_is_over_although_nobody_asks() {
    let daemon = small_daemon().await;
    // Bound and not listening: clients that connect are refused.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = closed.local_addr().unwrap().port();
    let probe = Probe::on(&daemon, |app| app.egress = vec!["*".parse().unwrap()]).await;
    for _ in 0..3 * LIMITS.per_instance {
        let attempt = probe.tcp_connect("127.0.0.1", port.into()).await;
        assert!(attempt.is_ok(), "{attempt:?}");
        held(&daemon, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_connections_count_and_wait_beyond_the_share() {
    let daemon = small_daemon().await;
    let port = ports::free();
    let probe = Probe::on(&daemon, |app| app.listen_ports = ports::only(port)).await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut clients = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..14 {
        clients.push(TcpStream::connect(&address).await.unwrap());
        streams.push(probe.tcp_accept_no_addr(listener).await.unwrap());
    }
    clients.push(TcpStream::connect(&address).await.unwrap());
    let (waker, waits) = probe.try_wait(212, [listener, 0, 0]).await;
    assert_eq!(waits, Err(Errno::Pending));
    let line = probe.app().expect_log("connections wait").await;
    assert!(line.text.contains("of 16 at most"), "{}", line.text);
    // With a descriptor free again, the same connection is accepted.
    assert_eq!(probe.close(streams[0]).await, Ok(0));
    within("a wake", probe.until_woken(waker)).await;
    assert!(probe.tcp_accept_no_addr(listener).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_its_limit_waits_without_work_and_serves_whoever_waited() {
    let daemon = small_daemon().await;
    let port = ports::free();
    let mut config = guest("sdk-suite");
    config.listen_ports = ports::only(port);
    config.args = vec![format!("listen=127.0.0.1:{port}")];
    let app = daemon.deploy(config).await;
    app.until("its port", |status| !status.listening.is_empty())
        .await;
    let ask = async |stream: &mut TcpStream| {
        let mut answer = [0; 4];
        stream.write_all(b"ping").await.unwrap();
        within("an echo", stream.read_exact(&mut answer))
            .await
            .unwrap();
    };
    let connect = async || TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut served = Vec::new();
    for _ in 0..14 {
        let mut stream = connect().await;
        ask(&mut stream).await;
        served.push(stream);
    }
    let mut waiting = connect().await;
    waiting.write_all(b"ping").await.unwrap();
    app.expect_log("connections wait").await;
    let before = app.usage().gas;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let used = app.usage().gas - before;
    assert!(used < 1_000_000, "{used} gas for waiting");
    drop(served);
    let mut answer = [0; 4];
    within("an echo", waiting.read_exact(&mut answer))
        .await
        .unwrap();
    ask(&mut connect().await).await;
}

/// Bytes of a blob in the tests below.
const BLOB_BYTES: usize = 4 << 20;
/// Memory of all guests there.
const BUDGET_BYTES: u64 = 16 << 20;

/// A daemon with little memory and one blob, by its name.
async fn with_a_blob(folder: &tempfile::TempDir) -> (Daemon, String) {
    let content = vec![7; BLOB_BYTES];
    let hash = hex::encode(Sha256::digest(&content));
    std::fs::write(folder.path().join(&hash), &content).unwrap();
    let daemon = Daemon::with(|config| {
        config.blob_dir = Some(folder.path().into());
        config.memory_budget_bytes = Some(BUDGET_BYTES);
    })
    .await;
    (daemon, format!("sha256:{hash}"))
}

/// Asks for a blob and leaves the answer where it is.
async fn hoard(probe: &Probe, blob: &str) -> Result<u32, Errno> {
    let script = Script::new().write(SCRATCH, blob.as_bytes());
    let len = u32::try_from(blob.len()).unwrap();
    let script = script.slow(244, [SCRATCH, len, 0, 0]);
    probe.run(&script).await.result()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_never_fetched_is_memory_of_its_instance() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, blob) = with_a_blob(&folder).await;
    let memory = || daemon.running().guest_memory_bytes();
    let mut hoarders = Vec::new();
    let refused = loop {
        let label = format!("hoarder-{}", hoarders.len());
        let probe = Probe::on(&daemon, |app| app.label = label).await;
        let before = memory();
        if let Err(errno) = hoard(&probe, &blob).await {
            break (probe, errno);
        }
        assert!(memory() - before >= BLOB_BYTES as u64 - (64 << 10));
        assert!(memory() <= BUDGET_BYTES);
        hoarders.push(probe);
    };
    assert_eq!(refused.1, Errno::Limited);
    let line = refused.0.app().expect_log("the host keeps").await;
    assert!(line.text.contains("memory is used up"), "{}", line.text);
    assert_eq!(hoarders.len(), 2, "beside the memories of the guests");

    // The same one again takes the place of the one before.
    hoarders[0].app().stop().await;
    assert!(hoard(&refused.0, &blob).await.is_ok(), "given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_answer_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, blob) = with_a_blob(&folder).await;
    let probe = Probe::on(&daemon, |_| {}).await;
    // Its own memory is there when it answers.
    probe.run(&Script::new()).await;
    let before = daemon.running().guest_memory_bytes();
    assert!(hoard(&probe, &blob).await.is_ok());
    assert!(daemon.running().guest_memory_bytes() > before);
    // A small answer takes its place.
    assert!(probe.slow_only(242, [0; 4]).await.is_ok());
    assert_eq!(daemon.running().guest_memory_bytes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_unbearable_size_is_refused() {
    let port = ports::free();
    let probe = Probe::with(|app| app.listen_ports = ports::only(port)).await;
    let chain = "-----BEGIN CERTIFICATE-----\n".repeat(70 * 1024 / 28);
    let address = format!("127.0.0.1:{port}");
    let refused = probe.tcp_listen(&address, Some((&chain, "key"))).await;
    assert_eq!(refused, Err(Errno::InvalidParameter));
}
