//! WebSockets of programs in JavaScript against RFC 6455, frame by frame: servers
//! (`WebSocketPair`) and clients (`WebSocket`).
//!
//! Each test is a table. `cargo xtask ci rest` has another implementation speak with
//! both, the package `websockets` of PyPI.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::ANY_PORT;
use crate::support::conformance::root;
use crate::support::frames::{
    self, ACCEPT, BINARY, CLOSE, CONTINUED, FIN, Frame, HANDSHAKE, PING, PONG, RSV1, RSV2, RSV3,
    TEXT, closing, head, masked, plain,
};
use crate::support::running::Running;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longest wait for frames.
const TIMEOUT: Duration = Duration::from_secs(30);

fn program(name: &str) -> PathBuf {
    root().join("guests/wapo-js/tests/websockets").join(name)
}

async fn serve(name: &str, more: &[&str]) -> (Running, String, tempfile::TempDir) {
    let place = tempfile::tempdir().expect("folder");
    let program = program(name).display().to_string();
    let arguments = [&[program.as_str()], more].concat();
    let (running, address) = Running::serving(place.path(), ANY_PORT, &arguments).await;
    (running, address, place)
}

/// A case: what is sent, and the frames that come back (first byte and payload).
/// A close frame among these ends the connection.
type Case = (&'static str, Vec<Vec<u8>>, Vec<(u8, Vec<u8>)>);

fn echo(kind: u8, payload: &[u8]) -> (u8, Vec<u8>) {
    (FIN | kind, payload.to_vec())
}

fn closed(code: u16) -> (u8, Vec<u8>) {
    (FIN | CLOSE, closing(code, b""))
}

/// Runs a table: after its case a connection must be alive (a ping is answered) or ended.
async fn run(address: &str, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (name, sent, wanted) in cases {
        let got = tokio::time::timeout(TIMEOUT, speak(address, &sent, &wanted)).await;
        match got {
            Ok(got) if got == wanted => {}
            Ok(got) => wrong.push(format!(
                "{name}: {} instead of {}",
                told(&got),
                told(&wanted)
            )),
            Err(_) => wrong.push(format!("{name}: nothing came in time")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

fn told(frames: &[(u8, Vec<u8>)]) -> String {
    let one = |(first, payload): &(u8, Vec<u8>)| {
        let shown = &payload[..payload.len().min(40)];
        format!("{first:#04x} {} {shown:?}", payload.len())
    };
    frames.iter().map(one).collect::<Vec<_>>().join(", ")
}

async fn speak(address: &str, sent: &[Vec<u8>], wanted: &[(u8, Vec<u8>)]) -> Vec<(u8, Vec<u8>)> {
    let (mut stream, answer) = frames::ask(address, HANDSHAKE).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for bytes in sent {
        // The other side may have ended it already.
        let _ = stream.write_all(bytes).await;
    }
    let mut got = Vec::new();
    while got.len() < wanted.len() {
        let Some(Frame {
            first,
            mask,
            payload,
        }) = frames::read(&mut stream).await
        else {
            return got;
        };
        assert_eq!(mask, None, "a server does not mask");
        got.push((first, payload));
        if first == FIN | CLOSE {
            // Ours is the last word, and then the server's end.
            let _ = stream.shutdown().await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            if !rest.is_empty() {
                got.push((0, rest));
            }
            return got;
        }
    }
    // Nothing else came, and the connection is open.
    let mark = masked(FIN | PING, b"the end of the case");
    stream.write_all(&mark).await.expect("it is open");
    match frames::read(&mut stream).await {
        Some(frame) if frame.payload == b"the end of the case" => {}
        frame => got.extend(frame.map(|frame| (frame.first, frame.payload))),
    }
    got
}

#[tokio::test]
async fn frames_of_messages() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let sizes = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20];
    let mut cases: Vec<Case> = Vec::new();
    for size in sizes {
        let text = vec![b'a'; size];
        cases.push((
            "a text of a size",
            vec![masked(FIN | TEXT, &text)],
            vec![echo(TEXT, &text)],
        ));
        let bytes = vec![0xfe; size];
        cases.push((
            "bytes of a size",
            vec![masked(FIN | BINARY, &bytes)],
            vec![echo(BINARY, &bytes)],
        ));
    }
    cases.extend(fragments());
    cases.extend(broken_fragments());
    cases.extend(forbidden());
    run(&address, cases).await;
    running.interrupt().await;
}

/// Section 5.4.
fn fragments() -> Vec<Case> {
    let bytewise = |frame: Vec<u8>| frame.into_iter().map(|byte| vec![byte]).collect::<Vec<_>>();
    vec![
        (
            "two fragments",
            vec![masked(TEXT, b"Hel"), masked(FIN, b"lo")],
            vec![echo(TEXT, b"Hello")],
        ),
        (
            "many fragments, some of them empty",
            [
                vec![masked(BINARY, b"")],
                vec![masked(CONTINUED, b"x"); 50],
                vec![masked(CONTINUED, b""), masked(FIN, b"")],
            ]
            .concat(),
            vec![echo(BINARY, &[b'x'; 50])],
        ),
        (
            "only empty fragments",
            vec![masked(TEXT, b""), masked(CONTINUED, b""), masked(FIN, b"")],
            vec![echo(TEXT, b"")],
        ),
        (
            "a ping between fragments is answered before the message",
            vec![
                masked(TEXT, b"a"),
                masked(FIN | PING, b"p"),
                masked(FIN, b"b"),
            ],
            vec![echo(PONG, b"p"), echo(TEXT, b"ab")],
        ),
        (
            "a pong between fragments",
            vec![
                masked(TEXT, b"a"),
                masked(FIN | PONG, b"p"),
                masked(FIN, b"b"),
            ],
            vec![echo(TEXT, b"ab")],
        ),
        (
            "a frame byte by byte",
            bytewise(masked(FIN | TEXT, "grüß".as_bytes())),
            vec![echo(TEXT, "grüß".as_bytes())],
        ),
        (
            "two messages at once",
            vec![[masked(FIN | TEXT, b"1"), masked(FIN | TEXT, b"2")].concat()],
            vec![echo(TEXT, b"1"), echo(TEXT, b"2")],
        ),
    ]
}

/// Section 5.4: fragments that fail the connection.
fn broken_fragments() -> Vec<Case> {
    vec![
        (
            "a continuation of nothing",
            vec![masked(FIN, b"x")],
            vec![closed(1002)],
        ),
        (
            "a continuation of nothing, to be continued",
            vec![masked(CONTINUED, b"x")],
            vec![closed(1002)],
        ),
        (
            "a new message within one",
            vec![masked(TEXT, b"a"), masked(FIN | TEXT, b"b")],
            vec![closed(1002)],
        ),
        (
            "a new message of the other kind within one",
            vec![masked(TEXT, b"a"), masked(BINARY, b"b")],
            vec![closed(1002)],
        ),
    ]
}

/// Sections 5.1, 5.2 and 5.5: what fails the connection.
fn forbidden() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for bit in [RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3] {
        cases.push((
            "a reserved bit",
            vec![masked(FIN | bit | TEXT, b"x")],
            vec![closed(1002)],
        ));
        cases.push((
            "a reserved bit of a ping",
            vec![masked(FIN | bit | PING, b"x")],
            vec![closed(1002)],
        ));
    }
    for kind in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push((
            "a reserved kind",
            vec![masked(FIN | kind, b"x")],
            vec![closed(1002)],
        ));
    }
    for kind in [CLOSE, PING, PONG] {
        cases.push((
            "a control frame in parts",
            vec![masked(kind, b"")],
            vec![closed(1002)],
        ));
        let long = [closing(1000, b""), vec![b'x'; 124]].concat();
        cases.push((
            "a long control frame",
            vec![masked(FIN | kind, &long)],
            vec![closed(1002)],
        ));
    }
    cases.push(("no mask", vec![plain(FIN | TEXT, b"x")], vec![closed(1002)]));
    cases.push((
        "no mask of a ping",
        vec![plain(FIN | PING, b"x")],
        vec![closed(1002)],
    ));
    let mask = [1, 2, 3, 4];
    let huge = [head(FIN | BINARY, 0x80, (16 << 20) + 1), mask.to_vec()].concat();
    cases.push(("a frame beyond the limit", vec![huge], vec![closed(1009)]));
    let absurd = [head(FIN | BINARY, 0x80, 1 << 62), mask.to_vec()].concat();
    cases.push(("a frame of 2^62 bytes", vec![absurd], vec![closed(1009)]));
    cases
}

#[tokio::test]
async fn pings_and_pongs() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let longest = [0xff; 125];
    let many: Vec<Vec<u8>> = (0..50).map(|i: u8| masked(FIN | PING, &[i])).collect();
    let answers: Vec<_> = (0..50).map(|i: u8| echo(PONG, &[i])).collect();
    let cases: Vec<Case> = vec![
        (
            "an empty ping",
            vec![masked(FIN | PING, b"")],
            vec![echo(PONG, b"")],
        ),
        (
            "a ping",
            vec![masked(FIN | PING, b"Hello")],
            vec![echo(PONG, b"Hello")],
        ),
        (
            "a ping of no text",
            vec![masked(FIN | PING, &[0, 0xff, 0xfe])],
            vec![echo(PONG, &[0, 0xff, 0xfe])],
        ),
        (
            "the longest ping",
            vec![masked(FIN | PING, &longest)],
            vec![echo(PONG, &longest)],
        ),
        (
            "a pong that nobody asked for",
            vec![masked(FIN | PONG, b"x")],
            vec![],
        ),
        (
            "a ping between messages",
            vec![
                masked(FIN | PONG, b""),
                masked(FIN | PING, b"p"),
                masked(FIN | TEXT, b"t"),
            ],
            vec![echo(PONG, b"p"), echo(TEXT, b"t")],
        ),
    ];
    run(&address, cases).await;
    // One at a time: answers to older pings may be left out (section 5.5.3).
    let (mut stream, _) = frames::ask(&address, HANDSHAKE).await;
    let mut got = Vec::new();
    for ping in many {
        stream.write_all(&ping).await.expect("sent");
        let frame = frames::read(&mut stream).await.expect("a pong");
        got.push((frame.first, frame.payload));
    }
    assert_eq!(got, answers);
    running.interrupt().await;
}

#[tokio::test]
async fn texts_are_utf_8() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let good: [&[u8]; 6] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        b"\xf0\x90\x80\x80",
        b"\xf4\x8f\xbf\xbf",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbf\0",
    ];
    let bad: [&[u8]; 9] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xed\xbf\xbf",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\x80",
        b"\xff",
        b"\xce",
    ];
    let mut cases: Vec<Case> = Vec::new();
    for text in good {
        cases.push((
            "a text",
            vec![masked(FIN | TEXT, text)],
            vec![echo(TEXT, text)],
        ));
        let mut parts: Vec<Vec<u8>> = text
            .iter()
            .map(|byte| masked(CONTINUED, &[*byte]))
            .collect();
        parts[0] = masked(TEXT, &text[..1]);
        parts.push(masked(FIN, b""));
        cases.push(("a text in single bytes", parts, vec![echo(TEXT, text)]));
    }
    for text in bad {
        cases.push((
            "no text",
            vec![masked(FIN | TEXT, text)],
            vec![closed(1007)],
        ));
        let parts = vec![
            masked(TEXT, b"ok"),
            masked(CONTINUED, text),
            masked(FIN, b""),
        ];
        cases.push(("no text in fragments", parts, vec![closed(1007)]));
        cases.push((
            "bytes need not be a text",
            vec![masked(FIN | BINARY, text)],
            vec![echo(BINARY, text)],
        ));
    }
    run(&address, cases).await;
    running.interrupt().await;
}

#[tokio::test]
async fn closes_of_a_client() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let close = |payload: &[u8]| vec![masked(FIN | CLOSE, payload)];
    let mut cases: Vec<Case> = vec![
        ("no code", close(b""), vec![(FIN | CLOSE, vec![])]),
        ("half a code", close(&[3]), vec![closed(1002)]),
        (
            "a code and the longest reason",
            close(&closing(1000, &[b'r'; 123])),
            vec![(FIN | CLOSE, closing(1000, &[b'r'; 123]))],
        ),
        (
            "a reason that is no text",
            close(&closing(1000, b"\xce\xba\xed\xa0\x80")),
            vec![closed(1007)],
        ),
        (
            "data after the end",
            vec![
                masked(FIN | CLOSE, &closing(1000, b"")),
                masked(FIN | TEXT, b"late"),
            ],
            vec![closed(1000)],
        ),
        (
            "the end within a message",
            vec![
                masked(TEXT, b"half"),
                masked(FIN | CLOSE, &closing(1001, b"")),
            ],
            vec![closed(1001)],
        ),
        (
            "a message before the end",
            vec![
                masked(FIN | TEXT, b"last"),
                masked(FIN | CLOSE, &closing(1000, b"")),
            ],
            vec![echo(TEXT, b"last"), closed(1000)],
        ),
    ];
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        cases.push(("a code", close(&closing(code, b"")), vec![closed(code)]));
    }
    // Section 7.4: reserved, or of nobody.
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        cases.push((
            "a code that cannot be sent",
            close(&closing(code, b"")),
            vec![(FIN | CLOSE, closing(1002, b"Protocol violation"))],
        ));
    }
    run(&address, cases).await;
    running.interrupt().await;
}

#[tokio::test]
async fn closes_of_a_program() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let ask = |text: &str| vec![masked(FIN | TEXT, text.as_bytes())];
    let cases: Vec<Case> = vec![
        ("a code", ask("close 1000"), vec![closed(1000)]),
        (
            "a code of a program",
            ask("close 4321 bye"),
            vec![(FIN | CLOSE, closing(4321, b"bye"))],
        ),
        (
            "a reason",
            ask("close 3000 grüß"),
            vec![(FIN | CLOSE, closing(3000, "grüß".as_bytes()))],
        ),
    ];
    for (name, sent, wanted) in cases {
        let (mut stream, _) = frames::ask(&address, HANDSHAKE).await;
        stream.write_all(&sent[0]).await.expect("sent");
        let frame = frames::read(&mut stream).await.expect("a frame");
        assert_eq!(vec![(frame.first, frame.payload.clone())], wanted, "{name}");
        // The client confirms, and the server ends the connection.
        stream
            .write_all(&masked(FIN | CLOSE, &frame.payload))
            .await
            .expect("sent");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok() && rest.is_empty(), "{name}: {rest:?}");
    }
    let ends: Value = serde_json::from_str(&ends(&address, 3).await).expect("JSON");
    let wanted = json!([
        { "code": 1000, "reason": "", "wasClean": true },
        { "code": 4321, "reason": "bye", "wasClean": true },
        { "code": 3000, "reason": "grüß", "wasClean": true },
    ]);
    assert_eq!(ends, wanted);
    running.interrupt().await;
}

/// What the program heard of the ends of connections, when there are that many.
async fn ends(address: &str, count: usize) -> String {
    let mut all: Vec<Value> = Vec::new();
    for _ in 0..200 {
        let answer = crate::support::get(address, "/ends").await;
        let (_, body) = answer.rsplit_once("\r\n\r\n").expect("a body");
        let more: Vec<Value> = serde_json::from_str(body).expect("a list");
        all.extend(more);
        if all.len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Value::from(all).to_string()
}

#[tokio::test]
async fn a_message_in_fragments_has_the_limit_of_one() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let piece = vec![7; 1 << 20];
    let mut sent = vec![masked(BINARY, &piece)];
    sent.extend(vec![masked(CONTINUED, &piece); 15]);
    sent.push(masked(FIN, b"x"));
    let (mut stream, _) = frames::ask(&address, HANDSHAKE).await;
    for bytes in sent {
        let _ = stream.write_all(&bytes).await;
    }
    let frame = tokio::time::timeout(TIMEOUT, frames::read(&mut stream)).await;
    let frame = frame.expect("in time").expect("a frame");
    assert_eq!((frame.first, frame.payload), closed(1009));
    running.interrupt().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_of() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let (stream, answer) = frames::ask(&address, HANDSHAKE).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    drop(stream);
    let ends: Value = serde_json::from_str(&ends(&address, 1).await).expect("JSON");
    assert_eq!(
        ends,
        json!([{ "code": 1006, "reason": "", "wasClean": false }])
    );
    running.interrupt().await;
}

/// A handshake: its name, its fields, and whether it is right.
type Handshake = (&'static str, Vec<(&'static str, &'static str)>, bool);

#[tokio::test]
async fn handshakes() {
    let (running, address, _place) = serve("echo.js", &[]).await;
    let with = |name: &'static str, value: &'static str| {
        let mut fields: Vec<(&str, &str)> = HANDSHAKE.to_vec();
        fields.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
        fields
    };
    let cases: Vec<Handshake> = vec![
        ("right", HANDSHAKE.to_vec(), true),
        ("in other case", with("Upgrade", "WebSocket"), true),
        (
            "among other tokens",
            with("Connection", "keep-alive, Upgrade"),
            true,
        ),
        ("no version", with("Sec-WebSocket-Version", ""), false),
        ("another version", with("Sec-WebSocket-Version", "8"), false),
        ("no key", with("Sec-WebSocket-Key", ""), false),
        ("a short key", with("Sec-WebSocket-Key", "c2hvcnQ="), false),
        (
            "a key that is no base64",
            with("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!!!"),
            false,
        ),
        ("no upgrade", with("Upgrade", ""), false),
        ("another protocol", with("Upgrade", "h2c"), false),
    ];
    for (name, fields, is_right) in cases {
        let (_stream, head) = frames::ask(&address, &fields).await;
        assert_eq!(
            head.starts_with("HTTP/1.1 101 "),
            is_right,
            "{name}: {head}"
        );
        if is_right {
            let lower = head.to_lowercase();
            assert!(head.contains(ACCEPT), "{name}: {head}");
            assert!(
                lower.contains("upgrade: websocket") && lower.contains("connection: upgrade"),
                "{head}"
            );
            assert!(!lower.contains("sec-websocket-extensions"), "{head}");
        }
    }
    let asked = [HANDSHAKE, &[("Sec-WebSocket-Protocol", "chat, superchat")]].concat();
    let (_stream, head) = frames::ask(&address, &asked).await;
    assert!(
        head.to_lowercase()
            .contains("sec-websocket-protocol: chat\r\n"),
        "{head}"
    );
    running.interrupt().await;
}
