//! `wapo logs`, as people use it: also while the worker or the app comes and goes.

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};
use wapod::{Config, Server};

use crate::support::place::Place;
use crate::support::{TIMEOUT, guest};

/// A command that follows the log of the app `query`.
struct Following {
    process: Child,
    /// What the app says.
    log: Lines<BufReader<ChildStdout>>,
    /// What the command says.
    words: Lines<BufReader<ChildStderr>>,
}

impl Following {
    fn start(place: &Place) -> Self {
        let mut command = place.command(&["logs", "query", "-f", "--tail", "1"]);
        let mut process = command.spawn().expect("it runs");
        let (log, words) = (process.stdout.take(), process.stderr.take());
        Self {
            process,
            log: BufReader::new(log.expect("piped")).lines(),
            words: BufReader::new(words.expect("piped")).lines(),
        }
    }
}

/// Has the app log how many bytes it was asked with.
async fn echo(place: &Place, data: &str) {
    let query = ["query", "query", "/echo", "--data", data];
    place.good(&query).await;
}

/// Waits for a line with these words.
async fn until_line<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>, words: &str) {
    let found = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.contains(words) {
                return;
            }
        }
        panic!("no line with {words:?}");
    };
    let in_time = tokio::time::timeout(TIMEOUT, found).await;
    assert!(in_time.is_ok(), "waited for {words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_shown_and_followed() {
    let place = Place::new().await;
    place.good(&["deploy", &guest("query")]).await;
    place
        .good(&["query", "query", "/echo", "--data", "abc"])
        .await;
    let log = place.good(&["logs", "query", "--tail", "1"]).await;
    assert!(log.ends_with("INFO query: /echo with 3 bytes\n"), "{log}");
    assert_eq!(log.lines().count(), 1);

    let mut command = place.command(&["logs", "query", "-f", "--tail", "1", "--json"]);
    let mut following = command.spawn().expect("it runs");
    let out = following.stdout.take().expect("piped");
    let mut lines = BufReader::new(out).lines();
    let next = async |lines: &mut Lines<_>| -> Value {
        let line = tokio::time::timeout(TIMEOUT, lines.next_line()).await;
        let line = line.expect("in time").expect("text").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    let first = next(&mut lines).await;
    assert_eq!(first["source"], "guest");
    place
        .good(&["query", "query", "/echo", "--data", "abcd"])
        .await;
    let second = next(&mut lines).await;
    let said = second["text"].as_str().expect("text");
    assert!(said.ends_with("/echo with 4 bytes"), "{said}");
    following.kill().await.expect("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_across_a_restart_of_the_worker() {
    let folder = TempDir::new().expect("folder");
    let config = Config {
        data_dir: Some(folder.path().join("data")),
        ..Config::default()
    };
    let place = Place::with(config.clone()).await;
    place.good(&["deploy", &guest("query")]).await;
    echo(&place, "a").await;
    let mut following = Following::start(&place);
    until_line(&mut following.log, "/echo with 1 bytes").await;

    let admin = place.worker.admin_address();
    let Place {
        folder: home,
        worker,
    } = place;
    worker.shutdown().await;
    until_line(&mut following.words, "connecting again").await;
    let worker = Server::start(Config {
        admin_address: admin,
        memory_max_bytes: 64 << 20,
        ..config
    });
    let place = Place {
        folder: home,
        worker: worker.await.expect("a worker"),
    };
    until_line(&mut following.words, "the log goes on").await;
    echo(&place, "abcd").await;
    until_line(&mut following.log, "/echo with 4 bytes").await;
    following.process.kill().await.expect("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_with_the_app_that_takes_the_place_and_ends_with_the_last() {
    let place = Place::new().await;
    let wasm = guest("query");
    place.good(&["deploy", &wasm]).await;
    echo(&place, "a").await;
    let mut following = Following::start(&place);
    until_line(&mut following.log, "/echo with 1 bytes").await;
    place.good(&["deploy", &wasm, "--env", "A=2"]).await;
    until_line(&mut following.words, "the log goes on").await;
    echo(&place, "abcd").await;
    until_line(&mut following.log, "/echo with 4 bytes").await;
    place.good(&["rm", "query"]).await;
    until_line(&mut following.words, "not there any more").await;
    let ended = tokio::time::timeout(TIMEOUT, following.process.wait()).await;
    assert!(ended.expect("in time").expect("it ended").success());
}
