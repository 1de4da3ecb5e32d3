//! Requests that two readers could understand differently.
//!
//! Each row is sent on a connection of its own, with a second request hidden in
//! it. What counts: the hidden request never reaches the guest, what is not
//! clear is refused, and the next connection works.

use e2e::{Daemon, guest};

use super::{Raw, get_of, path, raw, suite};

/// What has to come of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Refused with a status from 400 to 499, or closed without a word.
    Refused,
    /// One request, answered once.
    One,
    /// As `Refused`, or as `One` and then closed.
    AtMostOne,
}
use Outcome::{AtMostOne, One, Refused};

/// In place of `HIDDEN` stands a request that nobody has made.
const ROWS: &[(&str, &str, Outcome)] = &[
    // Lengths.
    (
        "two lengths",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\ncontent-length: 900\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a list of lengths",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: 0, 900\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a length with a sign",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: +0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a negative length",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a length in hex",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: 0x0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a length in two words",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: 0 0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "an empty length",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length:\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "an endless length",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999999\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "the same length twice",
        "POST PATH HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nabHIDDEN",
        AtMostOne,
    ),
    // Lengths and chunks.
    (
        "length, then chunks",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
        AtMostOne,
    ),
    (
        "chunks, then length",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\nHIDDEN",
        AtMostOne,
    ),
    // Codings.
    (
        "an unknown coding",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "chunks inside",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "another coding",
        "POST PATH HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "chunks twice",
        "POST PATH HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a quoted coding",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a coding after a vertical tab",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "chunks in HTTP/1.0",
        "POST PATH HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a space before the colon",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a tab before the colon",
        "POST PATH HTTP/1.1\r\nhost: h\r\ncontent-length\t: 0\r\n\r\nHIDDEN",
        Refused,
    ),
    // Lines.
    (
        "a folded header",
        "GET PATH HTTP/1.1\r\nhost: h\r\nx: a\r\n b: c\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a folded first header",
        "GET PATH HTTP/1.1\r\n host: h\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a bare CR in a value",
        "GET PATH HTTP/1.1\r\nhost: h\r\nx: a\rb: c\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a NUL in a value",
        "GET PATH HTTP/1.1\r\nhost: h\r\nx: a\0b\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a NUL in a name",
        "GET PATH HTTP/1.1\r\nhost: h\r\nx\0: a\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a line without a colon",
        "GET PATH HTTP/1.1\r\nhost: h\r\nnonsense\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "an empty name",
        "GET PATH HTTP/1.1\r\nhost: h\r\n: x\r\n\r\nHIDDEN",
        Refused,
    ),
    // A recipient may take a bare LF for the end of a line (RFC 9112, section 2.2).
    (
        "bare LF",
        "GET PATH HTTP/1.1\nhost: h\nconnection: close\n\nHIDDEN",
        One,
    ),
    (
        "a length behind a bare LF",
        "POST PATH HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx: a\ncontent-length: 2\r\n\r\nabHIDDEN",
        One,
    ),
    // First lines.
    (
        "two spaces",
        "GET  PATH HTTP/1.1\r\nhost: h\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a tab in the first line",
        "GET PATH\tHTTP/1.1\r\nhost: h\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "an unknown version",
        "GET PATH HTTP/1.9\r\nhost: h\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a version of the future",
        "GET PATH HTTP/3.0\r\nhost: h\r\n\r\nHIDDEN",
        Refused,
    ),
    ("no version", "GET PATH\r\nhost: h\r\n\r\nHIDDEN", Refused),
    (
        "no path",
        "GET h HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        Refused,
    ),
    (
        "a tunnel",
        "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\nconnection: close\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a question to all",
        "OPTIONS * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        Refused,
    ),
    // Hosts.
    (
        "no host",
        "GET PATH HTTP/1.1\r\nconnection: close\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "two hosts",
        "GET PATH HTTP/1.1\r\nhost: h\r\nhost: i\r\nconnection: close\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a host with a path",
        "GET PATH HTTP/1.1\r\nhost: h/x\r\nconnection: close\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a host with a name before it",
        "GET PATH HTTP/1.1\r\nhost: me@h\r\nconnection: close\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "another host in the URL",
        "GET http://iPATH HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\nHIDDEN",
        One,
    ),
    // Chunks.
    (
        "a chunk without a size",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a size that is no number",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a negative size",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a size in C",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "an endless size",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\na\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a size that is too small",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "a size before a bare LF",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    (
        "an extension with a bare LF",
        "POST PATH HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\nHIDDEN",
        Refused,
    ),
    // Hop by hop.
    (
        "a host that stays behind",
        "GET PATH HTTP/1.1\r\nhost: h\r\nconnection: close, host, content-length\r\n\r\nHIDDEN",
        One,
    ),
];

/// Statuses of all answers in what came back.
fn statuses(text: &str) -> Vec<u16> {
    let starts = text.split("HTTP/1.1 ").skip(1);
    starts.map(|rest| rest[..3].parse().unwrap()).collect()
}

fn check(name: &str, text: &str, outcome: Outcome) {
    let statuses = statuses(text);
    let is_refused = match statuses.as_slice() {
        [] => true,
        [status] => (400..500).contains(status),
        _ => false,
    };
    let is_one = statuses == [200];
    let is_right = match outcome {
        Refused => is_refused,
        One => is_one,
        AtMostOne => is_one || is_refused,
    };
    assert!(is_right, "{name}: {outcome:?} became {statuses:?}\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_one_request_becomes_another_one() {
    let app = suite().await;
    let hidden = format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", path(&app, "/panic"));
    // The guest reads the whole body before it answers.
    let to = path(&app, "/collect/100000");
    for (name, request, outcome) in ROWS {
        let before = app.usage().requests;
        let request = request.replace("PATH", &to).replace("HIDDEN", &hidden);
        let mut client = Raw::connect(app.gateway()).await;
        client.try_send(request).await;
        let (answer, _) = client.rest().await;
        check(name, &String::from_utf8_lossy(&answer), *outcome);
        let requests = app.usage().requests - before;
        assert!(requests <= 1, "{name}: {requests} requests");
        app.get("/status/200").await.expect_status(200);
    }
    let lines = app.log_lines();
    let panicked = lines
        .iter()
        .any(|line| line.text.contains("asked to panic"));
    assert!(!panicked, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_early_answer_is_read_where_the_body_ends() {
    let app = suite().await;
    let (early, next) = (path(&app, "/early"), path(&app, "/big/7"));
    let hidden = format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", path(&app, "/panic"));
    for size in [hidden.len(), 300_000] {
        let mut client = Raw::connect(app.gateway()).await;
        let body: String = hidden.chars().cycle().take(size).collect();
        let request = format!(
            "POST {early} HTTP/1.1\r\nhost: h\r\ncontent-length: {size}\r\n\r\n{body}\
             GET {next} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
        );
        client.try_send(request).await;
        let (answers, _) = client.rest().await;
        let statuses = statuses(&String::from_utf8_lossy(&answers));
        assert!(statuses == [413, 200] || statuses == [413], "{statuses:?}");
    }
    assert!(
        !app.log_lines()
            .iter()
            .any(|line| line.text.contains("panic"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_are_answered_in_their_order() {
    let app = Daemon::start().await.deploy(guest("hello-http")).await;
    let mut client = Raw::connect(app.gateway()).await;
    let names = ["a", "b", "c", "d"];
    let requests = names.map(|name| {
        let to = path(&app, &format!("/{name}"));
        format!("GET {to} HTTP/1.1\r\nhost: h\r\n\r\n")
    });
    client.send(requests.concat()).await;
    for name in names {
        let answer = client.answer().await;
        assert_eq!(answer.text(), format!("Hello, {name}!\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_connection_do_not_reach_the_guest() {
    let app = suite().await;
    let headers = "connection: keep-alive, x-hop, host, x-forwarded-for\r\nx-hop: 1\r\nx-kept: 2\r\n\
                   keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: gzip\r\n";
    let answer = get_of(app.gateway(), "h", &path(&app, "/"), headers).await;
    let text = answer.text();
    for left_out in ["connection", "x-hop", "keep-alive", "te:"] {
        assert!(!text.contains(left_out), "{left_out}: {text}");
    }
    for kept in ["x-kept: 2", "host: h", "x-forwarded-for: 127.0.0.1"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    let request = format!("GET {} HTTP/1.0\r\n\r\n", path(&app, "/"));
    let answer = raw(app.gateway(), request).await;
    assert_eq!(answer.status, 200, "HTTP/1.0 knows no Host");
}
