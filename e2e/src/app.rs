//! An app as its users see it, and what its operator sees of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wapo_rpc::{Encoding, ErrorMessage, QueryArgs, QueryResponse};
use wapod::{AppHandle, ExitReason, LogEvent, LogLine, Phase, Running, Status, Usage};

use crate::client::{self, Answer};
use crate::{Daemon, TIMEOUT, guest, ports, within};

/// An example that listens where its first argument says, and its port.
pub async fn listening(name: &str) -> (App, u16) {
    let port = ports::free();
    let mut config = guest(name);
    config.listen_ports = ports::only(port);
    config.args = vec![format!("127.0.0.1:{port}")];
    let app = Daemon::start().await.deploy(config).await;
    app.listening().await;
    (app, port)
}

/// A deployed app.
#[derive(Clone)]
pub struct App {
    running: Arc<Running>,
    handle: AppHandle,
}

impl App {
    pub(crate) fn new(running: Arc<Running>, handle: AppHandle) -> Self {
        Self { running, handle }
    }

    /// The daemon's own handle.
    pub fn handle(&self) -> &AppHandle {
        &self.handle
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.running.user_address()
    }

    /// URL of a path of the app on the gateway.
    pub fn url(&self, path: &str) -> String {
        let base = self.running.app_url(self.handle.address());
        format!("{base}{}", path.trim_start_matches('/'))
    }

    /// Fetches a path through the gateway.
    pub async fn get(&self, path: &str) -> Answer {
        client::get(&self.url(path)).await
    }

    /// Posts to a path through the gateway.
    pub async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        client::post(&self.url(path), body).await
    }

    /// Asks the app through the daemon's RPC.
    ///
    /// # Errors
    ///
    /// The daemon's message.
    pub async fn query(&self, path: &str, payload: impl Into<Vec<u8>>) -> Result<Vec<u8>, String> {
        let args = QueryArgs {
            address: self.handle.address().0.to_vec(),
            path: path.to_owned(),
            payload: payload.into(),
            ..QueryArgs::default()
        };
        let url = format!("http://{}/prpc/User.Query", self.gateway());
        let answer = client::post(&url, Encoding::Protobuf.encode(&args)).await;
        if answer.status == 200 {
            let decoded: QueryResponse = Encoding::Protobuf
                .decode(&answer.body)
                .expect("an encoded answer");
            return Ok(decoded.output);
        }
        let error = Encoding::Protobuf.decode::<ErrorMessage>(&answer.body);
        Err(error.map_or_else(|_| answer.text(), |error| error.message))
    }

    /// Asks the app and reads the answer as text.
    ///
    /// # Panics
    ///
    /// When it answers with an error.
    pub async fn ask(&self, path: &str) -> String {
        match self.query(path, []).await {
            Ok(answer) => String::from_utf8(answer).expect("a text"),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Asks the app and reads the answer as a number.
    ///
    /// # Panics
    ///
    /// When the answer is none.
    pub async fn ask_number(&self, path: &str) -> u64 {
        self.ask(path).await.parse().expect("a number")
    }

    /// Waits for a state.
    pub async fn until(&self, what: &str, condition: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.handle.status();
        let seen = within(what, status.wait_for(condition)).await;
        seen.expect("the instance's task lives").clone()
    }

    /// Waits until so many requests are in the app's hands or wait for it.
    ///
    /// # Panics
    ///
    /// When there are not so many in time, with how many there are.
    pub async fn until_requests(&self, count: usize) {
        let deadline = Instant::now() + TIMEOUT;
        while self.handle.requests() != count {
            let requests = self.handle.requests();
            assert!(Instant::now() < deadline, "{requests} and not {count}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the guest runs.
    pub async fn is_running(&self) -> &Self {
        self.until("the guest to run", |status| status.phase == Phase::Running)
            .await;
        self
    }

    /// Waits until the guest listens, and gives the first address.
    pub async fn listening(&self) -> SocketAddr {
        let status = self.until("a listener", |status| !status.listening.is_empty());
        let listening = status.await.listening;
        listening.first().expect("just seen").address
    }

    /// The state now.
    pub fn status(&self) -> Status {
        self.handle.status().borrow().clone()
    }

    /// Waits for the end.
    pub async fn exited(&self) -> ExitReason {
        within("the end of the app", self.handle.exited()).await
    }

    /// Stops the app and waits for its end.
    pub async fn stop(&self) -> ExitReason {
        let stopping = self.running.stop_app(self.handle.address());
        let stopped = within("the app to stop", stopping).await;
        stopped.expect("the app is there");
        self.exited().await
    }

    /// What the app has used.
    pub fn usage(&self) -> Usage {
        self.handle.usage()
    }

    /// Waits for a line of the log that contains `text`.
    ///
    /// # Panics
    ///
    /// When none comes in time, with those that came.
    pub async fn expect_log(&self, text: &str) -> LogLine {
        let mut logs = self.handle.logs();
        let found = async {
            loop {
                if let LogEvent::Line(line) = logs.next().await
                    && line.text.contains(text)
                {
                    return line;
                }
            }
        };
        match tokio::time::timeout(TIMEOUT, found).await {
            Ok(line) => line,
            Err(_) => panic!("no log line with {text:?} in {:#?}", self.log_lines()),
        }
    }

    /// The lines of the log that are there.
    pub fn log_lines(&self) -> Vec<LogLine> {
        let mut logs = self.handle.logs();
        let mut lines = Vec::new();
        while let Some(event) = logs.try_next() {
            if let LogEvent::Line(line) = event {
                lines.push(line);
            }
        }
        lines
    }
}
