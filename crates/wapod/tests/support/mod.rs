//! Starts the program, talks to it, and ends it, whatever the test does.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::disallowed_methods,
    reason = "these tests have no runtime that a thread could hold up"
)]

pub(crate) mod gramine;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Nothing here takes that long.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A working directory; the data folder is `data` in it.
pub(crate) struct Folder(tempfile::TempDir);

/// A program that has ended by itself.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Finished {
    /// The one line that says what was wrong.
    pub(crate) fn only_error(&self) -> &str {
        let error = self.errors.trim_end();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("wapod: "), "{error}");
        error
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// In this folder and with these variables only.
    fn prepare(&self, command: &mut Command, variables: &[(&str, &str)]) {
        command.current_dir(self.0.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null());
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, options: &[&str]) -> Finished {
        self.run_with(options, &[])
    }

    pub(crate) fn run_with(&self, options: &[&str], variables: &[(&str, &str)]) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wapod"));
        command.args(options);
        self.prepare(&mut command, variables);
        finish(command)
    }

    /// Runs a command of any kind to its end.
    pub(crate) fn finish(&self, mut command: Command) -> Finished {
        self.prepare(&mut command, &[]);
        finish(command)
    }

    /// Starts a daemon on free ports and waits until it is there.
    pub(crate) fn start(&self, options: &[&str]) -> Daemon {
        self.start_with(options, &[])
    }

    /// The same; after the first lines nobody reads the log any more.
    pub(crate) fn start_unread(&self, variables: &[(&str, &str)]) -> Daemon {
        let mut daemon = self.start_with(&["--log-format", "text"], variables);
        daemon.stop_reading();
        daemon
    }

    pub(crate) fn start_with(&self, options: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wapod"));
        command.args(["-c", "4", "--admin-port", "0", "--user-port", "0"]);
        command.args(options);
        self.prepare(&mut command, variables);
        Daemon::start(command)
    }

    /// Starts a daemon that has no other system calls than Gramine's; under Gramine itself
    /// where `cargo xtask test` has packaged it, with settings that were fixed then.
    pub(crate) fn start_under_gramine(
        &self,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Daemon {
        if let Some(launcher) = gramine::launcher() {
            let mut command = Command::new(launcher);
            return Daemon::start({
                command.arg("wapod");
                command
            });
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_wapod"));
        command.args(["-c", "4", "--admin-port", "0", "--user-port", "0"]);
        command.args(options);
        self.prepare(&mut command, variables);
        command.stdout(Stdio::piped());
        let child = gramine::under_gramine(move || command.spawn());
        Daemon::of(child.expect("the program starts"))
    }

    /// Starts a command that becomes a daemon.
    pub(crate) fn start_command(&self, mut command: Command, variables: &[(&str, &str)]) -> Daemon {
        self.prepare(&mut command, variables);
        Daemon::start(command)
    }
}

fn finish(mut command: Command) -> Finished {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let id = child.id();
    let (done, outcome) = channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(outcome) = outcome.recv_timeout(TIME_LIMIT) else {
        kill("KILL", id);
        panic!("{command:?} did not end");
    };
    let Output {
        status,
        stdout,
        stderr,
    } = outcome.expect("the program ends");
    Finished {
        code: status.code(),
        output: String::from_utf8(stdout).expect("text"),
        errors: String::from_utf8(stderr).expect("text"),
    }
}

fn kill(signal: &str, id: u32) {
    let sent = Command::new("kill")
        .args([format!("-{signal}"), id.to_string()])
        .status();
    assert!(sent.expect("kill").success());
}

/// A daemon that runs. It ends with the test.
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
    is_read: Arc<AtomicBool>,
    log: Arc<Mutex<String>>,
    admin: SocketAddr,
}

/// A daemon that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).spawn();
        Self::of(child.expect("the program starts"))
    }

    fn of(mut child: Child) -> Self {
        let output = child.stdout.take().expect("piped");
        let log = Arc::new(Mutex::new(String::new()));
        let (line, lines) = channel();
        let whole = Arc::clone(&log);
        let is_read = Arc::new(AtomicBool::new(true));
        let reads = Arc::clone(&is_read);
        std::thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                // The pipe stays open, and fills.
                while !reads.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                let mut whole = whole.lock().expect("the log");
                writeln!(whole, "{text}").expect("written");
                let _ = line.send(text);
            }
        });
        let mut daemon = Self {
            child,
            lines,
            is_read,
            log,
            admin: ([127, 0, 0, 1], 0).into(),
        };
        let console = daemon.wait_for_line("the console is at http");
        let address = console.split("://").nth(1).expect("an address");
        let address = address.split('/').next().expect("an address");
        daemon.admin = address.parse().expect("an address");
        daemon
    }

    /// The next line with a text in it.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(TIME_LIMIT) else {
                panic!(
                    "no line with `{text}`: {}",
                    self.log.lock().expect("the log")
                );
            };
            if line.contains(text) {
                return line;
            }
        }
    }

    fn stop_reading(&mut self) {
        self.is_read.store(false, Ordering::Relaxed);
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where the operator's interface is.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop(self, signal: &str) -> Ended {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> Ended {
        let begun = std::time::Instant::now();
        while !self.is_read.load(Ordering::Relaxed)
            && self.child.try_wait().expect("a status").is_none()
            && begun.elapsed() < TIME_LIMIT
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.is_read.store(true, Ordering::Relaxed);
        // The log ends with the program.
        while self.lines.recv_timeout(TIME_LIMIT).is_ok() {}
        let status = self.child.try_wait().expect("a status");
        let status = status.or_else(|| self.child.wait().ok());
        let log = self.log.lock().expect("the log").clone();
        Ended {
            code: status.and_then(|status| status.code()),
            log,
        }
    }

    /// Sends half of a request, which keeps the daemon waiting.
    pub(crate) fn begin_a_request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.admin).expect("connects");
        let head = "POST /blob/sha256: HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        // The answer to `Expect` shows that the request has begun.
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 100");
        stream.write_all(b"half").expect("sent");
        stream
    }

    /// Connections, each with a head of so many bytes that does not end.
    pub(crate) fn unfinished_heads(&self, count: usize, bytes: usize) -> Vec<TcpStream> {
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}", "x".repeat(bytes));
        let connect = |_| {
            let mut stream = TcpStream::connect(self.admin).expect("connects");
            stream.write_all(head.as_bytes()).expect("sent");
            stream
        };
        (0..count).map(connect).collect()
    }

    /// Memory of the process that is in RAM.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<usize>().ok())
            .expect("a size")
            * 1024
    }

    /// Looks again and again until it is so.
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < TIME_LIMIT, "it does not come to that");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn request(&self, head: &str, body: &[u8]) -> String {
        Self::request_at(self.admin, head, body)
    }

    /// Asks an app through the gateway; gives head and body of the answer.
    pub(crate) fn get_app(&self, address: &str) -> String {
        let info: serde_json::Value =
            serde_json::from_str(&self.call("Operation.Info")).expect("JSON");
        let gateway = info["user_address"].as_str().expect("an address");
        let gateway = gateway.parse().expect("an address");
        let path = address.trim_start_matches("0x");
        Self::request_at(gateway, &format!("GET /app/{path}/ HTTP/1.1\r\n"), b"")
    }

    fn request_at(place: SocketAddr, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(place).expect("connects");
        stream.set_read_timeout(Some(TIME_LIMIT)).expect("set");
        let head = format!(
            "{head}Host: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            place,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(body).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The whole answer of the admin port, head and body.
    pub(crate) fn get(&self, path: &str) -> String {
        self.get_with(path, "")
    }

    pub(crate) fn get_with(&self, path: &str, headers: &str) -> String {
        self.request(&format!("GET {path} HTTP/1.1\r\n{headers}"), b"")
    }

    fn post(&self, path: &str, headers: &str, body: &[u8]) -> String {
        let answer = self.request(&format!("POST {path} HTTP/1.1\r\n{headers}"), body);
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }

    /// Calls a method in JSON, without arguments.
    pub(crate) fn call(&self, method: &str) -> String {
        self.call_with(method, "{}")
    }

    /// Calls a method; gives head and body of the answer, whatever it is.
    pub(crate) fn try_call(&self, method: &str, arguments: &str) -> String {
        let head = format!("POST /prpc/{method} HTTP/1.1\r\nContent-Type: application/json\r\n");
        self.request(&head, arguments.as_bytes())
    }

    pub(crate) fn call_with(&self, method: &str, arguments: &str) -> String {
        let headers = "Content-Type: application/json\r\n";
        self.post(&format!("/prpc/{method}"), headers, arguments.as_bytes())
    }

    pub(crate) fn public_key(&self) -> String {
        let info: serde_json::Value =
            serde_json::from_str(&self.call("Operation.Info")).expect("JSON");
        info["pubkey"].as_str().expect("a key").to_owned()
    }

    /// Stores a blob and gives the digits of its hash.
    pub(crate) fn put_blob(&self, content: &[u8]) -> String {
        let name = self.post("/blob/sha256:", "", content);
        name.trim().trim_start_matches("sha256:").to_owned()
    }

    /// Stores a guest in the text format and deploys it; gives its address.
    pub(crate) fn deploy_text(&self, text: &str, manifest: &serde_json::Value) -> String {
        self.deploy_with(text, manifest, &serde_json::json!({}))
    }

    /// The same with settings.
    pub(crate) fn deploy_with(
        &self,
        text: &str,
        manifest: &serde_json::Value,
        settings: &serde_json::Value,
    ) -> String {
        let wasm = wat::parse_str(text).expect("a module");
        let hash = self.put_blob(&wasm);
        let mut manifest = manifest.clone();
        manifest["version"] = 1.into();
        manifest["code_hash"] = format!("sha256:{hash}").into();
        self.deploy_blob(&manifest, settings)
    }

    /// Deploys code that is there.
    pub(crate) fn deploy_blob(
        &self,
        manifest: &serde_json::Value,
        settings: &serde_json::Value,
    ) -> String {
        let arguments = serde_json::json!({
            "manifest": manifest,
            "reuse_instances": true,
            "settings": settings,
        });
        let answer = self.call_with("Operation.AppDeploy", &arguments.to_string());
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        answer["address"].as_str().expect("an address").to_owned()
    }

    /// All apps, as the operator's interface describes them.
    pub(crate) fn apps(&self) -> Vec<serde_json::Value> {
        let list: serde_json::Value =
            serde_json::from_str(&self.call("Operation.AppList")).expect("JSON");
        list["apps"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the only app is in a state.
    pub(crate) fn wait_for_state(&self, state: &str) {
        let begun = std::time::Instant::now();
        while self.apps()[0]["state"] != state {
            assert!(begun.elapsed() < TIME_LIMIT, "{:?}", self.apps());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Deploys the console's sample app and waits until it has said something.
    pub(crate) fn deploy_the_sample(&self, log_to_daemon: bool) {
        self.call("Operation.AppRemoveAll");
        let text = include_str!("../../console/sample.wat");
        let wasm = wat::parse_str(text).expect("the sample");
        let hash = self.put_blob(&wasm);
        let arguments = serde_json::json!({
            "manifest": {"version": 1, "code_hash": format!("sha256:{hash}"), "label": "sample"},
            "reuse_instances": true,
            "settings": {"log_to_daemon": log_to_daemon},
        });
        let answer = self.call_with("Operation.AppDeploy", &arguments.to_string());
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        let address = answer["address"].as_str().expect("an address");
        let started = "ready for requests and queries";
        let begun = std::time::Instant::now();
        // The line is written while the app starts, which deploying waits for.
        while !self.get(&format!("/logs/{address}")).contains(started) {
            assert!(begun.elapsed() < TIME_LIMIT, "the app says nothing");
            std::thread::yield_now();
        }
    }
}
