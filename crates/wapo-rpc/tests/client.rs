//! The client against a server on loopback that answers what the test says.

mod stub;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::StreamExt;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpListener;
use wapo_rpc::client::{LogEvent, Tail, Upload};
use wapo_rpc::message::*;
use wapo_rpc::{AppAddress, Client, ClientError, UserClient};

use stub::{Answer, Stub};

const APP: AppAddress = AppAddress([0xab; 32]);

fn refusal(error: Result<impl std::fmt::Debug, ClientError>) -> String {
    error.expect_err("a refusal").to_string()
}

#[tokio::test]
async fn a_call_is_a_post_of_protobuf_with_the_token() {
    let number = Number { value: 3 }.encode_to_vec();
    let stub = Stub::start(Answer::new(200, number)).await;
    let client = Client::new(&format!("{}/", stub.url()), Some("s3cret")).expect("a client");
    assert!(!format!("{client:?}").contains("s3cret"));
    let args = ResizeArgs {
        address: APP.0.to_vec(),
        instances: 3,
    };
    let answer = client.app_resize(args.clone()).await.expect("an answer");
    assert_eq!(answer.value, 3);
    let seen = stub.seen();
    assert_eq!(seen[0].line, "POST /prpc/Operation.AppResize");
    assert_eq!(seen[0].header("authorization"), "Bearer s3cret");
    assert_eq!(ResizeArgs::decode(&seen[0].body[..]), Ok(args));
}

#[tokio::test]
async fn the_user_port_has_its_own_service() {
    let stub = Stub::start(Answer::new(200, vec![])).await;
    let client = UserClient::new(stub.url()).expect("a client");
    let answer = client.info(Empty {}).await.expect("an answer");
    assert_eq!(answer, WorkerInfo::default());
    assert_eq!(stub.seen()[0].line, "POST /prpc/User.Info");
    assert_eq!(stub.seen()[0].header("authorization"), "");
}

#[tokio::test]
async fn a_refusal_is_the_workers_own_words() {
    let message = ErrorMessage {
        message: "App not found".into(),
    };
    let stub = Stub::start(Answer::new(400, message.encode_to_vec())).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let error = refusal(client.app_stop(APP.into()).await);
    assert_eq!(error, "App not found");
    stub.answer(Answer::new(413, b"Entity too large".to_vec()));
    assert_eq!(refusal(client.info(Empty {}).await), "Entity too large");
}

#[tokio::test]
async fn a_missing_and_a_wrong_token_are_told_apart() {
    let stub = Stub::start(Answer::new(401, b"no".to_vec())).await;
    let without = Client::new(stub.url(), None).expect("a client");
    let error = refusal(without.info(Empty {}).await);
    assert!(error.contains("give it with --token"), "{error}");
    let wrong = Client::new(stub.url(), Some("x")).expect("a client");
    let error = refusal(wrong.info(Empty {}).await);
    assert!(error.contains("refused the token"), "{error}");
    assert!(Client::new(stub.url(), Some("a\nb")).is_err());
}

#[tokio::test]
async fn who_does_not_answer_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let client = Client::new(&url, None).expect("a client");
    let error = refusal(client.info(Empty {}).await);
    assert!(error.contains(&url), "{error}");
    assert!(error.contains("connection refused"), "{error}");
    assert!(error.contains("is wapod running"), "{error}");
}

/// A server that answers each request with these bytes and goes away.
async fn cut_off(answer: &'static str) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            // A client that leaves is no concern of the test.
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Client::new(&url, None).expect("a client")
}

#[tokio::test]
async fn a_connection_that_is_cut_off_is_told_in_words() {
    const WORDS: &str = "the worker ended it before its answer was complete";
    for answer in [
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
    ] {
        let client = cut_off(answer).await;
        let error = client.info(Empty {}).await.expect_err("no answer");
        assert!(error.is_of_connection(), "{answer:?}: {error:?}");
        assert!(error.to_string().contains(WORDS), "{answer:?}: {error}");
    }
    let following = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n:\n\n\r\n";
    let client = cut_off(following).await;
    let mut log = client.follow_logs(APP, Tail::All).await.expect("a log");
    let error = refusal(log.next().await);
    assert!(error.contains(WORDS), "{error}");
}

#[tokio::test]
async fn tls_where_there_is_none_is_said() {
    let stub = Stub::start(Answer::new(200, vec![])).await;
    let url = stub.url().replace("http:", "https:");
    let client = Client::new(&url, None).expect("a client");
    let error = refusal(client.info(Empty {}).await);
    assert!(error.contains(&url), "{error}");
    assert!(error.contains("does not speak TLS, try http://"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_no_worker_is_found_out() {
    let page = Answer::new(404, b"<html>".to_vec()).header("content-type", "text/html");
    let stub = Stub::start(page).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let error = refusal(client.info(Empty {}).await);
    assert!(error.contains("not like a worker"), "{error}");
    stub.answer(Answer::new(200, vec![0xff; 9]));
    let error = refusal(client.info(Empty {}).await);
    assert!(error.contains("not like a worker"), "{error}");
    for url in ["127.0.0.1:8001", "ftp://x", "http://u:p@x", ""] {
        let error = refusal(Client::new(url, None));
        assert!(error.contains("http://127.0.0.1:8001"), "{error}");
    }
}

#[tokio::test]
async fn an_upload_is_streamed_and_tells_how_far_it_is() {
    let stub = Stub::start(Answer::new(200, b"sha256:00ff\n".to_vec())).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let content: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = Arc::new(AtomicU64::new(0));
    let progress = {
        let sent = Arc::clone(&sent);
        move |bytes| sent.store(bytes, Ordering::Relaxed)
    };
    let hash = client
        .upload_blob("sha256:", Upload::bytes(content.clone()), progress)
        .await
        .expect("a hash");
    assert_eq!(hash, "sha256:00ff");
    assert_eq!(sent.load(Ordering::Relaxed), 300_000);
    let reader = Upload::reader(io::Cursor::new(content.clone()), None);
    let answer = client.upload_blob("sha256:00ff", reader, |_| {}).await;
    answer.expect("a hash");
    let seen = stub.seen();
    assert_eq!(seen[0].line, "POST /blob/sha256:");
    assert_eq!(seen[0].header("content-length"), "300000");
    assert_eq!(seen[1].header("transfer-encoding"), "chunked");
    assert!(seen.iter().all(|request| request.body == content));
}

/// A file on a broken disk.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("the disk is gone")))
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_not_the_workers_fault() {
    let stub = Stub::start(Answer::new(200, vec![])).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let upload = Upload::reader(Broken, None);
    let error = client.upload_blob("sha256:", upload, |_| {}).await;
    assert!(matches!(error, Err(ClientError::Copy(_))), "{error:?}");
    let error = refusal(error);
    assert!(error.contains("the disk is gone"), "{error}");
}

#[tokio::test]
async fn a_download_is_written_as_it_comes() {
    let stub = Stub::start(Answer::new(200, vec![7; 100_000])).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let mut content = Vec::new();
    let bytes = client.download_blob("sha256:00ff", &mut content).await;
    assert_eq!(bytes.expect("bytes"), 100_000);
    assert_eq!(content, vec![7; 100_000]);
    assert_eq!(stub.seen()[0].line, "GET /blob/00ff");
    stub.answer(Answer::new(404, b"Object not found".to_vec()));
    let missing = client.download_blob("sha256:00ff", &mut content).await;
    assert_eq!(refusal(missing), "Object not found");
    stub.answer(Answer::new(200, Boolean { value: true }.encode_to_vec()));
    assert!(client.has_blob("sha256:00ff").await.expect("yes"));
}

const LINE: &str =
    r#"{"seq":1,"time_ms":2,"instance":3,"source":"guest","level":"info","text":"hi"}"#;

#[tokio::test]
async fn kept_lines_are_a_list() {
    let stub = Stub::start(Answer::new(200, format!("[{LINE}]"))).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let lines = client.logs(APP, Tail::Last(5)).await.expect("lines");
    assert_eq!(lines[0].text, "hi");
    let path = format!("GET /logs/{APP}?tail=5");
    assert_eq!(stub.seen()[0].line, path);
}

#[tokio::test]
async fn followed_lines_come_one_by_one_with_their_gaps() {
    let events = format!(
        ": hello\n\ndata: {LINE}\n\nevent: missed\ndata: {{\"missed\":7}}\n\n\
         event: new kind\ndata: x\n\ndata: {LINE}\n\n"
    );
    let stub = Stub::start(Answer::new(200, events)).await;
    let client = Client::new(stub.url(), Some("t")).expect("a client");
    let mut stream = client.follow_logs(APP, Tail::All).await.expect("a stream");
    let first = stream.next().await.expect("a line");
    assert!(matches!(first, Some(LogEvent::Line(line)) if line.seq == 1));
    let rest: Vec<LogEvent> = StreamExt::map(stream, |event| event.expect("an event"))
        .collect()
        .await;
    assert!(matches!(
        &rest[..],
        [LogEvent::Missed(7), LogEvent::Line(_)]
    ));
    let seen = stub.seen();
    assert_eq!(seen[0].line, format!("GET /logs/{APP}?follow"));
    assert_eq!(seen[0].header("authorization"), "Bearer t");
    stub.answer(Answer::new(200, "data: no line\n\n"));
    let mut stream = client.follow_logs(APP, Tail::All).await.expect("a stream");
    assert!(stream.next().await.is_err());
    assert!(stream.next().await.expect("the end").is_none());
}

#[tokio::test]
async fn a_worker_that_is_not_ready_still_has_a_health() {
    let stub = Stub::start(Answer::new(503, r#"{"live":true,"ready":false}"#)).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let health = client.health().await.expect("health");
    assert!(health.live && !health.ready);
    stub.answer(Answer::new(200, "ok\n"));
    assert!(client.health().await.is_err());
}

#[tokio::test]
async fn an_upload_reads_no_more_than_the_connection_takes() {
    let stub = Stub::start(Answer::new(200, b"sha256:00".to_vec()).reads_nothing()).await;
    let client = Client::new(stub.url(), None).expect("a client");
    let most = Arc::new(Mutex::new(0));
    let progress = {
        let most = Arc::clone(&most);
        move |bytes| *most.lock().expect("no panic") = bytes
    };
    let endless = Upload::reader(tokio::io::repeat(0), None);
    let upload = client.upload_blob("sha256:", endless, progress);
    let stopped = tokio::time::timeout(std::time::Duration::from_millis(300), upload).await;
    assert!(stopped.is_err(), "an endless upload ended");
    let most = *most.lock().expect("no panic");
    assert!(most < 64 * 1024 * 1024, "{most} bytes without a reader");
}
