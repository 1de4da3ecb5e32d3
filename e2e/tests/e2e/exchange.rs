//! What an HTTP exchange has besides two bodies: trailers, a client with an
//! address, and an end that is none.

use bytes::Bytes;
use e2e::{App, Daemon, Errno, Probe, client, guest, within};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn suite() -> App {
    Daemon::start().await.deploy(guest("sdk-suite")).await
}

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter().copied();
    fields
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

/// Posts over HTTP/2, which needs no announcement of trailers, and reads the
/// whole answer.
async fn post_with_trailers(
    url: String,
    body: &'static str,
    trailers: HeaderMap,
) -> Result<Response<Collected<Bytes>>, String> {
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = Request::post(&url).body(body.boxed()).unwrap();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let exchange = async {
        let response = client.request(request).await;
        let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(head, body))
    };
    within(&url, exchange).await
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_go_through_a_program_and_back() {
    let app = suite().await;
    let sent = fields(&[("x-sum", "7"), ("x-two", "a"), ("x-two", "b")]);
    let answer = post_with_trailers(app.url("/echo"), "some text", sent.clone()).await;
    let body = answer.unwrap().into_body();
    assert_eq!(body.trailers(), Some(&sent));
    assert_eq!(body.to_bytes(), "some text");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_taken_and_given_by_hand() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let url = probe.app().url("/");
    let asking = tokio::spawn(post_with_trailers(url, "question", fields(&[("a", "b")])));
    let (reply, stream) = probe.next_exchange(channel).await;
    let early = probe.http_trailers(stream).await;
    assert_eq!(early, Err(Errno::Condition), "the body was not read");
    assert_eq!(probe.read_exact(stream, 8).await, b"question");
    assert_eq!(probe.poll_read(stream, 1).await, Ok(Vec::new()), "the end");
    let trailers = probe.http_trailers(stream).await.unwrap();
    assert_eq!(trailers, [("a".to_owned(), "b".to_owned())]);
    let again = probe.http_trailers(stream).await;
    assert_eq!(again, Err(Errno::EndOfFile), "they were taken");

    probe.oneshot_send(reply, b"\xc8\x00\x00").await.unwrap();
    probe.write_all(stream, b"answer").await;
    assert_eq!(probe.http_finish(stream, &[("c", "d")]).await, Ok(0));
    let twice = probe.http_finish(stream, &[]).await;
    assert_eq!(twice, Err(Errno::Io), "it has ended");
    assert_eq!(probe.http_abort(stream).await, Ok(0), "without effect");
    let body = within("the answer", asking).await.unwrap();
    let body = body.unwrap().into_body();
    assert_eq!(body.trailers(), Some(&fields(&[("c", "d")])));
    assert_eq!(body.to_bytes(), "answer");
    assert_eq!(probe.close(stream).await, Ok(0));
    assert_eq!(probe.close(reply).await, Ok(0));
    let gone = probe.http_finish(stream, &[]).await;
    assert_eq!(gone, Err(Errno::NotFound));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_broken_off_by_hand_fails_at_the_client() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let url = probe.app().url("/");
    let asking = tokio::spawn(async move { client::try_send(Method::GET, &url, Vec::new()).await });
    let (reply, stream) = probe.next_exchange(channel).await;
    probe.oneshot_send(reply, b"\xc8\x00\x00").await.unwrap();
    probe.write_all(stream, b"a part").await;
    assert_eq!(probe.http_abort(stream).await, Ok(0));
    assert_eq!(probe.poll_write(stream, b"more").await, Err(Errno::Io));
    assert_eq!(probe.poll_read(stream, 1).await, Err(Errno::Io));
    assert_eq!(probe.close(stream).await, Ok(0));
    let answer = within("the answer", asking).await.unwrap();
    assert!(answer.is_err(), "{answer:?}");
    let timer = probe.create_timer(10).await.unwrap();
    assert_eq!(probe.http_abort(timer).await, Err(Errno::Unsupported));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_program_gives_up_fails_at_the_client() {
    let app = suite().await;
    for path in ["/abort/0", "/abort/3", "/fail/3"] {
        let answer = client::try_send(Method::GET, &app.url(path), Vec::new()).await;
        assert!(answer.is_err(), "{path}: {answer:?}");
    }
    app.get("/status/200").await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_learns_who_asks() {
    let app = suite().await;
    let answer = app.get("/peer").await;
    answer.expect_status(200);
    assert!(answer.text().starts_with("127.0.0.1:"), "{}", answer.text());

    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut stream = TcpStream::connect(probe.app().gateway()).await.unwrap();
    let own = stream.local_addr().unwrap();
    let url = probe.app().url("/");
    let request = format!("GET {url} HTTP/1.1\r\nhost: {own}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (_, exchange) = probe.next_exchange(channel).await;
    assert_eq!(probe.http_peer(exchange).await, Ok(Some(own.to_string())));
    let timer = probe.create_timer(10).await.unwrap();
    assert_eq!(probe.http_peer(timer).await, Err(Errno::Unsupported));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_hears_of_a_client_that_leaves_without_reading_or_writing() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let gateway = probe.app().gateway();
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let url = probe.app().url("/");
    let request = format!("GET {url} HTTP/1.1\r\nhost: {gateway}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (_reply, exchange) = probe.next_exchange(channel).await;
    let (_, waits) = probe.try_wait(321, [exchange, 0, 0]).await;
    assert_eq!(waits, Err(Errno::Pending), "the client is there");
    drop(stream);
    let heard = within("the client to leave", probe.http_unread(exchange)).await;
    assert_eq!(heard, Ok(0));
    let timer = probe.create_timer(10).await.unwrap();
    assert_eq!(probe.http_unread(timer).await, Err(Errno::Unsupported));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_mid_body_is_no_end() {
    let app = suite().await;
    let gateway = app.gateway();
    let url = app.url("/collect/100000");
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let request =
        format!("POST {url} HTTP/1.1\r\nhost: {gateway}\r\ncontent-length: 5000\r\n\r\na part");
    stream.write_all(request.as_bytes()).await.unwrap();
    // The guest has it: an answer to another request came later.
    app.get("/status/200").await.expect_status(200);
    drop(stream);
    app.expect_log("the body broke off").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_http_1_arrive() {
    let app = suite().await;
    let gateway = app.gateway();
    let url = app.url("/trailers");
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let request = format!(
        "POST {url} HTTP/1.1\r\nhost: {gateway}\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 12\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = within("the answer", stream.read_to_string(&mut answer)).await;
    read.unwrap();
    assert!(answer.contains("x-sum: 12"), "{answer}");
}
