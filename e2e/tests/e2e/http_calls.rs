//! Requests and answers in one host call each: `http_next` and `http_respond`.

use e2e::{Errno, Probe, client, within};
use parity_scale_codec::Encode as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is left to be done: nothing, the request's body, or the answer's.
const NOTHING: u32 = 0;
const REQUEST: u32 = 1;
const ANSWER: u32 = 2;

/// A head without a length, and what there is of the body.
fn answer(status: u16, body: &[u8]) -> Vec<u8> {
    let mut answer = (status, vec![("x-probe".to_owned(), "yes".to_owned())]).encode();
    answer.extend(body);
    answer
}

/// A probe that takes HTTP requests, and its channel.
async fn serving() -> (Probe, u32) {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    (probe, channel)
}

/// Asks for a path.
fn asking(probe: &Probe, path: &str) -> tokio::task::JoinHandle<client::Answer> {
    let url = probe.app().url(path);
    tokio::spawn(async move { client::get(&url).await })
}

/// Sends a body.
fn posting(probe: &Probe, body: Vec<u8>) -> tokio::task::JoinHandle<client::Answer> {
    let app = probe.app().clone();
    tokio::spawn(async move { app.post("/", body).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_body_is_answered_in_two_calls() {
    let (probe, channel) = serving().await;
    let asking = asking(&probe, "/a?b=c");
    let request = probe.next_request(channel).await;
    assert_eq!(request.method, "GET");
    assert!(request.url.ends_with("/a?b=c"), "{}", request.url);
    assert!(request.fields.iter().any(|(name, _)| name == "host"));
    assert!(!request.has_body);
    let exchange = request.exchange;
    let sent = probe
        .http_respond(exchange, NOTHING, &answer(201, b"hello"))
        .await;
    assert_eq!(sent, Ok(5));
    assert_eq!(probe.close(exchange).await, Err(Errno::NotFound), "closed");
    let answer = within("the answer", asking).await.unwrap();
    answer.expect_status(201);
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.header("x-probe"), Some("yes"));
    assert_eq!(answer.header("content-length"), Some("5"));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_fit_stays_and_its_length_is_told() {
    let (probe, channel) = serving().await;
    let asking = asking(&probe, "/");
    let (len, _) = probe.http_next(channel, 0).await.unwrap();
    let (again, nothing) = probe.http_next(channel, len - 1).await.unwrap();
    assert_eq!(again, len);
    assert!(nothing.iter().all(|byte| *byte == 0), "nothing was written");
    let (written, message) = probe.http_next(channel, len).await.unwrap();
    assert_eq!(written, len);
    let at = message.len() - 5;
    let exchange = u32::from_le_bytes(message[at..at + 4].try_into().unwrap());
    let sent = probe
        .http_respond(exchange, NOTHING, &answer(200, b""))
        .await;
    assert_eq!(sent, Ok(0));
    let answer = within("the answer", asking).await.unwrap();
    answer.expect_status(200);
    assert_eq!(answer.header("content-length"), Some("0"));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_requests_are_taken_from_the_same_channel() {
    let (probe, channel) = serving().await;
    let first = asking(&probe, "/1");
    let exchange = probe.next_request(channel).await.exchange;
    let second = asking(&probe, "/2");
    let (reply, body) = probe.next_exchange(channel).await;
    let not_ours = probe.http_respond(body, NOTHING, &answer(200, b"")).await;
    assert_eq!(
        not_ours,
        Err(Errno::Io),
        "its answer has a handle of its own"
    );
    let not_ours = probe.oneshot_send(exchange, &answer(200, b"")).await;
    assert_eq!(not_ours, Err(Errno::Unsupported));
    probe.oneshot_send(reply, &answer(202, b"")).await.unwrap();
    probe.close(body).await.unwrap();
    within("the answer", second)
        .await
        .unwrap()
        .expect_status(202);
    probe
        .http_respond(exchange, NOTHING, &answer(201, b""))
        .await
        .unwrap();
    within("the answer", first)
        .await
        .unwrap()
        .expect_status(201);
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_be_read_after_its_answer() {
    let (probe, channel) = serving().await;
    let posting = posting(&probe, vec![7; 100_000]);
    let request = probe.next_request(channel).await;
    assert!(request.has_body);
    let exchange = request.exchange;
    let sent = probe
        .http_respond(exchange, REQUEST, &answer(200, b"ok"))
        .await;
    assert_eq!(sent, Ok(2));
    let more = probe.poll_write(exchange, b"x").await;
    assert_eq!(more, Err(Errno::Io), "the answer has ended");
    let twice = probe
        .http_respond(exchange, NOTHING, &answer(200, b"no"))
        .await;
    assert_eq!(twice, Err(Errno::Io));
    assert_eq!(probe.read_exact(exchange, 8).await, [7; 8]);
    probe.close(exchange).await.unwrap();
    let answer = within("the answer", posting).await.unwrap();
    answer.expect_status(200);
    assert_eq!(answer.text(), "ok");
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_begin_with_its_head_and_go_on() {
    let (probe, channel) = serving().await;
    let asking = asking(&probe, "/");
    let exchange = probe.next_request(channel).await.exchange;
    let sent = probe
        .http_respond(exchange, ANSWER, &answer(200, b"one, "))
        .await;
    assert_eq!(sent, Ok(5));
    probe.write_all(exchange, b"two").await;
    probe.close(exchange).await.unwrap();
    let answer = within("the answer", asking).await.unwrap();
    assert_eq!(answer.text(), "one, two");
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_refused_and_may_be_mended() {
    let (probe, channel) = serving().await;
    let asking = asking(&probe, "/");
    let exchange = probe.next_request(channel).await.exchange;
    let many = vec![(String::new(), String::new()); 257];
    for (rest, bad) in [
        (NOTHING, Vec::new()),
        (NOTHING, vec![0xff; 40]),
        (NOTHING, (200_u16, many).encode()),
        (3, answer(200, b"")),
        (u32::MAX, answer(200, b"")),
    ] {
        let refused = probe.http_respond(exchange, rest, &bad).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{rest} {bad:?}");
    }
    for (handle, errno) in [(channel, Errno::Unsupported), (9999, Errno::NotFound)] {
        let refused = probe.http_respond(handle, NOTHING, &answer(200, b"")).await;
        assert_eq!(refused, Err(errno));
    }
    let refused = probe.http_next(exchange, 100).await;
    assert_eq!(refused.map(|(len, _)| len), Err(Errno::Unsupported));
    let refused = probe.http_next(9999, 100).await;
    assert_eq!(refused.map(|(len, _)| len), Err(Errno::NotFound));
    probe
        .http_respond(exchange, NOTHING, &answer(200, b"fine"))
        .await
        .unwrap();
    let answer = within("the answer", asking).await.unwrap();
    assert_eq!(answer.text(), "fine");
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_http_does_not_allow_are_a_bad_gateway() {
    let (probe, channel) = serving().await;
    let field = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (status, fields) in [
        (0_u16, Vec::new()),
        (101, field("upgrade", "x")),
        (200, field("a b", "x")),
        (200, field("a", "x\r\nb: y")),
        (200, field("content-length", "-1")),
    ] {
        let asking = asking(&probe, "/");
        let exchange = probe.next_request(channel).await.exchange;
        let answer = (status, fields).encode();
        let sent = probe.http_respond(exchange, NOTHING, &answer).await;
        assert_eq!(sent, Ok(0), "{status}");
        within("the answer", asking)
            .await
            .unwrap()
            .expect_status(502);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_contradicts_its_length_is_broken_off() {
    let (probe, channel) = serving().await;
    for (length, body) in [("5", &b"four"[..]), ("5", b"sixsix")] {
        let url = probe.app().url("/");
        let asking =
            tokio::spawn(
                async move { client::try_send(hyper::Method::GET, &url, Vec::new()).await },
            );
        let exchange = probe.next_request(channel).await.exchange;
        let fields = vec![("content-length".to_owned(), length.to_owned())];
        let mut answer = (200_u16, fields).encode();
        answer.extend(body);
        probe
            .http_respond(exchange, NOTHING, &answer)
            .await
            .unwrap();
        let broken = within("the answer", asking).await.unwrap();
        assert!(broken.is_err(), "{:?}", broken.map(|whole| whole.text()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_closed_without_an_answer_fails() {
    let (probe, channel) = serving().await;
    let asking = asking(&probe, "/");
    let exchange = probe.next_request(channel).await.exchange;
    probe.close(exchange).await.unwrap();
    within("the answer", asking)
        .await
        .unwrap()
        .expect_status(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_a_client_that_has_left_is_an_error() {
    let (probe, channel) = serving().await;
    let gateway = probe.app().gateway();
    let mut client = TcpStream::connect(gateway).await.unwrap();
    let path = probe.app().url("/");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {gateway}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let exchange = probe.next_request(channel).await.exchange;
    client.set_zero_linger().unwrap();
    drop(client);
    within("the client is missed", probe.http_unread(exchange))
        .await
        .unwrap();
    let late = probe
        .http_respond(exchange, NOTHING, &answer(200, b"x"))
        .await;
    assert_eq!(late, Err(Errno::Io));
    probe.close(exchange).await.unwrap();
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_the_guest_and_wake_it() {
    let (probe, channel) = serving().await;
    let (waker, none) = probe.try_wait(328, [channel, 0, 0]).await;
    assert_eq!(none, Err(Errno::Pending));
    let asking = asking(&probe, "/");
    probe.until_woken(waker).await;
    let exchange = probe.next_request(channel).await.exchange;
    probe
        .http_respond(exchange, NOTHING, &answer(204, b""))
        .await
        .unwrap();
    within("the answer", asking)
        .await
        .unwrap()
        .expect_status(204);
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_goes_in_one_call_as_well() {
    let (probe, channel) = serving().await;
    let asking = asking(&probe, "/");
    let exchange = probe.next_request(channel).await.exchange;
    let body = vec![b'x'; 200_000];
    let sent = probe
        .http_respond(exchange, NOTHING, &answer(200, &body))
        .await;
    assert_eq!(sent, Ok(200_000));
    let answer = within("the answer", asking).await.unwrap();
    assert_eq!(answer.body.len(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_an_answer_in_one_call() {
    let (probe, channel) = serving().await;
    let gateway = probe.app().gateway();
    let mut client = TcpStream::connect(gateway).await.unwrap();
    let path = probe.app().url("/");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {gateway}\r\n\r\n");
    for _ in 0..3 {
        client.write_all(request.as_bytes()).await.unwrap();
        let exchange = probe.next_request(channel).await.exchange;
        let sent = probe
            .http_respond(exchange, NOTHING, &answer(200, b"hello"))
            .await;
        assert_eq!(sent, Ok(5));
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") {
            let read = within("bytes", client.read_buf(&mut seen)).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        }
    }
}
