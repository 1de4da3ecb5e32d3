//! What the tests of the command share: starting it, and guests to feed it with.

pub(crate) mod answers;
pub(crate) mod conformance;
pub(crate) mod expectation;
pub(crate) mod frames;
pub(crate) mod packages;
pub(crate) mod place;
pub(crate) mod running;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

/// Longest wait for anything but a compiler. A file of the suites may make keys for as long
/// as a minute where other tests keep the machine busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait for a compiler that starts from nothing on a busy machine.
pub(crate) const BUILD_TIMEOUT: Duration = Duration::from_secs(220);
/// An address with a port that nobody has.
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";
/// What a process that builds needs of the environment.
const VARIABLES: &[&str] = &[
    "PATH",
    "HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "WAPO_GUEST_TOOLCHAIN",
];

/// The command in a folder, with as little environment as possible.
#[allow(
    clippy::disallowed_methods,
    reason = "where compilers are is a property of the machine"
)]
pub(crate) fn wapo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wapo"));
    command.env_clear();
    for name in VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        // One for all tests, as a person has one: the engine is compiled once.
        .env(
            "XDG_CACHE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        )
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn ended(mut command: Command) -> Output {
    let running = command.output();
    let output = tokio::time::timeout(BUILD_TIMEOUT, running).await;
    output.expect("in time").expect("the command runs")
}

/// Runs the command to its end.
pub(crate) async fn output(folder: &Path, arguments: &[&str]) -> Output {
    ended(wapo(folder, arguments)).await
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a file below a folder.
pub(crate) fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
    std::fs::write(path, content).expect("file");
}

/// A program of the workspace `guests/`.
pub(crate) fn guest(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root
        .join("guests/target/wasm32-wasip1/release")
        .join(name)
        .with_extension("wasm");
    assert!(path.exists(), "build the guests first: cargo xtask guests");
    let path = path.canonicalize().expect("it exists");
    path.to_str().expect("a text").to_owned()
}

/// Fetches a path over HTTP/1.1; an empty text when the server goes away.
pub(crate) async fn get(address: &str, path: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(text(&answer))
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await;
    answer.expect("an answer in time").unwrap_or_default()
}

/// Asks for a path until the answer has `part`.
pub(crate) async fn answer_at(address: &str, path: &str, part: &str) -> String {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer = get(address, path).await;
        if answer.contains(part) {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {part} in {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
