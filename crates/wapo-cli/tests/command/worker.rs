//! The commands that talk to a worker, as people use them: a real worker in
//! this process, the command in one of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use wapod::{AdminToken, Config, TlsFiles};

use crate::support::place::Place;
use crate::support::{ended, get, guest, output, text};

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
async fn an_app_that_starts_for_ever_keeps_nobody_waiting() {
    let place = Place::new().await;
    let endless = r#"(module (memory (export "memory") 1) (func $start (loop $l (br $l))) (start $start)
        (func (export "wapo_poll") (result i32) (i32.const 0)))"#;
    let wasm = place.write("endless.wasm", &wat::parse_str(endless).expect("wat"));
    let begin = Instant::now();
    let output = place.run(&["deploy", &wasm]).await;
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("Starting endless"), "{told}");
    assert!(
        told.contains("its first poll has not returned yet"),
        "{told}"
    );
    assert_eq!(place.states().await, [state("endless", "starting")]);
    place.good(&["stop", "endless"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_answers_nothing_is_explained() {
    let place = Place::new().await;
    let wasm = place.write("crashes.wasm", &wat::parse_str(CRASHES).expect("wat"));
    place.bad(&["deploy", &wasm]).await;
    let error = place.bad(&["query", "crashes", "/", "--data", ""]).await;
    assert!(error.contains("crashes has crashed "), "{error}");
    assert!(error.contains("(trapped: "), "{error}");
    assert!(error.contains("`wapo logs crashes` says more"), "{error}");
    place.good(&["stop", "crashes"]).await;
    let error = place.bad(&["query", "crashes", "/", "--data", ""]).await;
    assert!(error.contains("`wapo start crashes` starts it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_reached_are_told_with_their_number() {
    let place = Place::new().await;
    // An app that begins with more than this is ended before it runs.
    let error = place
        .bad(&["deploy", &guest("hello-http"), "--gas", "3"])
        .await;
    assert!(error.contains("gas limit of 3 reached"), "{error}");
    place.good(&["deploy", &guest("query")]).await;
    let error = place.bad(&["resize", "query", "2"]).await;
    assert!(
        error.contains("query was deployed without --resizable"),
        "{error}"
    );
    let error = place.bad(&["deploy", "--resizable", "false"]).await;
    assert!(error.contains("as in --resizable=false"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budgets_of_a_worker_are_shown() {
    let place = Place::with(Config {
        memory_budget_bytes: Some(256 << 20),
        ..Config::default()
    })
    .await;
    place.good(&["deploy", &guest("query")]).await;
    let info = place.good(&["info"]).await;
    let row = |words: &[&str]| {
        let mut lines = info.lines();
        let found = lines.find(|line| words.iter().all(|word| line.contains(word)));
        assert!(found.is_some(), "{words:?} in {info}");
    };
    row(&["SHARED BY", "LIMIT", "USED", "OF", "REFUSED"]);
    row(&["apps", "Instances", "1", "1,000"]);
    row(&["apps", "Memory", "256 MiB"]);
    row(&["daemon", "Compile queue", "64"]);
    row(&["user port", "Connections", "4,096"]);
    row(&["admin port", "Followers of logs", "0", "128"]);
    let info = place.json(&["info"]).await;
    assert_eq!(info["budgets"][0]["name"], "instances");
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
    let words = "unknown setting `memroy`; did you mean `memory`?";
    assert!(error.contains(words), "{error}");
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
        vec!["deploy", "--quota", "cpu=half"],
        vec!["init", "--recipient", "nobody"],
    ] {
        let ended = output(folder.path(), &arguments).await;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_trusted_by_the_certificate_that_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let files = TlsFiles {
        certificate: file("cert.pem", &made.cert.pem()),
        key: Some(file("key.pem", &made.signing_key.serialize_pem())),
    };
    let ca = files.certificate.display().to_string();
    let place = Place::with(Config {
        admin_tls: Some(files.clone()),
        user_tls: Some(files),
        ..Config::default()
    })
    .await;
    let error = place.bad(&["list"]).await;
    assert!(error.contains("--ca"), "{error}");
    let wasm = guest("hello-http");
    let urls = place.good(&["deploy", &wasm, "--ca", &ca]).await;
    assert!(urls.starts_with("https://hello-http.localhost:"), "{urls}");
    let info = place.good(&["info", "--ca", &ca]).await;
    assert!(info.contains("https://NAME.localhost:"), "{info}");
    let none = file("none.pem", "").display().to_string();
    let error = place.bad(&["list", "--ca", &none]).await;
    assert!(error.contains("no certificate in it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_are_added_listed_and_removed() {
    let place = Place::new().await;
    let wasm = guest("hello-http");
    place.good(&["deploy", &wasm]).await;
    let none = place.good(&["domain", "list", "hello-http"]).await;
    assert_eq!(none, "");
    let add = ["domain", "add", "hello-http", "shop.example.com"];
    place.good(&add).await;
    let listed = place.good(&["domain", "ls", "hello-http"]).await;
    assert_eq!(listed, "shop.example.com\n");
    let report = place.json(&["domain", "list", "hello-http"]).await;
    assert_eq!(report, serde_json::json!(["shop.example.com"]));
    let urls = place.good(&["deploy", &wasm]).await;
    assert!(urls.contains("http://shop.example.com:"), "{urls}");
    let bad = place
        .bad(&["domain", "add", "hello-http", "no domain"])
        .await;
    assert!(bad.contains("is not a domain"), "{bad}");
    let made = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]);
    let made = made.expect("a certificate");
    let both = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    let file = place.write("both.pem", both.as_bytes());
    let add = |domain| ["domain", "add", "hello-http", domain, "--cert", &file];
    let wrong = place.bad(&add("shop.example.com")).await;
    assert!(wrong.contains("not for shop.example.com"), "{wrong}");
    place.good(&add("other.example")).await;
    place
        .good(&["domain", "rm", "hello-http", "shop.example.com"])
        .await;
    let gone = ["domain", "remove", "hello-http", "shop.example.com"];
    let gone = place.bad(&gone).await;
    assert!(gone.contains("does not have the domain"), "{gone}");
    let listed = place.good(&["domain", "list", "hello-http"]).await;
    assert_eq!(listed, "other.example\n");
}
