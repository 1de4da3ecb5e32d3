//! A `wapo run` under way.

use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{BUILD_TIMEOUT, TIMEOUT, wapo};

/// A `wapo run` under way.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = wapo(folder, arguments).spawn().expect("the command runs");
        let out = child.stdout.take().expect("piped");
        Self {
            lines: BufReader::new(out).lines(),
            child,
        }
    }

    /// Starts a program of the JavaScript engine on an address, with more arguments of
    /// `wapo run`; gives where it answers.
    pub(crate) async fn serving(
        folder: &Path,
        address: &str,
        arguments: &[&str],
    ) -> (Self, String) {
        assert!(
            wapod::javascript::engine_hash().is_some(),
            "build the engine first: cargo xtask guests"
        );
        let arguments = [&["run", "--address", address], arguments].concat();
        let mut running = Self::start(folder, &arguments);
        let address = address_of(&running.line("http://").await);
        (running, address)
    }

    /// The first line of standard output that holds `part`.
    pub(crate) async fn line(&mut self, part: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                if line.contains(part) {
                    return Some(line);
                }
            }
            None
        };
        match tokio::time::timeout(BUILD_TIMEOUT, found).await {
            Ok(Some(line)) => line,
            Ok(None) => {
                let mut error = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    stderr.read_to_string(&mut error).await.expect("text");
                }
                panic!("it ended without a line with {part}: {error}")
            }
            Err(_) => panic!("no line with {part} in {BUILD_TIMEOUT:?}"),
        }
    }

    /// Reads standard error until it says something; the rest of it is not kept.
    pub(crate) async fn said(mut self, part: &str) {
        let stderr = self.child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines();
        let found = async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.contains(part) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(TIMEOUT, found).await;
        assert_eq!(found, Ok(true), "{part} was not said");
    }

    /// Presses Ctrl-C.
    pub(crate) async fn interrupt(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let killed = Command::new("kill").args(["-INT", &id]).status().await;
        assert!(killed.expect("kill runs").success());
    }

    /// Exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(TIMEOUT, self.child.wait()).await;
        ended.expect("it ends in time").expect("it ran").code()
    }
}

/// The address in a line with a URL.
pub(crate) fn address_of(line: &str) -> String {
    let (_, rest) = line.split_once("://").expect("a URL");
    let end = rest.find(['/', ' ']).unwrap_or(rest.len());
    rest[..end].to_owned()
}
