//! `WebSocket` of programs in JavaScript against a server that speaks RFC 6455 by
//! hand, right and wrong.

use std::time::Duration;

use crate::support::ANY_PORT;
use crate::support::conformance::root;
use crate::support::frames::{
    self, BINARY, CLOSE, CONTINUED, FIN, Frame, PING, PONG, RSV1, TEXT, accept_of, closing, field,
    head, masked, plain,
};
use crate::support::running::Running;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// Longest wait for frames.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Serves the client, which may reach the listener; gives both.
async fn client() -> (Running, String, TcpListener, tempfile::TempDir) {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a port");
    let own = listener.local_addr().expect("an address").to_string();
    let place = tempfile::tempdir().expect("folder");
    let program = root().join("guests/wapo-js/tests/websockets/client.js");
    let program = program.display().to_string();
    let arguments = [&program, "--allow-egress", &own];
    let (running, address) = Running::serving(place.path(), ANY_PORT, &arguments).await;
    (running, address, listener, place)
}

/// Has the program connect with this query, and gives what it answers with.
fn connects(
    address: String,
    listener: &TcpListener,
    query: &str,
) -> tokio::task::JoinHandle<Value> {
    let to = listener.local_addr().expect("an address");
    let path = format!("/?to=ws://{to}/chat?x=1{query}").replace("chat?x=1", "chat%3Fx=1");
    tokio::spawn(async move {
        let answer = crate::support::get(&address, &path).await;
        let (_, body) = answer.rsplit_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
    })
}

/// Takes the program's connection and answers its handshake.
async fn accepted(listener: &TcpListener, more: &str) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let asked = frames::read_head(&mut stream).await;
    let key = field(&asked, "sec-websocket-key").expect("a key");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{more}\r\n",
        accept_of(key)
    );
    stream.write_all(answer.as_bytes()).await.expect("sent");
    (stream, asked)
}

/// All frames until the connection ends; a close frame is confirmed by ending it.
async fn all(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut got = Vec::new();
    let reading = async {
        while let Some(Frame {
            first,
            mask,
            payload,
        }) = frames::read(stream).await
        {
            assert!(mask.is_some(), "a client masks");
            got.push((first, payload));
            if first == FIN | CLOSE {
                break;
            }
        }
    };
    tokio::time::timeout(TIMEOUT, reading)
        .await
        .expect("in time");
    got
}

const OPEN: [&str; 3] = ["open", "", ""];

/// A case: what the server sends, the frames that the client answers with, and
/// what the program hears between "open" and its end.
type Case = (&'static str, Vec<Vec<u8>>, Vec<(u8, Vec<u8>)>, Vec<Value>);

fn cases() -> Vec<Case> {
    let closed = |code: u16| vec![(FIN | CLOSE, closing(code, b""))];
    let clean = |code: u16, reason: &str| json!(["close", code, reason, true]);
    let broken = || vec![json!(["error"]), json!(["close", 1006, "", false])];
    let close = |code: u16, reason: &[u8]| plain(FIN | CLOSE, &closing(code, reason));
    let mut cases: Vec<Case> = vec![
        (
            "a text, bytes, and the end",
            vec![
                plain(FIN | TEXT, "grüß".as_bytes()),
                plain(FIN | BINARY, &[0; 200]),
                close(1000, b"bye"),
            ],
            vec![(FIN | CLOSE, closing(1000, b"bye"))],
            vec![
                json!(["message", "grüß"]),
                json!(["message", "200 bytes"]),
                clean(1000, "bye"),
            ],
        ),
        (
            "fragments with a ping between",
            vec![
                plain(TEXT, b"Hel"),
                plain(FIN | PING, b"p"),
                plain(FIN, b"lo"),
                close(1001, b""),
            ],
            vec![
                (FIN | PONG, b"p".to_vec()),
                (FIN | CLOSE, closing(1001, b"")),
            ],
            vec![json!(["message", "Hello"]), clean(1001, "")],
        ),
        (
            "a text whose character is in two fragments",
            vec![plain(TEXT, &[0xc3]), plain(FIN, &[0xa4]), close(4000, b"")],
            closed(4000),
            vec![json!(["message", "ä"]), clean(4000, "")],
        ),
        (
            "the end without a code",
            vec![plain(FIN | CLOSE, b"")],
            vec![(FIN | CLOSE, vec![])],
            vec![clean(1005, "")],
        ),
        (
            "a large message",
            vec![plain(FIN | BINARY, &vec![1; 1 << 20]), close(1000, b"")],
            closed(1000),
            vec![json!(["message", "1048576 bytes"]), clean(1000, "")],
        ),
    ];
    for (name, frame, code) in violations() {
        cases.push((name, vec![frame], closed(code), broken()));
    }
    // The protocol's part answers by itself, and tells of the end as of an orderly one.
    let violation = b"Protocol violation";
    cases.push((
        "a code that cannot be sent",
        vec![close(1005, b"")],
        vec![(FIN | CLOSE, closing(1002, violation))],
        vec![clean(1002, "Protocol violation")],
    ));
    cases
}

/// Frames that fail the connection, with the code that the client gives.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    vec![
        ("a frame with a mask", masked(FIN | TEXT, b"x"), 1002),
        ("a reserved bit", plain(FIN | RSV1 | TEXT, b"x"), 1002),
        ("a reserved kind", plain(FIN | 3, b"x"), 1002),
        ("a continuation of nothing", plain(CONTINUED, b"x"), 1002),
        ("a ping in parts", plain(PING, b"x"), 1002),
        ("a long ping", plain(FIN | PING, &[0; 126]), 1002),
        ("no text", plain(FIN | TEXT, b"\xed\xa0\x80"), 1007),
        ("half a code", plain(FIN | CLOSE, &[3]), 1002),
        (
            "a reason that is no text",
            plain(FIN | CLOSE, &closing(1000, b"\xff")),
            1007,
        ),
        (
            "a frame beyond the limit",
            head(FIN | BINARY, 0, (16 << 20) + 1),
            1009,
        ),
    ]
}

#[tokio::test]
async fn frames_of_a_server() {
    let (running, address, listener, _place) = client().await;
    let mut wrong = Vec::new();
    for (name, sent, wanted, heard) in cases() {
        let answer = connects(address.clone(), &listener, "");
        let (mut stream, _) = accepted(&listener, "").await;
        for bytes in sent {
            let _ = stream.write_all(&bytes).await;
        }
        let got = all(&mut stream).await;
        drop(stream);
        if got != wanted {
            wrong.push(format!("{name}: {got:?} instead of {wanted:?}"));
        }
        let events = answer.await.expect("an answer");
        let wanted = Value::from([vec![json!(OPEN)], heard].concat());
        if events != wanted {
            wrong.push(format!("{name}: {events} instead of {wanted}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    running.interrupt().await;
}

#[tokio::test]
async fn frames_of_a_client() {
    let (running, address, listener, _place) = client().await;
    let query = "&send=hi&send=&bytes=125&bytes=126&bytes=65535&bytes=65536&close=3456&reason=done";
    let answer = connects(address, &listener, query);
    let (mut stream, asked) = accepted(&listener, "").await;
    assert!(asked.starts_with("GET /chat?x=1 HTTP/1.1\r\n"), "{asked}");
    let to = listener.local_addr().expect("an address").to_string();
    assert_eq!(field(&asked, "host"), Some(to.as_str()));
    assert_eq!(field(&asked, "sec-websocket-version"), Some("13"));
    assert!(field(&asked, "upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(field(&asked, "sec-websocket-key").is_some_and(|key| key.len() == 24));
    let mut got = Vec::new();
    let mut masks = Vec::new();
    while let Some(Frame {
        first,
        mask,
        payload,
    }) = frames::read(&mut stream).await
    {
        masks.push(mask.expect("a client masks"));
        got.push((first, payload));
        if first == FIN | CLOSE {
            break;
        }
    }
    let bytes = |size: usize| (FIN | BINARY, vec![0; size]);
    let wanted = vec![
        (FIN | TEXT, b"hi".to_vec()),
        (FIN | TEXT, vec![]),
        bytes(125),
        bytes(126),
        bytes(65535),
        bytes(65536),
        (FIN | CLOSE, closing(3456, b"done")),
    ];
    assert_eq!(got, wanted);
    masks.dedup();
    assert!(
        masks.len() > 1,
        "each frame has a mask of its own (5.3): {masks:?}"
    );
    let confirmed = plain(FIN | CLOSE, &closing(3456, b"done"));
    stream.write_all(&confirmed).await.expect("sent");
    drop(stream);
    let events = answer.await.expect("an answer");
    assert_eq!(events, json!([OPEN, ["close", 3456, "done", true]]));
    running.interrupt().await;
}

#[tokio::test]
async fn a_server_that_leaves_is_told_of() {
    let (running, address, listener, _place) = client().await;
    let answer = connects(address, &listener, "");
    let (stream, _) = accepted(&listener, "").await;
    drop(stream);
    let events = answer.await.expect("an answer");
    assert_eq!(events, json!([OPEN, ["error"], ["close", 1006, "", false]]));
    running.interrupt().await;
}

#[tokio::test]
async fn the_protocol_is_one_that_was_asked_for() {
    let (running, address, listener, _place) = client().await;
    for (more, is_right) in [
        ("Sec-WebSocket-Protocol: b\r\n", true),
        ("Sec-WebSocket-Protocol: c\r\n", false),
        ("", false),
    ] {
        let answer = connects(
            address.clone(),
            &listener,
            "&protocol=a&protocol=b&close=1000",
        );
        let (mut stream, asked) = accepted(&listener, more).await;
        assert_eq!(
            field(&asked, "sec-websocket-protocol").map(|list| list.replace(' ', "")),
            Some("a,b".into())
        );
        if is_right {
            let got = all(&mut stream).await;
            assert_eq!(got, [(FIN | CLOSE, closing(1000, b""))]);
            stream
                .write_all(&plain(FIN | CLOSE, &closing(1000, b"")))
                .await
                .expect("sent");
        }
        drop(stream);
        let events = answer.await.expect("an answer");
        let wanted = if is_right {
            json!([["open", "b", ""], ["close", 1000, "", true]])
        } else {
            json!([["error"], ["close", 1006, "", false]])
        };
        assert_eq!(events, wanted, "{more}");
    }
    running.interrupt().await;
}

#[tokio::test]
async fn answers_that_are_no_handshake_fail_the_connection() {
    let (running, address, listener, _place) = client().await;
    let right = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n";
    let cases = [
        ("another status", "200 OK", right.to_owned()),
        ("a redirect", "302 Found", format!("{right}Location: /\r\n")),
        (
            "another key",
            "101 Switching Protocols",
            right.replace("KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ),
        (
            "no key",
            "101 Switching Protocols",
            right.replace("Sec-WebSocket-Accept: KEY\r\n", ""),
        ),
        (
            "no upgrade",
            "101 Switching Protocols",
            right.replace("Upgrade: websocket\r\n", ""),
        ),
        (
            "no connection",
            "101 Switching Protocols",
            right.replace("Connection: Upgrade\r\n", ""),
        ),
        (
            "an extension",
            "101 Switching Protocols",
            format!("{right}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        ),
        (
            "a protocol that nobody asked for",
            "101 Switching Protocols",
            format!("{right}Sec-WebSocket-Protocol: x\r\n"),
        ),
    ];
    for (name, status, fields) in cases {
        let answer = connects(address.clone(), &listener, "");
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let asked = frames::read_head(&mut stream).await;
        let key = accept_of(field(&asked, "sec-websocket-key").expect("a key"));
        let head = format!("HTTP/1.1 {status}\r\n{}\r\n", fields.replace("KEY", &key));
        stream.write_all(head.as_bytes()).await.expect("sent");
        let ended = tokio::time::timeout(TIMEOUT, answer)
            .await
            .expect("in time");
        assert_eq!(
            ended.expect("an answer"),
            json!([["error"], ["close", 1006, "", false]]),
            "{name}"
        );
        drop(stream);
    }
    running.interrupt().await;
}
