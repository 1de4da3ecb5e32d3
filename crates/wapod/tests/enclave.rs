//! The daemon in the mode for enclaves, without an enclave: with the system calls that
//! Gramine has and no others, in an address space of an enclave's size.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use support::gramine::under_gramine;
use support::{Daemon, Folder};

/// What the manifest for Gramine sets.
const VARIABLES: &[(&str, &str)] = &[
    ("MALLOC_ARENA_MAX", "1"),
    ("_RJEM_MALLOC_CONF", "narenas:5"),
    ("RUST_LOG_SANITIZED", "true"),
    ("TOKIO_WORKER_THREADS", "4"),
    ("WAPOD_ENCLAVE_SIZE", "4G"),
];
/// Bytes of address space of such an enclave, in units of `ulimit -v`.
const ENCLAVE_KIB: u64 = 4 << 20;
/// A client that has left is noticed within this.
const NOTICED: Duration = Duration::from_secs(2);
/// Nothing here takes that long.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A guest that waits and answers nobody.
const SILENT: &str = r#"(module
    (import "wapo" "ocall" (func (param i32 i32 i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (func (export "wapo_poll") (result i32) (i32.const 0)))"#;

fn guest(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/target/wasm32-wasip1");
    let path = folder.join("release").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A port of loopback that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

fn deploy(
    daemon: &Daemon,
    wasm: &[u8],
    label: &str,
    arguments: &[&str],
    settings: &serde_json::Value,
) -> String {
    let hash = daemon.put_blob(wasm);
    let manifest = json!({
        "version": 1, "code_hash": format!("sha256:{hash}"), "label": label, "args": arguments,
    });
    daemon.deploy_blob(&manifest, settings)
}

fn gateway(daemon: &Daemon) -> SocketAddr {
    let info = daemon.call("Operation.Info");
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    let address = info["user_address"].as_str().expect("an address");
    address.parse().expect("an address")
}

/// Asks an app by HTTP/2 without TLS; gives the status.
fn ask_by_http2(place: SocketAddr, path: &str) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let tcp = tokio::net::TcpStream::connect(place)
            .await
            .expect("connects");
        let (client, connection) = h2::client::handshake(tcp).await.expect("HTTP/2");
        let driven = tokio::spawn(connection);
        let mut client = client.ready().await.expect("ready");
        let request = hyper::Request::get(format!("http://{place}{path}"));
        let request = request.body(()).expect("a request");
        let (answer, _) = client.send_request(request, true).expect("sent");
        let status = answer.await.expect("an answer").status().as_u16();
        driven.abort();
        status
    })
}

/// Sends something to a guest's own port, and reads it back.
fn echoes(port: u16) {
    let begun = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < TIME_LIMIT, "{error}"),
        }
    };
    stream.set_read_timeout(Some(TIME_LIMIT)).expect("set");
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(200_000).collect();
    let mut writer = stream.try_clone().expect("a clone");
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&bytes));
    let mut read = vec![0; sent.len()];
    stream.read_exact(&mut read).expect("an answer");
    writing.join().expect("joined").expect("sent");
    assert!(read == sent);
}

#[test]
fn the_daemon_lives_with_the_system_calls_of_gramine_alone() {
    let folder = Folder::new();
    let ports = free_port();
    let range = format!("{ports}..{ports}");
    let start = || folder.start_under_gramine(&["-l", &range, "-m", "64M"], VARIABLES);
    let daemon = start();
    daemon.deploy_the_sample(false);
    let sample = daemon.apps()[0]["address"]
        .as_str()
        .expect("one")
        .to_owned();
    assert!(daemon.get_app(&sample).starts_with("HTTP/1.1 200"));
    let path = format!("/app/{}/", sample.trim_start_matches("0x"));
    let place = gateway(&daemon);
    for _ in 0..20 {
        assert_eq!(ask_by_http2(place, &path), 200);
        assert!(daemon.get_app(&sample).starts_with("HTTP/1.1 200"));
    }

    let listens = format!("127.0.0.1:{ports}");
    deploy(
        &daemon,
        &guest("tcp-echo.wasm"),
        "echo",
        &[&listens],
        &json!({}),
    );
    echoes(ports);

    let asked = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = asked.local_addr().expect("bound").port();
    let url = format!("http://127.0.0.1:{port}/");
    let rule = format!("127.0.0.1:{port}");
    let settings = json!({ "egress": [rule] });
    let wasm = guest("http-client.wasm");
    let answered = std::thread::spawn(move || {
        let (mut stream, _) = asked.accept().expect("a connection");
        let mut head = [0; 4096];
        let count = stream.read(&mut head).expect("a request");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        stream.write_all(answer).expect("sent");
        String::from_utf8_lossy(&head[..count]).into_owned()
    });
    deploy(&daemon, &wasm, "client", &[&url], &settings);
    let request = answered.join().expect("asked");
    assert!(request.starts_with("GET / HTTP/1.1"), "{request}");

    let worker = daemon.public_key();
    let ended = daemon.stop("TERM");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let again = start();
    assert_eq!(again.public_key(), worker);
    assert!(again.get_app(&sample).starts_with("HTTP/1.1 200"));
    echoes(ports);
    assert_eq!(again.stop("TERM").code, Some(0));
}

#[test]
fn what_gramine_lacks_is_lacking_in_these_tests() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (mut other, _) = listener.accept().expect("a connection");
    other.write_all(b"x").expect("sent");
    let (from, to) = (folder.path("a"), folder.path("b"));
    fs::write(&from, "x").expect("written");
    under_gramine(move || {
        let link = fs::hard_link(&from, &to).expect_err("no linkat");
        assert_eq!(link.raw_os_error(), Some(libc::ENOSYS));
        let peek = stream.peek(&mut [0]).expect_err("no MSG_PEEK");
        assert_eq!(peek.raw_os_error(), Some(libc::ENOSYS));
        stream.read_exact(&mut [0]).expect("reads");
        fs::rename(&from, &to).expect("files are renamed");
    });
}

/// Connections to a port whose client has left and that the daemon still has.
fn left_behind(place: SocketAddr) -> usize {
    const CLOSE_WAIT: &str = "08";
    let table = fs::read_to_string("/proc/net/tcp").expect("the table");
    let local = format!(":{:04X}", place.port());
    let is_one = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let is_local = words.next().is_some_and(|word| word.ends_with(&local));
        is_local && words.nth(1) == Some(CLOSE_WAIT)
    };
    table.lines().filter(is_one).count()
}

#[test]
fn a_client_that_leaves_is_closed_soon() {
    let folder = Folder::new();
    let daemon = folder.start_under_gramine(&["-m", "64M"], VARIABLES);
    let app = daemon.deploy_text(SILENT, &json!({ "label": "silent" }));
    let path = app.trim_start_matches("0x");
    let admin = daemon.admin();
    let user = gateway(&daemon);
    for (place, target) in [
        (admin, format!("/logs/{app}?follow")),
        (user, format!("/app/{path}/")),
    ] {
        let mut streams = Vec::new();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(place).expect("connects");
            let head = format!("GET {target} HTTP/1.1\r\nHost: {place}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            streams.push(stream);
        }
        // The requests are at work before the clients leave.
        let mut first = [0; 1];
        if place == admin {
            for stream in &mut streams {
                stream.read_exact(&mut first).expect("a head");
            }
        }
        drop(streams);
        let begun = Instant::now();
        while left_behind(place) > 0 {
            assert!(
                begun.elapsed() < NOTICED,
                "{target}: {}",
                left_behind(place)
            );
            std::thread::yield_now();
        }
    }
    assert_eq!(daemon.stop("TERM").code, Some(0));
}

/// The daemon in an address space of an enclave's size.
fn confined(arguments: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_wapod");
    let script = format!("ulimit -v {ENCLAVE_KIB}; exec '{program}' {arguments}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

#[test]
fn an_enclave_has_room_for_the_instances_that_are_reckoned_and_no_more() {
    let folder = Folder::new();
    let daemon = folder.start_command(confined("--admin-port 0 --user-port 0 -m 128M"), VARIABLES);
    let text = include_str!("../console/sample.wat");
    let mut apps = Vec::new();
    for number in 0..29 {
        apps.push(daemon.deploy_text(text, &json!({ "label": format!("app-{number}") })));
    }
    let wasm = wat::parse_str(text).expect("the sample");
    let hash = daemon.put_blob(&wasm);
    let manifest = json!({ "version": 1, "code_hash": format!("sha256:{hash}"), "label": "more" });
    let arguments = json!({ "manifest": manifest, "reuse_instances": true }).to_string();
    let refused = daemon.try_call("Operation.AppDeploy", &arguments);
    assert!(refused.contains("No available slots"), "{refused}");
    for app in &apps {
        assert!(daemon.get_app(app).starts_with("HTTP/1.1 200"), "{app}");
    }
    assert_eq!(daemon.stop("TERM").code, Some(0));
}

#[test]
fn a_pool_that_does_not_fit_is_refused_with_what_helps() {
    let folder = Folder::new();
    let refused = folder.finish(confined("--admin-port 0 --user-port 0"));
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.errors.contains("--no-mem-pool"),
        "{}",
        refused.errors
    );
}

#[test]
fn neither_backup_nor_restoring_is_begun_in_an_enclave() {
    let folder = Folder::new();
    folder.start(&[]).stop("TERM");
    let made = folder.run(&["backup", "backup.tar"]);
    assert_eq!(made.code, Some(0), "{}", made.errors);
    let before = fs::read(folder.path("data/state.redb")).expect("the state");
    for command in [
        &["backup", "another.tar"][..],
        &["restore", "--force", "backup.tar"],
    ] {
        let refused = folder.run_with(command, VARIABLES);
        assert_eq!(refused.code, Some(1));
        let error = refused.only_error();
        assert!(error.contains("nothing was changed"), "{error}");
        assert!(!folder.path("another.tar").exists());
        let after = fs::read(folder.path("data/state.redb")).expect("the state");
        assert!(before == after);
    }
}

/// Whether the daemon starts a process while an app is deployed.
fn starts_a_process(daemon: &Daemon) -> bool {
    let id = daemon.id();
    let (done, is_done) = std::sync::mpsc::channel();
    let watching = std::thread::spawn(move || {
        let mut has_child = false;
        while is_done.try_recv().is_err() {
            let threads = fs::read_dir(format!("/proc/{id}/task")).expect("threads");
            for thread in threads.flatten() {
                let children = fs::read_to_string(thread.path().join("children"));
                has_child |= children.is_ok_and(|text| !text.trim().is_empty());
            }
        }
        has_child
    });
    deploy(daemon, &guest("hello.wasm"), "hello", &[], &json!({}));
    done.send(()).expect("watched");
    watching.join().expect("watched")
}

#[test]
fn an_enclave_has_one_process() {
    let folder = Folder::new();
    let outside = folder.start(&[]);
    assert!(starts_a_process(&outside), "a child compiles elsewhere");
    outside.stop("TERM");
    let folder = Folder::new();
    let inside = folder.start_with(&[], VARIABLES);
    assert!(!starts_a_process(&inside));
}

/// Stores a blob, or is refused: what it costs the daemon is looked at.
fn upload(place: SocketAddr, content: &[u8]) {
    let mut stream = TcpStream::connect(place).expect("connects");
    let length = content.len();
    let head = format!(
        "POST /blob/sha256: HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let sent = stream.write_all(head.as_bytes());
    let _ = sent.and_then(|()| stream.write_all(content));
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn the_daemon_has_no_more_threads_than_the_manifest_has_places() {
    use wapod::limits::{ENCLAVE_WORKERS, GRAMINE_THREADS, enclave_threads};
    const CLIENTS: usize = 64;
    let folder = Folder::new();
    let daemon = folder.start_with(&[], VARIABLES);
    let (place, id) = (daemon.admin(), daemon.id());
    let places = enclave_threads(ENCLAVE_WORKERS) - GRAMINE_THREADS;
    // Each keeps a blocking thread busy for a while.
    let content = vec![7; 8 << 20];
    std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| upload(place, &content)))
            .collect();
        while !uploads
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            let threads = fs::read_dir(format!("/proc/{id}/task"));
            let count = threads.expect("threads").count();
            assert!(count <= places, "{count} threads, {places} places");
        }
    });
    assert_eq!(daemon.stop("TERM").code, Some(0));
}
