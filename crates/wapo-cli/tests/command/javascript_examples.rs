//! The programs below `guests/wapo-js/examples`: each runs by `wapo run` and does what
//! its first comment says; some are deployed to a worker as well.

use std::path::{Path, PathBuf};

use crate::support::place::Place;
use crate::support::running::Running;
use crate::support::{ANY_PORT, get, output, text};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn example(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("guests/wapo-js/examples").join(name);
    let path = path.canonicalize().expect(name);
    path.to_str().expect("a text").to_owned()
}

/// Runs an example with options; gives its address.
async fn run(name: &str, options: &[&str]) -> (Running, String, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let app = example(name);
    let arguments = [&[app.as_str()], options].concat();
    let (running, address) = Running::serving(folder.path(), ANY_PORT, &arguments).await;
    (running, address, folder)
}

/// Sends a request with a body and gives the whole answer.
async fn send(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(crate::support::TIMEOUT, read)
        .await
        .expect("in time")
        .expect("an answer");
    text(&answer)
}

/// Runs the tests of an example.
async fn tests_pass(name: &str, count: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let output = output(folder.path(), &["test", &example(name)]).await;
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    assert!(shown.contains(count), "{shown}");
}

#[tokio::test]
async fn every_example_says_what_it_shows_and_is_tested() {
    let folder = example("");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("examples")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a text")
        })
        .collect();
    names.sort();
    // Those that need no more than ports are tested with the daemon's network.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = ["tests/command", "../../e2e/tests/e2e/javascript_network"];
    let tests: String = tests
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).expect("tests"))
        .filter_map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).ok())
        .collect();
    for name in &names {
        let package = Path::new(&example(name)).join("package.json");
        let package = std::fs::read_to_string(package).expect(name);
        let package: serde_json::Value = serde_json::from_str(&package).expect(name);
        let main = Path::new(&example(name)).join(package["main"].as_str().expect("main"));
        let text = std::fs::read_to_string(main).expect(name);
        assert!(
            text.starts_with("// ") || text.starts_with("/*"),
            "{name} does not say what it shows"
        );
        let is_tested = ["\"", "examples/"]
            .iter()
            .any(|before| tests.contains(&format!("{before}{name}\"")));
        assert!(is_tested, "{name} has no test");
    }
}

#[tokio::test]
async fn hello() {
    let (_running, address, _folder) = run("hello", &["--env", "GREETING=Moin"]).await;
    assert!(get(&address, "/you").await.contains("Moin from /you"));
    tests_pass("hello", "2 passed").await;
}

#[tokio::test]
async fn streaming() {
    let (running, address, _folder) = run("streaming", &[]).await;
    let answer = get(&address, "/?count=3").await;
    assert!(answer.contains("text/event-stream"), "{answer}");
    for number in 1..=3 {
        assert!(
            answer.contains(&format!(
                "id: {number}\nevent: tick\ndata: {{\"number\":{number},\"of\":3}}"
            )),
            "{answer}"
        );
    }
    assert!(!answer.contains("id: 4"), "{answer}");
    assert!(get(&address, "/page").await.contains("EventSource"));

    // A client that leaves ends the stream.
    let mut stream = TcpStream::connect(&address).await.expect("a connection");
    let request = format!("GET /?count=1000 HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut seen = String::new();
    while !seen.contains("id: 2") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.expect("a part");
        assert!(count > 0, "{seen}");
        seen.push_str(&text(&bytes[..count]));
    }
    drop(stream);
    running.said("the client left after").await;
}

/// A client of WebSocket that speaks short texts.
struct Socket(TcpStream);

impl Socket {
    async fn open(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", text(&head));
        Self(stream)
    }

    async fn say(&mut self, words: &str) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | u8::try_from(words.len()).expect("short")];
        frame.extend(mask);
        frame.extend(
            words
                .bytes()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.0.write_all(&frame).await.expect("sent");
    }

    async fn hear(&mut self) -> String {
        let read = async {
            let (kind, length) = (self.0.read_u8().await?, self.0.read_u8().await?);
            assert_eq!(kind, 0x81, "a text");
            let mut words = vec![0; length.into()];
            self.0.read_exact(&mut words).await?;
            std::io::Result::Ok(text(&words))
        };
        let heard = tokio::time::timeout(crate::support::TIMEOUT, read).await;
        heard.expect("in time").expect("a message")
    }
}

#[tokio::test]
async fn websocket_chat() {
    let (_running, address, _folder) = run("websocket-chat", &[]).await;
    assert!(get(&address, "/").await.contains("new WebSocket"));
    let mut one = Socket::open(&address).await;
    assert_eq!(one.hear().await, "guest 1 has come; 1 are here");
    let mut two = Socket::open(&address).await;
    for socket in [&mut one, &mut two] {
        assert_eq!(socket.hear().await, "guest 2 has come; 2 are here");
    }
    one.say("good morning").await;
    for socket in [&mut one, &mut two] {
        assert_eq!(socket.hear().await, "guest 1: good morning");
    }
    drop(one);
    assert_eq!(two.hear().await, "guest 1 has left");
}

/// A server that counts what it is asked and answers with it.
async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            count += 1;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let line = text(&head).lines().next().unwrap_or_default().to_owned();
            let body = format!("{count}: {line}");
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/x-own\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.expect("sent");
        }
    });
    address
}

#[tokio::test]
async fn fetch_proxy() {
    let upstream = upstream().await;
    let setting = format!("UPSTREAM=http://{upstream}");
    let options = ["--env", &setting, "--allow-egress", &upstream];
    let (_running, address, _folder) = run("fetch-proxy", &options).await;
    let first = get(&address, "/a?b=c").await;
    assert!(
        first.contains("1: GET /a?b=c HTTP/1.1") && first.contains("x-cache: miss"),
        "{first}"
    );
    assert!(first.contains("content-type: text/x-own"), "{first}");
    let second = get(&address, "/a?b=c").await;
    assert!(
        second.contains("1: GET /a?b=c HTTP/1.1") && second.contains("x-cache: hit"),
        "{second}"
    );
    let third = get(&address, "/other").await;
    assert!(third.contains("2: GET /other HTTP/1.1"), "{third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn query_scale() {
    let place = Place::new().await;
    let app = example("query-scale");
    let report = place.json(&["deploy", &app]).await;
    assert_eq!(report["state"], "running", "{report}");
    let ask = async |path: &str, payload: &str| {
        let arguments = ["query", "query-scale", path, "--hex", payload, "--as-hex"];
        place.good(&arguments).await.trim().to_owned()
    };
    assert_eq!(
        ask("/add", "0x02000000ffffffff").await,
        "000100000000000000"
    );
    assert_eq!(ask("/add", "0xffffff7fffffff7f").await, "01");
    assert_eq!(ask("/who", "0x").await, "01");
    let refused = place.bad(&["query", "query-scale", "/none"]).await;
    assert!(refused.contains("internal error"), "{refused}");
}

#[tokio::test]
async fn key_value() {
    let (_running, address, _folder) = run("key-value", &[]).await;
    for (head, body, status) in [
        ("PUT /drink", "tea", "204"),
        ("PUT /%C3%A4", "umlaut", "204"),
        ("PUT /big", &"x".repeat(70_000), "507"),
        ("POST /drink", "", "405"),
        ("GET /nothing", "", "404"),
    ] {
        let answer = send(&address, head, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {answer}"
        );
    }
    assert!(get(&address, "/drink").await.ends_with("tea"));
    assert!(get(&address, "/").await.contains(r#"["drink","ä"]"#));
    let answer = send(&address, "DELETE /drink", "").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(get(&address, "/drink").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deployed_example_stores_is_there_after_a_restart() {
    let place = Place::new().await;
    for name in ["hello", "key-value"] {
        let report = place.json(&["deploy", &example(name)]).await;
        assert_eq!(report["state"], "running", "{report}");
    }
    let path = async |name: &str, path: &str| {
        let apps = place.json(&["list"]).await;
        let apps = apps.as_array().expect("a list").clone();
        let app = apps
            .iter()
            .find(|app| app["name"] == name)
            .expect("the app")
            .clone();
        format!(
            "/app/{}{path}",
            app["address"]
                .as_str()
                .expect("an address")
                .trim_start_matches("0x")
        )
    };
    let gateway = place.worker.user_address().to_string();
    let answer = get(&gateway, &path("hello", "/you").await).await;
    assert!(answer.contains("Hello from /"), "{answer}");

    let entry = path("key-value", "/drink").await;
    let answer = send(&gateway, &format!("PUT {entry}"), "coffee").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    for verb in ["stop", "start"] {
        place.good(&[verb, "key-value"]).await;
    }
    let answer = get(&gateway, &entry).await;
    assert!(answer.ends_with("coffee"), "{answer}");
}

#[tokio::test]
async fn typescript_app() {
    let (_running, address, _folder) = run("typescript-app", &[]).await;
    // As its package.json says.
    assert!(
        get(&address, "/")
            .await
            .contains("<title>Short links</title>")
    );
    let made = send(&address, "POST /links", "https://example.com/a").await;
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let location = made
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    let followed = get(&address, location.expect("a location")).await;
    assert!(
        followed.contains("location: https://example.com/a"),
        "{followed}"
    );
    tests_pass("typescript-app", "5 passed").await;
}
