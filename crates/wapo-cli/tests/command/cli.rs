//! The command as people use it: a process with arguments, output, signals and
//! an exit code.
//!
//! These tests stand here and not with the other end-to-end tests because only
//! a test of the same package is promised its binary. Guests are those that
//! `cargo xtask guests` built.

#[path = "../../../wapo-host/tests/support/bombs.rs"]
#[allow(dead_code, reason = "only the large program is used")]
mod bombs;

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::running::{Running, address_of};
use crate::support::{TIMEOUT, get, guest, output, text};

/// A port below those that the system gives to clients.
fn free_port() -> u16 {
    let seed = std::process::id();
    let ports =
        (0..1000).map(|number| 10_000 + u16::try_from((seed * 7 + number) % 20_000).unwrap_or(0));
    let mut free = ports.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}

#[tokio::test]
async fn new_build_and_run_in_an_empty_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let made = output(folder.path(), &["new", "hello"]).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    let again = output(folder.path(), &["new", "hello"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists already"));

    let built = output(folder.path(), &["build", "hello"]).await;
    assert!(built.status.success(), "{}", text(&built.stderr));
    let wasm = text(&built.stdout).trim().to_owned();
    assert!(wasm.ends_with("hello.wasm"), "{wasm}");
    let wasm = folder.path().join(wasm);
    assert!(std::fs::read(wasm).expect("a file").starts_with(b"\0asm"));

    let arguments = ["run", "hello", "--address", "127.0.0.1:0"];
    let mut running = Running::start(folder.path(), &arguments);
    let address = address_of(&running.line("http://").await);
    let answer = get(&address, "/").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.interrupt().await;
    assert_eq!(running.ended().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_ends_cleanly_and_closes_the_port() {
    let folder = tempfile::tempdir().expect("folder");
    let wasm = guest("hello-http");
    let arguments = ["run", &wasm, "--address", "127.0.0.1:0"];
    let mut running = Running::start(folder.path(), &arguments);
    let address = address_of(&running.line("http://").await);
    let answer = get(&address, "/you").await;
    assert!(
        answer.ends_with("Hello, you!\n") || answer.contains("Hello, you!"),
        "{answer}"
    );
    running.interrupt().await;
    assert_eq!(running.ended().await, Some(0));
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn run_opens_a_port_for_server_names() {
    let folder = tempfile::tempdir().expect("folder");
    let wasm = guest("sni-tls-server");
    let port = free_port().to_string();
    let arguments = [
        "run",
        &wasm,
        "--address",
        "127.0.0.1:0",
        "--tls-port",
        &port,
    ];
    let name = ["--", "shop.example"];
    let mut running = Running::start(folder.path(), &[&arguments[..], &name].concat());
    let url = format!("https://shop.example:{port}/");
    running.line(&url).await;
    let resolve = format!("shop.example:{port}:127.0.0.1");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--insecure", "--resolve", &resolve, &url]);
    let answer = curl.output().await.expect("curl is installed");
    let answer = text(&answer.stdout);
    assert!(answer.starts_with("Hello from shop.example"), "{answer}");
    running.interrupt().await;
    assert_eq!(running.ended().await, Some(0));
}

/// Runs the guest of Wapo 0.x, asks for a path, and gives the exit code.
async fn exit_code_after(path: &str) -> Option<i32> {
    let folder = tempfile::tempdir().expect("folder");
    let wasm = guest("compat-v0");
    let port = free_port();
    let own = format!("127.0.0.1:{port}");
    let ports = format!("{port}..{port}");
    let arguments = [
        "run",
        &wasm,
        "--address",
        "127.0.0.1:0",
        "--listen-ports",
        &ports,
        "--",
        &own,
    ];
    let mut running = Running::start(folder.path(), &arguments);
    running.line(&own).await;
    get(&own, path).await;
    running.ended().await
}

#[tokio::test]
async fn the_guests_exit_code_is_passed_on() {
    assert_eq!(exit_code_after("/exit").await, Some(3));
}

#[tokio::test]
async fn a_trap_has_an_exit_code_of_its_own() {
    assert_eq!(exit_code_after("/panic").await, Some(101));
}

#[tokio::test]
async fn a_limit_has_an_exit_code_of_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let arguments = [
        "run",
        &guest("hello-http"),
        "--gas",
        "1",
        "--address",
        "127.0.0.1:0",
    ];
    let ended = output(folder.path(), &arguments).await;
    assert_eq!(ended.status.code(), Some(102), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("gas"));
}

/// Runs a program of the fixture `honest` to its end.
async fn honest(args: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().expect("folder");
    let wasm = guest("honest");
    let start = ["run", &wasm, "--address", "127.0.0.1:0", "--"];
    output(folder.path(), &[&start[..], args].concat()).await
}

#[tokio::test]
async fn run_shows_every_line_of_a_flood_and_the_last_one_without_a_line_break() {
    let ended = honest(&["lines-then-abort", "20000"]).await;
    assert_eq!(ended.status.code(), Some(101));
    let expected: Vec<_> = (0..20_000).map(|line| format!("line {line}")).collect();
    assert!(text(&ended.stdout).lines().eq(&expected));
    let told = text(&ended.stderr);
    assert!(told.contains("the reason why it ends"), "{told}");
    assert!(!told.contains("dropped"), "{told}");

    let ended = honest(&["last-line"]).await;
    let printed = text(&ended.stdout);
    assert_eq!(printed, "first\nlast, without a newline\n");
}

#[tokio::test]
async fn run_tells_an_error_of_main_once_and_without_frames() {
    let ended = honest(&["error"]).await;
    assert_eq!(ended.status.code(), Some(1));
    let told = text(&ended.stderr);
    assert_eq!(
        told.matches("no configuration: the file is empty").count(),
        1,
        "{told}"
    );
    assert_eq!(told.matches("exited with code 1").count(), 1, "{told}");
    for noise in ["backtrace", "panicked", "wasm function", "trapped"] {
        assert!(!told.contains(noise), "{told}");
    }
}

/// Answers every connection with one web page.
async fn web_server() -> u16 {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nserved";
    let bound = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = bound.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The request fits into one segment, and nobody looks at it.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(ANSWER).await;
        }
    });
    port
}

#[tokio::test]
async fn private_addresses_need_permission() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("http://127.0.0.1:{}/", web_server().await);
    let wasm = guest("http-client");
    let start = ["run", &wasm, "--address", "127.0.0.1:0"];
    let denied = output(folder.path(), &[&start[..], &["--", &url]].concat()).await;
    assert!(!denied.status.success());
    assert!(
        text(&denied.stderr).contains("denied"),
        "{}",
        text(&denied.stderr)
    );
    let rule = ["--allow-egress", "127.0.0.0/8", "--", &url];
    let allowed = output(folder.path(), &[&start[..], &rule].concat()).await;
    assert!(allowed.status.success(), "{}", text(&allowed.stderr));
}

#[tokio::test]
async fn mistakes_are_explained() {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content).expect("write");
    };
    write("script.wasm", b"#!/bin/sh\n");
    write("empty.wasm", b"\0asm\x01\0\0\0");
    // A memory of one page, exported.
    let no_poll = b"\0asm\x01\0\0\0\x05\x03\x01\0\x01\x07\x0a\x01\x06memory\x02\0";
    write("no-poll.wasm", no_poll);
    std::fs::create_dir(folder.path().join("nothing")).expect("folder");
    for (arguments, words) in [
        (
            vec!["run", "script.wasm"],
            vec!["script.wasm", "not a wasm file"],
        ),
        (vec!["run", "empty.wasm"], vec!["wapo_poll"]),
        (
            vec!["run", "no-poll.wasm"],
            vec!["wapo_poll", "#[wapo::main]"],
        ),
        (vec!["run", "missing.wasm"], vec!["missing.wasm"]),
        (vec!["run", "nothing"], vec!["nothing"]),
        (vec!["build", "nothing"], vec!["nothing"]),
        (vec!["new", "1a"], vec!["1a", "not a name"]),
    ] {
        let ended = output(folder.path(), &arguments).await;
        let error = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {error}");
        for word in words {
            assert!(
                error.contains(word),
                "{arguments:?} without {word}: {error}"
            );
        }
        assert!(!error.contains("panicked"), "{error}");
    }
    let unknown = output(folder.path(), &["run", "--memory", "lots"]).await;
    assert_eq!(unknown.status.code(), Some(2));
}

#[tokio::test]
async fn ctrl_c_does_not_wait_for_the_compiler() {
    let folder = tempfile::tempdir().expect("folder");
    // Compiling it takes half a minute and more.
    let wasm = bombs::large_program(30_000, 300, "wapo_poll");
    std::fs::write(folder.path().join("large.wasm"), wasm).expect("written");
    let arguments = ["run", "large.wasm", "--address", "127.0.0.1:0"];
    let running = Running::start(folder.path(), &arguments);
    let id = running.child.id().expect("it runs");
    let compiler = async {
        loop {
            let threads = std::fs::read_dir(format!("/proc/{id}/task")).expect("threads");
            let children = threads.flatten().find_map(|thread| {
                let children = std::fs::read_to_string(thread.path().join("children"));
                children.ok().filter(|children| !children.is_empty())
            });
            match children {
                Some(children) => return children.trim().to_owned(),
                None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    let compiler = tokio::time::timeout(TIMEOUT, compiler).await;
    let compiler = compiler.expect("the compiler is started in time");
    running.interrupt().await;
    // It had not started yet.
    assert_eq!(running.ended().await, Some(130));
    let gone = async {
        while Path::new(&format!("/proc/{compiler}")).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(TIMEOUT, gone).await;
    gone.expect("the compiler ends with the command");
}
