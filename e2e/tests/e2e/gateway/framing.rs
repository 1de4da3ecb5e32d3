//! Heads and the ends of bodies, the same in both versions of HTTP.

use e2e::{Daemon, Operator, Probe, guest, within};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::frames::{END_STREAM, Frames, HEADERS};
use super::{Raw, RawAnswer, ReceivedRequest, get_of, head, head_of_bytes, raw};

/// Lets a probe answer a request of HTTP/1.1 with a head, and gives all that came.
async fn answered(method: &str, host: Option<&str>, answer: Vec<u8>) -> (String, Vec<u8>, bool) {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let address = probe.app().handle().address();
    let base32 = format!("{}.localhost", address.to_base32());
    let (host, path) = match host {
        Some("own") => (base32.as_str(), "/".to_owned()),
        _ => ("h", format!("/app/{address}/")),
    };
    let mut client = Raw::connect(probe.app().gateway()).await;
    client
        .send(format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
        .await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    let _ = probe.poll_write(asked.stream, b"body!").await;
    probe.oneshot_send(asked.reply, &answer).await.unwrap();
    probe.close(asked.stream).await.unwrap();
    let head = client.head().await;
    // Whatever belongs to the answer comes before the next one.
    if !head.contains("connection: close") {
        client
            .send("GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            .await;
    }
    let (rest, is_end) = client.rest().await;
    (head, rest, is_end)
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_without_a_body_have_none_in_either_version() {
    for (method, status, length) in [
        ("GET", 204, None),
        ("GET", 205, Some("0")),
        ("GET", 304, None),
        ("HEAD", 200, Some("5")),
        ("HEAD", 404, Some("5")),
    ] {
        let answer = head(status, &[("content-length", "5")]);
        let (head_of_1, rest, _) = answered(method, None, answer.clone()).await;
        assert_eq!(
            super::header(&head_of_1, "content-length"),
            length,
            "{method} {status}"
        );
        assert!(
            rest.starts_with(b"HTTP/1.1 200"),
            "{method} {status}: {rest:?}"
        );

        let probe = Probe::start().await;
        let channel = probe.create_input_channel(4).await.unwrap();
        let http = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let request = Request::builder().method(method).uri(probe.app().url("/"));
        let request = request
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let asking = tokio::spawn(async move {
            let answer = http.request(request).await.unwrap();
            let length = answer.headers().get("content-length").cloned();
            let body = http_body_util::BodyExt::collect(answer.into_body()).await;
            (length, body.unwrap().to_bytes())
        });
        let asked = ReceivedRequest::next(&probe, channel).await;
        let _ = probe.poll_write(asked.stream, b"body!").await;
        probe.oneshot_send(asked.reply, &answer).await.unwrap();
        probe.close(asked.stream).await.unwrap();
        let (found, body) = within("the answer", asking).await.unwrap();
        let found = found.as_ref().map(|value| value.to_str().unwrap());
        assert_eq!(found, length, "{method} {status}");
        assert_eq!(body, "", "{method} {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_ascii_pass_in_both_directions() {
    let answer = head_of_bytes(200, &[("x-name", b"caf\xe9"), ("content-length", b"5")]);
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Raw::connect(probe.app().gateway()).await;
    let path = format!("/app/{}/", probe.app().handle().address());
    client
        .send(format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-name: "))
        .await;
    client.send(b"caf\xe9\r\n\r\n").await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    assert_eq!(asked.header("x-name"), Some("caf\u{e9}"));
    probe.oneshot_send(asked.reply, &answer).await.unwrap();
    probe.write_all(asked.stream, b"body!").await;
    probe.close(asked.stream).await.unwrap();
    let read = within("a head", async {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(
                tokio::io::AsyncReadExt::read_u8(&mut client.stream)
                    .await
                    .unwrap(),
            );
        }
        read
    });
    let read = read.await;
    assert!(
        read.windows(12).any(|part| part == b"x-name: caf\xe9"),
        "{read:?}"
    );
    // A program of the SDK as well.
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    app.get("/bad-head").await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_end_a_connection_of_http_1() {
    let answer = head(200, &[("connection", "close"), ("content-length", "5")]);
    let (head, rest, _) = answered("GET", None, answer).await;
    assert_eq!(super::header(&head, "connection"), Some("close"));
    assert_eq!(rest, b"body!", "and nothing after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_url_without_a_path_is_that_of_the_root() {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    let host = format!("{}.localhost", app.handle().address().to_base32());
    for (url, expected) in [("", "/"), ("?x=1", "/?x=1"), ("/?x=1", "/?x=1")] {
        let request = format!("GET http://{host}{url} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answer = raw(app.gateway(), request).await;
        let first = answer.text().lines().next().unwrap().to_owned();
        assert_eq!(first, format!("GET http://{host}{expected}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_headers_pass_in_either_version() {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    let host = format!("{}.localhost", app.handle().address().to_base32());
    for (count, passes) in [(90, true), (101, false), (1_500, false)] {
        let answer: RawAnswer = get_of(app.gateway(), &host, "/", &"x: y\r\n".repeat(count)).await;
        assert_eq!(answer.status == 200, passes, "{count}: {answer:?}");
        assert!(passes || answer.status == 431, "{}", answer.status);
        let mut client = Frames::connect(app.gateway(), &[]).await;
        let fields = vec![("x", "y"); count];
        let stream = client.request("GET", &host, "/", &fields, true).await;
        let answer = client.answer(stream).await;
        assert_eq!(answer[0].has_status(200), passes, "{count}: {answer:?}");
        assert!(answer[0].kind == HEADERS, "an answer, not a broken stream");
        let last = answer.last().unwrap();
        assert!(last.flags & END_STREAM != 0, "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_sets_nothing_for_its_siblings() {
    let sent = [
        ("content-length", "5"),
        ("service-worker-allowed", "/"),
        ("clear-site-data", "\"*\""),
        ("alt-svc", "h2=\":1\""),
        ("strict-transport-security", "max-age=9"),
        ("set-cookie", "a=b; Domain=localhost; Path=/"),
        ("x-kept", "1"),
    ];
    let (shared, ..) = answered("GET", None, head(200, &sent)).await;
    for (name, _) in &sent[1..6] {
        assert_eq!(super::header(&shared, name), None, "{name}");
    }
    assert_eq!(super::header(&shared, "x-kept"), Some("1"));
    let (own, ..) = answered("GET", Some("own"), head(200, &sent)).await;
    assert_eq!(super::header(&own, "set-cookie"), Some("a=b; path=/"));
    assert_eq!(super::header(&own, "alt-svc"), None);
    assert_eq!(super::header(&own, "clear-site-data"), None);
    assert!(super::header(&own, "strict-transport-security").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_port_speaks_both_versions_alike() {
    let operator = Operator::start().await;
    let admin = operator.daemon().running().admin_address().unwrap();
    let answer = get_of(admin, "localhost", "/health", "").await;
    assert_eq!(answer.status, 200);
    let mut client = Frames::connect(admin, &[]).await;
    let stream = client
        .request("GET", "localhost", "/health", &[], true)
        .await;
    let frames = client.answer(stream).await;
    assert!(frames[0].has_status(200), "{frames:?}");
}
