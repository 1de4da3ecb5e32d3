//! Ports: through the embedder, alone or shared by instances.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use support::{Deaf, ended, engine, running, start_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use wapo_host::{Engine, InstanceConfig, InstanceHandle};

/// A guest that listens and greets each connection with one byte, `name`. It
/// asks for `most` connections, then never again.
fn greeter(name: u8, most: u32) -> String {
    format!(
        r#"(data (i32.const 0) "\34127.0.0.1:777\00")
        (data (i32.const 64) "\{name:02x}")
        (global $listener (mut i32) (i32.const -1))
        (global $left (mut i32) (i32.const {most}))
        (func $call (param i32 i32 i32 i32 i32) (result i64)
          (call $fast (i32.const 0) (local.get 0) (local.get 1) (local.get 2)
            (local.get 3) (local.get 4)))
        (func (export "wapo_poll") (result i32)
          (local $accepted i64) (local $stream i32)
          (if (i32.eq (global.get $listener) (i32.const -1)) (then
            (global.set $listener (i32.wrap_i64 (call $call (i32.const 210)
              (i32.const 0) (i32.const 15) (i32.const 0) (i32.const 0))))))
          (block $end (loop $next
            (br_if $end (i32.eqz (global.get $left)))
            (local.set $accepted (call $call (i32.const 212) (i32.const -1)
              (global.get $listener) (i32.const 0) (i32.const 0)))
            (br_if $end (i64.ne (i64.shr_u (local.get $accepted) (i64.const 32)) (i64.const 0)))
            (local.set $stream (i32.wrap_i64 (local.get $accepted)))
            (drop (call $call (i32.const 104) (i32.const -1) (local.get $stream)
              (i32.const 64) (i32.const 1)))
            (drop (call $call (i32.const 101) (local.get $stream)
              (i32.const 0) (i32.const 0) (i32.const 0)))
            (global.set $left (i32.sub (global.get $left) (i32.const 1)))
            (br $next)))
          (i32.const 0))"#
    )
}

const PORT: u16 = 777;
const EVER: u32 = u32::MAX >> 1;

fn config() -> InstanceConfig {
    InstanceConfig {
        listen_ports: Some(PORT.into()),
        ..InstanceConfig::default()
    }
}

/// A socket, and where clients find it.
fn shared() -> (TcpListener, SocketAddr) {
    let listener = wapo_host::net::bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("port");
    let address = listener.local_addr().expect("address");
    (listener, address)
}

/// Starts a guest on a clone of a socket and waits until it listens.
async fn listening(
    engine: &Engine,
    body: &str,
    socket: &TcpListener,
) -> (InstanceHandle, Arc<Deaf>) {
    let embedder = Deaf {
        port: Some(socket.try_clone().expect("a clone")),
        ..Deaf::default()
    };
    let (handle, embedder) = start_with(engine, body, config(), embedder).await;
    running(&handle).await;
    let mut status = handle.status();
    let listens = status.wait_for(|status| !status.listening.is_empty());
    let listens = tokio::time::timeout(Duration::from_secs(10), listens).await;
    drop(listens.expect("in time").expect("the guest listens"));
    (handle, embedder)
}

/// Connects and tells who greets; `None` when the connection just ends.
async fn ask(address: SocketAddr) -> Option<u8> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.expect("a port");
        stream.read_u8().await.ok()
    };
    tokio::time::timeout(Duration::from_secs(10), asking)
        .await
        .expect("a connection is not forgotten")
}

async fn ask_times(address: SocketAddr, count: usize) -> Vec<Option<u8>> {
    let asking: Vec<_> = (0..count).map(|_| tokio::spawn(ask(address))).collect();
    let mut answers = Vec::new();
    for asked in asking {
        answers.push(asked.await.expect("no panic"));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_a_port() {
    let engine = engine();
    let (socket, address) = shared();
    let (_a, _) = listening(&engine, &greeter(b'a', 20), &socket).await;
    let (_b, _) = listening(&engine, &greeter(b'b', 20), &socket).await;
    // Neither takes more than half of them, so both must have been told.
    let answers = ask_times(address, 40).await;
    let count = |name| {
        answers
            .iter()
            .filter(|answer| **answer == Some(name))
            .count()
    };
    assert_eq!((count(b'a'), count(b'b')), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_look_takes_nothing_from_others() {
    let engine = engine();
    let (socket, address) = shared();
    // It asks once, is told of every connection, and never asks again: a guest
    // of the wat format is entered for each, but this one's count is used up.
    let (_deaf, _) = listening(&engine, &greeter(b'd', 1), &socket).await;
    assert_eq!(ask(address).await, Some(b'd'));
    let (_b, _) = listening(&engine, &greeter(b'b', EVER), &socket).await;
    for _ in 0..50 {
        assert_eq!(ask(address).await, Some(b'b'));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_waits_for_an_instance_that_asks() {
    let engine = engine();
    let (socket, address) = shared();
    let (first, _) = listening(&engine, &greeter(b'a', 0), &socket).await;
    let asking = tokio::spawn(ask(address));
    tokio::time::sleep(Duration::from_millis(20)).await;
    first.stop();
    ended(&first).await;
    let (_b, _) = listening(&engine, &greeter(b'b', EVER), &socket).await;
    assert_eq!(asking.await.expect("no panic"), Some(b'b'));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hangs_when_an_instance_ends_amid_connections() {
    let engine = engine();
    let (socket, address) = shared();
    let (_b, _) = listening(&engine, &greeter(b'b', EVER), &socket).await;
    for _ in 0..20 {
        let (a, _) = listening(&engine, &greeter(b'a', EVER), &socket).await;
        let asking = tokio::spawn(ask_times(address, 30));
        tokio::time::sleep(Duration::from_micros(300)).await;
        a.stop();
        ended(&a).await;
        // What `a` had taken ends with it; everything else is answered.
        asking.await.expect("every connection comes to an end");
        for answer in ask_times(address, 5).await {
            assert_eq!(answer, Some(b'b'));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_listener_is_reported() {
    let (socket, address) = shared();
    // Listens, and closes the handle at the next poll, which a timer causes.
    let body = r#"(data (i32.const 0) "\34127.0.0.1:777\00")
        (global $polls (mut i32) (i32.const 0))
        (func $call (param i32 i32 i32 i32) (result i32)
          (i32.wrap_i64 (call $fast (i32.const 0) (local.get 0) (local.get 1) (local.get 2)
            (local.get 3) (i32.const 0))))
        (func (export "wapo_poll") (result i32)
          (global.set $polls (i32.add (global.get $polls) (i32.const 1)))
          (if (i32.eq (global.get $polls) (i32.const 1)) (then
            (drop (call $call (i32.const 210) (i32.const 0) (i32.const 15) (i32.const 0)))
            (drop (call $call (i32.const 201) (i32.const 30) (i32.const 0) (i32.const 0)))
            (drop (call $call (i32.const 103) (i32.const -1) (i32.const 1) (i32.const 0)))))
          (if (i32.eq (global.get $polls) (i32.const 2)) (then
            (drop (call $call (i32.const 101) (i32.const 0) (i32.const 0) (i32.const 0)))))
          (i32.const 0))"#;
    let (handle, embedder) = listening(&engine(), body, &socket).await;
    let mut status = handle.status();
    let closed = status.wait_for(|status| status.listening.is_empty());
    let closed = tokio::time::timeout(Duration::from_secs(10), closed).await;
    drop(closed.expect("in time").expect("the guest runs"));
    // The status is first, the embedder is told right after it.
    while embedder.closed.lock().expect("closed").is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(*embedder.closed.lock().expect("closed"), [address]);
}
