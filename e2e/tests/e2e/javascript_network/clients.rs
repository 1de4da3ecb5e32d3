//! Clients of the gateway that leave, and messages that nobody takes.

use std::time::Duration;

use e2e::{Daemon, ports};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{module, serving};

#[tokio::test(flavor = "multi_thread")]
async fn the_signal_of_a_request_aborts_when_its_client_leaves() {
    let code = r#"
        let begun = 0;
        export default { fetch(request) {
          if (new URL(request.url).pathname.endsWith("/count")) return new Response(String(begun));
          const { promise, resolve } = Promise.withResolvers();
          request.signal.addEventListener("abort", () => {
            console.log(`left: ${request.signal.reason.name}`);
            resolve(new Response("for nobody"));
          });
          begun++;
          return promise;
        } };
    "#;
    let (app, _) = serving(code).await;
    let mut stream = TcpStream::connect(app.gateway()).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", app.url("/wait"));
    stream.write_all(request.as_bytes()).await.unwrap();
    while app.get("/count").await.text() != "1" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    app.expect_log("left: AbortError").await;
    app.get("/count").await.expect_text("1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signal_of_a_request_that_was_answered_does_not_abort() {
    let code = r#"
        let aborted = 0;
        export default { async fetch(request) {
          if (new URL(request.url).pathname.endsWith("/count")) return new Response(String(aborted));
          request.signal.addEventListener("abort", () => { aborted++; });
          return new Response("an answer");
        } };
    "#;
    let (app, _) = serving(code).await;
    for _ in 0..20 {
        app.get("/").await.expect_text("an answer");
    }
    app.get("/count").await.expect_text("0");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_take_no_more_than_their_share_of_memory() {
    const MESSAGES: usize = 16;
    const MESSAGE_BYTES: usize = 8 << 20;
    let code = r#"
        export default { fetch(request) {
          if (request.headers.get("upgrade") === null) return new Response("here");
          const [client, server] = Object.values(new WebSocketPair());
          server.accept();
          server.addEventListener("message", ({ data }) => {
            // Computes while others come.
            for (const begin = Date.now(); Date.now() - begin < 100;);
            server.send(String(data.byteLength));
          });
          return new Response(null, { status: 101, webSocket: client });
        } };
    "#;
    let mut config = module(code, ports::free());
    // Sixteen of them would not fit.
    config.memory_max_bytes = Some(96 << 20);
    let app = Daemon::start().await.deploy(config).await;
    let mut stream = TcpStream::connect(app.gateway()).await.unwrap();
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        app.url("/")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    // A frame with bytes, masked with zeros.
    let mut frame = vec![0x82, 0xff];
    frame.extend((MESSAGE_BYTES as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + MESSAGE_BYTES, 7);
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            writer.write_all(&frame).await.unwrap();
        }
        writer
    });
    let length = MESSAGE_BYTES.to_string();
    for _ in 0..MESSAGES {
        let mut echoed = vec![0; 2 + length.len()];
        e2e::within("an answer", reader.read_exact(&mut echoed))
            .await
            .unwrap();
        assert_eq!(&echoed[2..], length.as_bytes());
    }
    e2e::within("the writer", writing).await.unwrap();
    app.get("/").await.expect_text("here");
}
