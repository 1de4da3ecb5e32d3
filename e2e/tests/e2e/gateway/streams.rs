//! Bodies, lengths, trailers and ends, on both versions of HTTP.

use std::time::Duration;

use bytes::Bytes;
use e2e::{App, Errno, Probe, client, within};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Raw, RawAnswer, ReceivedRequest, all_over, head, header, path, raw, suite};

/// More than all buffers between a guest and a client can hold.
const BEYOND_BUFFERS: usize = 64 << 20;

async fn ask(app: &App, method: &str, to: &str, rest: &str) -> RawAnswer {
    let path = path(app, to);
    let request = format!("{method} {path} HTTP/1.1\r\nhost: h\r\n{rest}");
    raw(app.gateway(), request).await
}

/// A probe that has a request, and the client who waits for the answer.
async fn asked(method: &str, version: &str, headers: &str) -> (Probe, ReceivedRequest, Raw) {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Raw::connect(probe.app().gateway()).await;
    let path = path(probe.app(), "/");
    client
        .send(format!(
            "{method} {path} HTTP/{version}\r\nhost: h\r\n{headers}\r\n"
        ))
        .await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    (probe, asked, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_longer_than_all_buffers_flows() {
    let app = suite().await;
    let mut client = Raw::connect(app.gateway()).await;
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
        path(&app, "/echo")
    );
    client.send(request).await;
    let piece = vec![b'x'; 64 * 1024];
    let mut back = None;
    for _ in 0..64 {
        client.send(format!("{:x}\r\n", piece.len())).await;
        client.send(&piece).await;
        client.send("\r\n").await;
        if back.is_none() {
            // The answer begins long before the request ends.
            let head = client.head().await;
            assert!(head.starts_with("http/1.1 200"), "{head}");
            back = Some(0);
        }
        let mut got = 0;
        while got < piece.len() {
            let line = client.line().await;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            got += client.exactly(length).await.len();
            client.line().await;
        }
        assert_eq!(got, piece.len());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunks().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_slows_the_guest() {
    let (probe, asked, mut client) = asked("GET", "1.1", "").await;
    probe
        .oneshot_send(asked.reply, &head(200, &[]))
        .await
        .unwrap();
    let piece = vec![b'y'; 128 * 1024];
    let mut written = 0;
    // Until nothing more is taken for a while.
    let mut refusals = 0;
    while refusals < 20 {
        match write_once(&probe, asked.stream, &piece).await {
            Ok(taken) => {
                written += taken as usize;
                refusals = 0;
            }
            Err(error) => {
                assert_eq!(error, Errno::Pending);
                refusals += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(written < BEYOND_BUFFERS, "nothing holds the guest back");
    }
    client.head().await;
    client.exactly(written / 2).await;
    within("room", async {
        while write_once(&probe, asked.stream, &piece).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// As a guest that does not wait for room.
async fn write_once(probe: &Probe, stream: u32, data: &[u8]) -> Result<u32, Errno> {
    let waker = probe.new_waker();
    probe.fast_with(104, &[waker, stream], data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_reads_slowly_slows_the_client() {
    let (_probe, _asked, mut client) = asked("POST", "1.1", "content-length: 99999999\r\n").await;
    let piece = vec![0; 64 * 1024];
    let mut sent = 0;
    let sending = async {
        loop {
            client.stream.write_all(&piece).await.unwrap();
            sent += piece.len();
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(1), sending).await;
    assert!(ended.is_err() && sent < BEYOND_BUFFERS, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_announced_length_is_kept_or_the_answer_breaks() {
    for (body, says) in [("abc", "less"), ("abcdefg", "more")] {
        let (probe, asked, mut client) = asked("GET", "1.1", "").await;
        probe.write_all(asked.stream, body.as_bytes()).await;
        let answer = head(200, &[("content-length", "5")]);
        probe.oneshot_send(asked.reply, &answer).await.unwrap();
        probe.close(asked.stream).await.unwrap();
        // Whatever there is of an answer, it is not complete.
        let (rest, _) = client.rest().await;
        let rest = String::from_utf8(rest).unwrap();
        let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() < 5, "{says}: {rest}");
        let line = probe.app().expect_log("broken off").await;
        assert!(line.text.contains(&format!("sent {says} than")), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_announced_length_is_kept_in_http_2() {
    for (body, fits) in [("abc", false), ("abcdefg", false), ("abcde", true)] {
        let probe = Probe::start().await;
        let channel = probe.create_input_channel(4).await.unwrap();
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let request = Request::get(probe.app().url("/"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let asking = tokio::spawn(async move {
            let answer = client.request(request).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer.into_body().collect().await?)
        });
        let asked = ReceivedRequest::next(&probe, channel).await;
        probe.write_all(asked.stream, body.as_bytes()).await;
        let answer = head(200, &[("content-length", "5")]);
        probe.oneshot_send(asked.reply, &answer).await.unwrap();
        probe.close(asked.stream).await.unwrap();
        let outcome = within("the answer", asking).await.unwrap();
        assert_eq!(outcome.is_ok(), fits, "{body}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_announced_length_fails_at_the_guest() {
    let (probe, asked, mut client) = asked("GET", "1.1", "").await;
    let answer = head(200, &[("content-length", "5")]);
    probe.oneshot_send(asked.reply, &answer).await.unwrap();
    probe.write_all(asked.stream, b"abcde").await;
    assert_eq!(client.answer().await.body, b"abcde");
    within("the end", async {
        while probe.poll_write(asked.stream, b"f").await != Err(Errno::Io) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_guest_dies_has_no_end() {
    let app = suite().await;
    let mut client = Raw::connect(app.gateway()).await;
    let to = path(&app, "/break/3/50");
    client.get(&to).await;
    client.head().await;
    let (rest, _) = client.rest().await;
    let rest = String::from_utf8(rest).unwrap();
    assert!(
        rest.contains("0\n") && !rest.contains("\r\n0\r\n"),
        "{rest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_chunks_breaks_off_with_a_reset() {
    let (probe, asked, mut client) = asked("GET", "1.0", "").await;
    probe
        .oneshot_send(asked.reply, &head(200, &[]))
        .await
        .unwrap();
    probe.write_all(asked.stream, b"a part").await;
    client.head().await;
    assert_eq!(client.exactly(6).await, b"a part");
    probe.http_abort(asked.stream).await.unwrap();
    let (_, is_end) = client.rest().await;
    assert!(!is_end, "the client takes it for all there is");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_have_none() {
    for (method, status, length) in [
        ("HEAD", 200, Some("9")),
        ("HEAD", 200, None),
        ("GET", 204, None),
        ("GET", 304, None),
    ] {
        let (probe, asked, mut client) = asked(method, "1.1", "").await;
        let headers: Vec<_> = length
            .map(|text| ("content-length", text))
            .into_iter()
            .collect();
        let answer = head(status, &headers);
        let _ = probe.poll_write(asked.stream, b"some body").await;
        probe.oneshot_send(asked.reply, &answer).await.unwrap();
        probe.close(asked.stream).await.unwrap();
        let head = client.head().await;
        assert_eq!(header(&head, "content-length"), length, "{method} {status}");
        // The next answer on the connection begins where this head ended.
        client.send("GET /health HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "ok\n", "{method} {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_to_go_on() {
    let app = suite().await;
    let mut client = Raw::connect(app.gateway()).await;
    let to = path(&app, "/collect/100");
    let request = format!(
        "POST {to} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
    );
    client.send(request).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 100"), "{head}");
    client.send("body").await;
    assert_eq!(client.answer().await.text(), "4 bytes\n");
    let answer = ask(&app, "POST", "/", "expect: miracles\r\n\r\n").await;
    assert_eq!(answer.status, 417);
    let refused = "expect: 100-continue\r\ncontent-length: 99999999999\r\n\r\n";
    assert_eq!(ask(&app, "POST", "/", refused).await.status, 413);
    let seen = ask(&app, "GET", "/", "expect: 100-continue\r\n\r\n").await;
    assert!(!seen.text().contains("expect:"), "{}", seen.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_an_answer_arrive_over_http_1() {
    let (probe, asked, mut client) = asked("GET", "1.1", "te: trailers\r\n").await;
    assert_eq!(asked.header("te"), Some("trailers"));
    let answer = head(200, &[("trailer", "x-sum")]);
    probe.oneshot_send(asked.reply, &answer).await.unwrap();
    probe.write_all(asked.stream, b"body").await;
    let trailers = [("x-sum", "7"), ("content-length", "9")];
    probe.http_finish(asked.stream, &trailers).await.unwrap();
    let head = client.head().await;
    assert_eq!(header(&head, "trailer"), Some("x-sum"));
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "\r\n") {
        lines.push(client.line().await);
    }
    assert_eq!(
        lines,
        ["4\r\n", "body\r\n", "0\r\n", "x-sum: 7\r\n", "\r\n"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_comes_with_a_body_is_an_ordinary_request() {
    let app = suite().await;
    let rest =
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\ncontent-length: 4\r\n\r\nbody";
    let answer = ask(&app, "POST", "/collect/100", rest).await;
    assert_eq!(answer.text(), "4 bytes\n");
    let rest = "connection: Upgrade\r\nupgrade: h2c\r\n\r\n";
    let answer = ask(&app, "GET", "/collect/100", rest).await;
    assert_eq!(answer.text(), "0 bytes\n");
    let rest = "connection: Upgrade\r\nupgrade: other\r\n\r\n";
    let answer = ask(&app, "GET", "/status/200", rest).await;
    assert_eq!(answer.status, 200, "refused, and answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_ends_for_both_when_one_leaves() {
    let app = suite().await;
    for leaves_in_order in [true, false] {
        let mut client = Raw::connect(app.gateway()).await;
        let to = path(&app, "/upgrade");
        let request = format!(
            "GET {to} HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n"
        );
        client.send(request).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        client.send("hello").await;
        assert_eq!(client.exactly(5).await, b"hello");
        if leaves_in_order {
            client.stream.shutdown().await.unwrap();
            assert_eq!(client.stream.read(&mut [0; 9]).await.unwrap(), 0);
            app.expect_log("the upgraded stream ended: Ok").await;
        } else {
            client.stream.set_zero_linger().unwrap();
            drop(client);
            app.expect_log("the upgraded stream ended: Err").await;
        }
    }
    all_over(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_still_sends() {
    let app = suite().await;
    for _ in 0..5 {
        let answer = client::post(&app.url("/early"), vec![0; 8 << 20]).await;
        answer.expect_status(413);
        assert_eq!(answer.text(), "no thanks\n");
    }
}
