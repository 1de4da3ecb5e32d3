//! A worker in this process, and the command as a person in front of it uses it.

use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use wapod::{AttestationMode, AttestationSettings, Config, Running, Server};

use super::{TIMEOUT, ended, text, wapo};

/// A worker and a person in front of it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) worker: Running,
}

/// Settings of a worker with the simulator in the place of hardware.
pub(crate) fn simulated() -> Config {
    Config {
        attestation: AttestationSettings {
            mode: AttestationMode::Simulator,
            ..AttestationSettings::default()
        },
        ..Config::default()
    }
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            admin_address: Some(any),
            memory_max_bytes: 64 << 20,
            ..config
        };
        Self {
            folder: tempfile::tempdir().expect("folder"),
            worker: Server::start(config).await.expect("a worker"),
        }
    }

    pub(crate) fn url(&self) -> String {
        let url = self.worker.admin_url().expect("an admin port");
        url.trim_end_matches('/').to_owned()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = wapo(self.folder.path(), arguments);
        command.env("WAPO_WORKER", self.url());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        ended(self.command(arguments)).await
    }

    /// Runs what must succeed; gives standard output.
    pub(crate) async fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let error = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        text(&output.stdout)
    }

    /// Runs what must fail; gives standard error.
    pub(crate) async fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(!error.contains("panicked at crates"), "{error}");
        error
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.good(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).expect("JSON")
    }

    /// State of each app, by host name.
    pub(crate) async fn states(&self) -> Vec<(String, String)> {
        let list = self.json(&["list"]).await;
        let field = |app: &Value, name: &str| app[name].as_str().expect("text").to_owned();
        let apps = list.as_array().expect("a list").iter();
        apps.map(|app| (field(app, "name"), field(app, "state")))
            .collect()
    }

    /// Runs a command with something on its standard input.
    pub(crate) async fn fed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that wants nothing may have closed it.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let output = tokio::time::timeout(TIMEOUT, child.wait_with_output()).await;
        output.expect("in time").expect("it ran")
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("write");
        path.to_str().expect("a text").to_owned()
    }
}
