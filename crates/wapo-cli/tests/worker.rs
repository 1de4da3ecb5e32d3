//! The commands that talk to a worker, as people use them: a real worker in
//! this process, the command in one of its own.

mod support;

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use wapod::{AdminToken, Config, Running, Server};

use support::{PATIENCE, ended, get, guest, output, text, wapo};

/// A program that says a word and traps.
const CRASHES: &str = r#"(module
  (import "wapo" "ocall_fast_return"
    (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16) "here it ends")
  (func (export "wapo_poll") (result i32)
    ;; 220 log, level 3 is "info".
    (drop (call $fast (i32.const 0) (i32.const 220) (i32.const 3)
      (i32.const 16) (i32.const 12) (i32.const 0)))
    unreachable))"#;

/// A worker and a person in front of it.
struct Place {
    folder: TempDir,
    worker: Running,
}

impl Place {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
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

    fn url(&self) -> String {
        let address = self.worker.admin_address().expect("an admin port");
        format!("http://{address}")
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = wapo(self.folder.path(), arguments);
        command.env("WAPO_WORKER", self.url());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        ended(self.command(arguments)).await
    }

    /// Runs what must succeed; gives standard output.
    async fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let error = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        text(&output.stdout)
    }

    /// Runs what must fail; gives standard error.
    async fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(!error.contains("panicked at crates"), "{error}");
        error
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.good(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).expect("JSON")
    }

    /// State of each app, by host name.
    async fn states(&self) -> Vec<(String, String)> {
        let list = self.json(&["list"]).await;
        let field = |app: &Value, name: &str| app[name].as_str().expect("text").to_owned();
        let apps = list.as_array().expect("a list").iter();
        apps.map(|app| (field(app, "name"), field(app, "state")))
            .collect()
    }

    /// Runs a command with something on its standard input.
    async fn fed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that wants nothing may have closed it.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        output.expect("in time").expect("it ran")
    }

    fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("write");
        path.to_str().expect("a text").to_owned()
    }
}

fn state(name: &str, state: &str) -> (String, String) {
    (name.to_owned(), state.to_owned())
}

/// The path of the URL that goes without a host name.
fn path_of(urls: &str) -> String {
    let line = urls.lines().find(|line| line.contains("/app/"));
    let line = line.expect("a URL with a path");
    line[line.find("/app/").expect("found")..].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_app_answers_where_the_command_says() {
    let place = Place::new().await;
    let wasm = guest("hello-http");
    let urls = place.good(&["deploy", &wasm]).await;
    let gateway = place.worker.user_address();
    assert!(urls.contains(&format!(
        "http://hello-http.localhost:{}/\n",
        gateway.port()
    )));
    let path = path_of(&urls);
    let answer = get(&gateway.to_string(), &format!("{path}you")).await;
    assert!(answer.contains("Hello, you!"), "{answer}");

    let again = place.run(&["deploy", &wasm]).await;
    assert!(again.status.success());
    assert!(text(&again.stderr).contains("Unchanged"));
    assert_eq!(text(&again.stdout), urls);

    let report = place.json(&["deploy", &wasm]).await;
    assert_eq!(report["changed"], false);
    assert_eq!(report["state"], "running");
    assert_eq!(report["urls"][1].as_str().map(path_of), Some(path));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_app_takes_the_place_of_the_old_one() {
    let place = Place::new().await;
    let wasm = guest("hello-http");
    let first = place
        .json(&["deploy", &wasm, "--env", "A=1", "--name", "mine"])
        .await;
    let second = place.json(&["deploy", &wasm, "--env", "A=2"]).await;
    assert_eq!(second["replaced"], first["address"]);
    assert_eq!(place.states().await, [state("mine", "running")]);

    let kept = place
        .json(&["deploy", &wasm, "--env", "A=3", "--keep", "--name", "other"])
        .await;
    assert_eq!(kept["replaced"], Value::Null);
    assert_eq!(place.states().await.len(), 2);
    let ambiguous = place.bad(&["stop", "hello-http"]).await;
    assert!(ambiguous.contains("may be any of these"), "{ambiguous}");
    let address = kept["address"].as_str().expect("an address");
    place.good(&["rm", &address[..14]]).await;
    assert_eq!(place.states().await, [state("mine", "running")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_of_the_same_app_are_not_passed_over() {
    let place = Place::new().await;
    let wasm = guest("hello-http");
    place.good(&["deploy", &wasm, "--memory", "32M"]).await;
    place.good(&["deploy", &wasm, "--memory", "32M"]).await;
    let error = place.bad(&["deploy", &wasm, "--gas", "1000000"]).await;
    assert!(
        error.contains("(--memory, --gas)") && error.contains("wapo rm hello-http"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_stopped_started_resized_and_removed() {
    let place = Place::new().await;
    let wasm = guest("hello-http");
    place.good(&["deploy", &wasm, "--instances", "2"]).await;
    let list = place.json(&["list"]).await;
    assert_eq!(list[0]["instances"], 2);
    place.good(&["resize", "hello-http", "3"]).await;
    assert_eq!(place.json(&["list"]).await[0]["instances"], 3);

    place.good(&["stop", "hello-http"]).await;
    assert_eq!(place.states().await, [state("hello-http", "stopped")]);
    let again = place.run(&["deploy", &wasm, "--instances", "2"]).await;
    assert!(text(&again.stderr).contains("wapo start hello-http"));
    let started = place.json(&["start", "hello-http"]).await;
    assert_eq!(started["action"], "started");
    assert_eq!(place.states().await, [state("hello-http", "running")]);

    place.good(&["rm", "hello-http"]).await;
    let gone = place.bad(&["rm", "hello-http"]).await;
    assert!(gone.contains("nothing is deployed"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_on_demand_is_idle_until_it_is_asked() {
    let place = Place::new().await;
    let urls = place
        .good(&["deploy", &guest("hello-http"), "--on-demand"])
        .await;
    assert_eq!(place.states().await, [state("hello-http", "idle")]);
    let gateway = place.worker.user_address().to_string();
    let answer = get(&gateway, &path_of(&urls)).await;
    assert!(answer.contains("Hello, World!"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_crashes_is_a_failure_with_its_last_words() {
    let place = Place::new().await;
    let wasm = place.write("crashes.wasm", &wat::parse_str(CRASHES).expect("wat"));
    let error = place.bad(&["deploy", &wasm]).await;
    assert!(error.contains("here it ends"), "{error}");
    let last = error.lines().find(|line| line.starts_with("error: "));
    let last = last.expect("an error");
    assert!(
        last.contains("crashes") && last.contains("unreachable"),
        "{last}"
    );

    let wrong = place.write("no-poll.wasm", &wat::parse_str("(module)").expect("wat"));
    let error = place.bad(&["deploy", &wrong]).await;
    assert!(error.contains("no-poll was not deployed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_that_crashes_is_a_failure_and_the_old_one_stays() {
    let place = Place::new().await;
    let good = std::fs::read(guest("hello-http")).expect("built");
    let wasm = place.write("shop.wasm", &good);
    let urls = place.good(&["deploy", &wasm]).await;
    let path = path_of(&urls);
    place.write("shop.wasm", &wat::parse_str(CRASHES).expect("wat"));
    let error = place.bad(&["deploy", &wasm]).await;
    assert!(error.contains("the old app was left as it was"), "{error}");
    assert!(error.contains("unreachable"), "{error}");
    assert_eq!(place.states().await, [state("shop", "running")]);
    let gateway = place.worker.user_address().to_string();
    let answer = get(&gateway, &path).await;
    assert!(answer.contains("Hello, World!"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_takes_its_payload_from_anywhere() {
    let place = Place::new().await;
    place
        .good(&["deploy", &guest("query"), "--name", "ask"])
        .await;
    let file = place.write("payload", b"from a file");
    for (arguments, answer) in [
        (vec!["--data", "-text"], "-text"),
        (vec!["--hex", "0x6869"], "hi"),
        (vec!["--hex", "6869", "--as-hex"], "6869\n"),
        (vec!["--file", &file], "from a file"),
    ] {
        let arguments = [&["query", "ask", "/echo"], arguments.as_slice()].concat();
        assert_eq!(place.good(&arguments).await, answer, "{arguments:?}");
    }
    let fed = place.fed(&["query", "ask", "/echo"], b"\x00\xff").await;
    assert_eq!(fed.stdout, b"\x00\xff");
    let fed = place
        .fed(&["query", "ask", "/echo", "--file", "-"], b"x")
        .await;
    assert_eq!(fed.stdout, b"x");
    let json = place.json(&["query", "ask", "/echo", "--data", "a"]).await;
    assert_eq!(json["output"], "0x61");
    let error = place.bad(&["query", "ask", "/nowhere"]).await;
    assert_eq!(error, "error: no such path: /nowhere\n");
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
    let next = async |lines: &mut tokio::io::Lines<_>| -> Value {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
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
async fn usage_is_shown_and_signed_usage_is_checked() {
    let place = Place::new().await;
    place.good(&["deploy", &guest("query")]).await;
    place.good(&["query", "query", "/", "--data", ""]).await;
    let all = place.good(&["usage"]).await;
    assert!(all.starts_with("APP ") && all.contains("\nquery "), "{all}");
    let one = place.json(&["usage", "query"]).await;
    assert_eq!(one[0]["usage"]["requests"], 1);
    let signed = place.good(&["usage", "--statement"]).await;
    assert!(signed.contains("  valid\n"), "{signed}");
    let signed = place.json(&["usage", "query", "--statement"]).await;
    assert_eq!(signed[0]["sn"], 2);
    assert_eq!(signed[0]["apps"][0]["starts"], 1);
    let info = place.json(&["info"]).await;
    assert_eq!(signed[0]["pubkey"], info["pubkey"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_while_nothing_is_deployed() {
    let place = Place::new().await;
    let account = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    let id = place.good(&["init", "--recipient", account]).await;
    let info = place.json(&["info"]).await;
    assert_eq!(info["session"], format!("0x{}", id.trim()));
    assert!(place.good(&["info"]).await.contains(id.trim()));
    place.good(&["deploy", &guest("query")]).await;
    let error = place.bad(&["init"]).await;
    assert!(error.contains("apps already deployed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_checked() {
    let place = Place::with(Config {
        admin_token: Some(AdminToken("sesame".to_owned())),
        ..Config::default()
    })
    .await;
    let missing = place.bad(&["list"]).await;
    assert!(
        missing.contains("asks for a token") && missing.contains("WAPO_TOKEN"),
        "{missing}"
    );
    let wrong = place.bad(&["list", "--token", "simsala"]).await;
    assert!(wrong.contains("refused the token"), "{wrong}");
    place.good(&["list", "--token", "sesame"]).await;
    let file = place.write("token", b"sesame\n");
    place.good(&["list", "--token-file", &file]).await;
    let mut command = place.command(&["list"]);
    command.env("WAPO_TOKEN", "sesame");
    assert!(ended(command).await.status.success());

    let config = place.folder.path().join("config/wapo");
    std::fs::create_dir_all(&config).expect("folder");
    let profile = format!(
        "[worker.home]\nurl = \"{}\"\ntoken_file = \"{file}\"\n",
        place.url()
    );
    std::fs::write(config.join("config.toml"), profile).expect("file");
    place.good(&["list", "--profile", "home"]).await;
    let unknown = place.bad(&["list", "--profile", "work"]).await;
    assert!(unknown.contains("[worker.work]"), "{unknown}");
}

#[tokio::test]
async fn a_worker_that_is_not_there_is_explained() {
    let folder = tempfile::tempdir().expect("folder");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    for command in [vec!["list"], vec!["info"], vec!["deploy", "x.wasm"]] {
        let arguments = [command, vec!["--worker", &url]].concat();
        let ended = output(folder.path(), &arguments).await;
        let error = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{error}");
        assert!(
            error.contains(&url) && error.contains("wapod -m 1g"),
            "{error}"
        );
    }
    let no_url = output(folder.path(), &["list", "--worker", "here"]).await;
    assert!(text(&no_url.stderr).contains("no URL of a worker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_built_configured_and_given_a_secret() {
    const MAIN: &str = r#"
        #[wapo::main]
        async fn main() {
            wapo::http::serve(|_| async {
                let variable = |name| std::env::var(name).unwrap_or_default();
                format!("<{}|{}>", variable("GREETING"), variable("SECRET"))
            })
            .await
        }
    "#;
    let place = Place::new().await;
    place.good(&["new", "greeter"]).await;
    let project: PathBuf = place.folder.path().join("greeter");
    std::fs::write(project.join("src/main.rs"), MAIN).expect("file");
    let configure = |settings: &str, manifest: &str| {
        let text = format!("{manifest}\n[package.metadata.wapo]\n{settings}\n");
        std::fs::write(project.join("Cargo.toml"), text).expect("file");
    };
    let manifest = std::fs::read_to_string(project.join("Cargo.toml")).expect("file");

    configure("memroy = \"1M\"", &manifest);
    let error = place.bad(&["deploy", "greeter"]).await;
    assert!(error.contains("unknown field `memroy`"), "{error}");
    configure("env = { GREETING = \"hi\" }\nname = \"hall\"", &manifest);
    let report = place.json(&["deploy", "greeter"]).await;
    assert_eq!(report["name"], "hall");
    assert_eq!(report["label"], "greeter");
    let again = place.json(&["deploy", "greeter"]).await;
    assert_eq!(again["changed"], false);

    let gateway = place.worker.user_address().to_string();
    let path = path_of(report["urls"][1].as_str().expect("a URL"));
    assert!(get(&gateway, &path).await.ends_with("<hi|>"));
    let set = place
        .fed(&["secret", "set", "hall", "SECRET"], b"hush\n")
        .await;
    assert!(set.status.success(), "{}", text(&set.stderr));
    assert!(!text(&set.stderr).contains("hush"));
    place.good(&["stop", "hall"]).await;
    place.good(&["start", "hall"]).await;
    assert!(answer_of(&gateway, &path).await.ends_with("<hi|hush>"));
    place.good(&["secret", "rm", "hall", "SECRET"]).await;
    let none = place.bad(&["secret", "rm", "hall", "SECRET"]).await;
    assert!(none.contains("has no secret SECRET"), "{none}");
    let empty = place.bad(&["secret", "set", "hall", "SECRET"]).await;
    assert!(empty.contains("there is no value"), "{empty}");
}

/// The last line of an answer.
async fn answer_of(gateway: &str, path: &str) -> String {
    let answer = get(gateway, path).await;
    answer.lines().last().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_is_refused_before_anything_is_asked() {
    let folder = tempfile::tempdir().expect("folder");
    for arguments in [
        vec!["deploy", "--instances", "0"],
        vec!["query", "app"],
        vec!["secret", "set", "app", "NAME", "value"],
        vec!["logs", "app", "--tail", "-1"],
        vec!["init", "--recipient", "nobody"],
    ] {
        let ended = output(folder.path(), &arguments).await;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
    }
}
