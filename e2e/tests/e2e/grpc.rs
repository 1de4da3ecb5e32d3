//! Calls of gRPC through the gateway, with tonic as the client.

use std::net::SocketAddr;
use std::str::FromStr as _;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use e2e::certificates::Tunnel;
use e2e::{App, Authority, Daemon, guest, within};
use futures_util::Stream;
use http_body_util::Full;
use hyper::Uri;

use hyper::http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

/// Messages are bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length).to_vec()))
    }
}

/// A client of the service of the test program.
async fn client() -> (App, Grpc<Channel>) {
    let app = Daemon::start().await.deploy(guest("sdk-suite")).await;
    let host = format!("{}.localhost", app.handle().address().to_base32());
    let client = client_at(app.gateway(), &host).await;
    (app, client)
}

/// A client of the service that is reached there under that name.
async fn client_at(address: SocketAddr, host: &str) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let origin = Uri::from_str(&format!("http://{host}")).unwrap();
    let channel = within("a connection", endpoint.origin(origin).connect()).await;
    let mut client = Grpc::new(channel.unwrap());
    client.ready().await.unwrap();
    client
}

fn method(name: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/suite.Echo/{name}")).unwrap()
}

async fn all(mut messages: Streaming<Vec<u8>>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(message) = within("a message", messages.message()).await.unwrap() {
        texts.push(String::from_utf8(message).unwrap());
    }
    texts
}

/// Messages that come from elsewhere.
fn stream_of(receiver: mpsc::Receiver<Vec<u8>>) -> impl Stream<Item = Vec<u8>> + Send + 'static {
    futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|message| (message, receiver))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_kind_work() {
    let (_app, client) = client().await;
    call_all(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_kind_work_over_https() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let identity = authority.issue("*.apps.example");
    let daemon = Daemon::with(|config| {
        config.base_domain = "apps.example".to_owned();
        config.user_tls = Some(identity.write(&folder.path().join("user.pem")));
    });
    let app = daemon.await.deploy(guest("sdk-suite")).await;
    let host = format!("{}.apps.example", app.handle().address().to_base32());
    let tunnel = Tunnel::open(app.gateway(), &host, authority.client(&["h2"])).await;
    call_all(client_at(tunnel.address(), &host).await).await;
}

/// Makes a call of each kind.
async fn call_all(mut client: Grpc<Channel>) {
    let message = b"hello".to_vec();
    let call = client.unary(Request::new(message.clone()), method("Unary"), Plain);
    let answer = within("an answer", call).await.unwrap().into_inner();
    assert_eq!(answer, message);

    client.ready().await.unwrap();
    let many = futures_util::stream::iter(vec![b"x".to_vec(); 1_000]);
    let call = client.client_streaming(Request::new(many), method("Count"), Plain);
    let answer = within("an answer", call).await.unwrap().into_inner();
    assert_eq!(answer, b"1000");

    client.ready().await.unwrap();
    let call = client.server_streaming(Request::new(b"20".to_vec()), method("Repeat"), Plain);
    let messages = within("an answer", call).await.unwrap().into_inner();
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(all(messages).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_talk_at_once_and_the_app_may_end_it() {
    let (_app, mut client) = client().await;
    let (say, said) = mpsc::channel(1);
    let call = client.streaming(Request::new(stream_of(said)), method("Chat"), Plain);
    let mut heard = within("an answer", call).await.unwrap().into_inner();
    for text in ["one", "two", "three"] {
        say.send(text.as_bytes().to_vec()).await.unwrap();
        let back = within("a message", heard.message()).await.unwrap();
        assert_eq!(back.unwrap(), text.as_bytes());
    }
    // The app ends the call while the client could go on.
    say.send(b"stop".to_vec()).await.unwrap();
    assert_eq!(within("the end", heard.message()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_arrive_with_and_without_messages_before_them() {
    let (_app, mut client) = client().await;
    for (name, code) in [("Missing", Code::NotFound), ("Nosuch", Code::Unimplemented)] {
        client.ready().await.unwrap();
        let call = client.unary(Request::new(b"x".to_vec()), method(name), Plain);
        let error = within("an answer", call).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        client.ready().await.unwrap();
        // The same to a client that has not ended its side.
        let (_open, never) = mpsc::channel(1);
        let call = client.streaming(Request::new(stream_of(never)), method(name), Plain);
        let error = within("an answer", call).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
    }
    client.ready().await.unwrap();
    let call = client.server_streaming(Request::new(b"x".to_vec()), method("Break"), Plain);
    let mut messages = within("an answer", call).await.unwrap().into_inner();
    let first = within("a message", messages.message()).await.unwrap();
    assert_eq!(first.unwrap(), b"the first");
    let error = within("the end", messages.message()).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_reach_the_app_and_cancelled_calls_end_there() {
    let (app, mut client) = client().await;
    // A client without a clock: it is the app that keeps the time.
    let plain = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = hyper::Request::post(app.url("/suite.Echo/Wait"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "50m")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\x01x")))
        .unwrap();
    let answer = within("an answer", plain.request(request)).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
    // And one with a clock, which takes the call back.
    let mut request = Request::new(b"x".to_vec());
    request.set_timeout(Duration::from_millis(50));
    let call = client.unary(request, method("Wait"), Plain);
    let error = within("an answer", call).await.unwrap_err();
    assert!(
        matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{error:?}"
    );

    client.ready().await.unwrap();
    let mut request = Request::new(b"1000000".to_vec());
    request.set_timeout(Duration::from_secs(600));
    let call = client.server_streaming(request, method("Repeat"), Plain);
    let mut messages = within("an answer", call).await.unwrap().into_inner();
    within("a message", messages.message()).await.unwrap();
    drop(messages);
    app.expect_log("a call was cancelled").await;
    client.ready().await.unwrap();
    let mut waiting = client.clone();
    let asking = tokio::spawn(async move {
        waiting.ready().await.unwrap();
        let request = Request::new(b"x".to_vec());
        waiting.unary(request, method("Wait"), Plain).await
    });
    let in_work = |wanted: usize| {
        let app = app.clone();
        async move {
            within("the requests", async {
                while app.handle().requests() != wanted {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        }
    };
    in_work(1).await;
    asking.abort();
    in_work(0).await;
}
