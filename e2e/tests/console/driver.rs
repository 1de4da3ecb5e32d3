//! A browser under remote control: chromedriver, one session, its commands.
//!
//! Speaks as much of WebDriver (W3C) as the stories need: it is JSON over HTTP,
//! and the client in the registry brings a second version of a dozen crates.
//! Knows nothing of the console; that is `page`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use e2e::{client, within};
use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// What to do without a browser. The tests fail then; they are not left out.
const ADVICE: &str = "the console's tests need chromium and chromedriver: run `cargo xtask setup`, \
     or `apt-get install chromium chromium-driver`";

/// How the browser is started: for a machine without screen, user or network.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--window-size=1280,900",
];

/// How an element is written in JSON; the number is the standard's.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Timeout for the browser's first start on a machine: hundreds of megabytes
/// come from a cold disk.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Timeout for the end of the session, which happens in `drop`.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A running browser. Dropping it ends it.
pub(crate) struct Driver {
    address: SocketAddr,
    session: String,
    _process: Child,
    /// Open as long as the process: it may have more to say.
    _output: Lines<BufReader<ChildStdout>>,
    _profile: TempDir,
}

/// What a command answered, or why it failed: the standard's word for it and a
/// sentence.
pub(crate) type Outcome = Result<Value, (String, String)>;

impl Driver {
    /// Starts a browser with a profile of its own.
    pub(crate) async fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{ADVICE} ({error})"));
        let stdout = process.stdout.take().expect("it is piped");
        let mut output = BufReader::new(stdout).lines();
        let port = within("chromedriver's port", port(&mut output)).await;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let profile = TempDir::new().expect("a folder for the profile");
        let mut arguments: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let answer = call(address, Method::POST, "/session", &wanted);
        let answer = timeout(START_LIMIT, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("no browser within {START_LIMIT:?}"));
        let answer = answer.unwrap_or_else(|(_, text)| panic!("{ADVICE}\n{text}"));
        let session = answer["sessionId"].as_str().expect("a session").to_owned();
        Self {
            address,
            session,
            _process: process,
            _output: output,
            _profile: profile,
        }
    }

    /// Sends a command of the session.
    pub(crate) async fn try_post(&self, command: &str, arguments: Value) -> Outcome {
        let path = format!("/session/{}/{command}", self.session);
        let called = call(self.address, Method::POST, &path, &arguments);
        within(command, called).await
    }

    /// Sends a command that must succeed.
    pub(crate) async fn post(&self, command: &str, arguments: Value) -> Value {
        let outcome = self.try_post(command, arguments).await;
        outcome.unwrap_or_else(|(error, text)| panic!("{command}: {error}: {text}"))
    }

    /// Asks for something of the session.
    pub(crate) async fn get(&self, command: &str) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        let called = call(self.address, Method::GET, &path, &Value::Null);
        let outcome = within(command, called).await;
        outcome.unwrap_or_else(|(error, text)| panic!("{command}: {error}: {text}"))
    }

    /// The path of the command for an element, if there is one now.
    pub(crate) async fn element(&self, css: &str) -> Option<String> {
        let arguments = json!({"using": "css selector", "value": css});
        let found = self.try_post("element", arguments).await.ok()?;
        Some(format!("element/{}", found[ELEMENT].as_str()?))
    }

    /// A command of the browser's own protocol, for what the standard lacks.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let arguments = json!({"cmd": command, "params": parameters});
        self.post("goog/cdp/execute", arguments).await
    }
}

impl Drop for Driver {
    /// Ends the session, and with it the browser's processes, also after a panic.
    fn drop(&mut self) {
        let end = || {
            let mut stream = TcpStream::connect_timeout(&self.address, END_LIMIT)?;
            stream.set_read_timeout(Some(END_LIMIT))?;
            let (session, address) = (&self.session, self.address);
            write!(
                stream,
                "DELETE /session/{session} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
            )?;
            // It answers when the browser has ended.
            stream.read(&mut [0; 512])
        };
        if let Err(error) = end() {
            eprintln!("the browser could not be ended: {error}");
        }
    }
}

/// `ChromeDriver was started successfully on port 40123.`
async fn port(output: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> u16 {
    let mut seen = String::new();
    while let Some(line) = output.next_line().await.expect("its output") {
        let number = line
            .rsplit_once("successfully on port ")
            .map(|(_, port)| port);
        if let Some(Ok(port)) = number.map(|text| text.trim_end_matches('.').parse()) {
            return port;
        }
        seen += &format!("{line}\n");
    }
    panic!("{ADVICE}\n{seen}");
}

async fn call(address: SocketAddr, method: Method, path: &str, arguments: &Value) -> Outcome {
    let body = match arguments {
        Value::Null => Vec::new(),
        _ => arguments.to_string().into_bytes(),
    };
    let url = format!("http://{address}{path}");
    let answer = client::exchange(method, &url, body).await;
    let answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    let mut said: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| panic!("chromedriver answered: {}", answer.text()));
    let value = said["value"].take();
    if answer.status == 200 {
        return Ok(value);
    }
    let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Err((word("error"), word("message")))
}
