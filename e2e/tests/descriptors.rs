//! A process without free file descriptors goes on when it has some again.
//!
//! A binary of its own: the limit is the whole process's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::time::Duration;

use e2e::{App, Daemon, guest, ports, text_guest, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

/// Room for descriptors that are opened while the test begins.
const SPARE: u64 = 40;

/// Accepts for ever: writes `a` for a connection and `e` for an error, after
/// which it tries again 20 ms later.
fn acceptor(port: u16) -> String {
    let address = format!("127.0.0.1:{port}");
    let length = address.len() << 2;
    let input = address.len() + 2;
    format!(
        r#"(module
          (import "wapo" "ocall_fast_return"
            (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
          (memory (export "memory") 1)
          (data (i32.const 16) "\{length:02x}{address}\00")
          (data (i32.const 64) "ae")
          (global $listener (mut i32) (i32.const -1))
          (func $call (param i32 i32 i32 i32) (result i64)
            (call $fast (i32.const 0) (local.get 0) (local.get 1) (local.get 2) (local.get 3)
              (i32.const 0)))
          (func $again
            (local $timer i32)
            (local.set $timer (i32.wrap_i64
              (call $call (i32.const 201) (i32.const 20) (i32.const 0) (i32.const 0))))
            (drop (call $call (i32.const 103) (i32.const -1) (local.get $timer) (i32.const 0))))
          (func (export "wapo_poll") (result i32)
            (local $result i64)
            (if (i32.eq (global.get $listener) (i32.const -1)) (then
              (global.set $listener (i32.wrap_i64 (call $call (i32.const 210)
                (i32.const 16) (i32.const {input}) (i32.const 0))))))
            (drop (call $call (i32.const 300) (i32.const 256) (i32.const 256) (i32.const 0)))
            (loop $next
              (local.set $result (call $call (i32.const 212)
                (i32.const -1) (global.get $listener) (i32.const 0)))
              (if (i64.eqz (i64.shr_u (local.get $result) (i64.const 32))) (then
                (drop (call $call (i32.const 101)
                  (i32.wrap_i64 (local.get $result)) (i32.const 0) (i32.const 0)))
                (drop (call $call (i32.const 243) (i32.const 64) (i32.const 1) (i32.const 0)))
                (br $next)))
              (if (i32.eq (i32.wrap_i64 (local.get $result)) (i32.const 9)) (then
                (drop (call $call (i32.const 243) (i32.const 65) (i32.const 1) (i32.const 0)))
                (call $again))))
            (i32.const 0)))"#
    )
}

/// Waits until the guest has written this letter.
async fn written(app: &App, letter: u8) {
    let found = async {
        while !app.handle().take_output().contains(&letter) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the guest's letter", found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_outlive_a_lack_of_descriptors() {
    let daemon = Daemon::start().await;
    let hello = daemon.deploy(guest("hello-http")).await;
    hello.get("/").await.expect_text("Hello, World!\n");
    let port = ports::free();
    let mut config = text_guest(&acceptor(port));
    config.listen_ports = ports::only(port);
    let app = daemon.deploy(config).await;
    let address = app.listening().await;
    drop(TcpStream::connect(address).await.unwrap());
    written(&app, b'a').await;

    // The client's socket exists before, it only connects without any left.
    let client = TcpSocket::new_v4().unwrap();
    let for_gateway = TcpSocket::new_v4().unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let before = getrlimit(Resource::Nofile);
    let current = Some(open + SPARE);
    setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let _client = client.connect(address).await.unwrap();
    let _waiting = for_gateway.connect(hello.gateway()).await.unwrap();
    written(&app, b'e').await;

    drop(files);
    written(&app, b'a').await;
    hello.get("/").await.expect_text("Hello, World!\n");
    setrlimit(Resource::Nofile, before).unwrap();
    app.stop().await;
}
