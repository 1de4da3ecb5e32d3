//! Tests of the translation of heads.

use hyper::Request;

use super::*;

const SHARED: Place = Place::Shared {
    passes_cookies: false,
};

fn parts(request: hyper::http::request::Builder) -> Parts {
    request.body(()).expect("request").into_parts().0
}

fn pairs(head: &RequestHead) -> Vec<(&str, &str)> {
    head.fields().collect()
}

/// What a guest sees of a request from 192.0.2.1:5.
fn request_head(parts: &Parts, path: &str, place: Place) -> Result<RequestHead, ApiError> {
    let host = host(&parts.uri, &parts.headers, parts.version)?;
    let peer: std::net::SocketAddr = "192.0.2.1:5".parse().expect("address");
    let origin = Origin::new(peer, &[], &host, &parts.headers);
    super::request_head(parts, &host, path, place, &origin)
}

/// As [`pairs`], without what every request has.
fn sent(head: &RequestHead) -> Vec<(&str, &str)> {
    let mut pairs = pairs(head);
    pairs.retain(|(name, _)| !name.starts_with("x-forwarded-"));
    pairs
}

#[test]
fn urls_stay_as_they_were_sent() {
    let parts = parts(Request::get("/app/x/").header("Host", "h:1"));
    let path = "/a%20b/x%3Fy//.well-known/../z/?q=1&b=%20";
    let head = request_head(&parts, path, SHARED).expect("head");
    assert_eq!(head.url(), format!("http://h:1{path}"));
    assert_eq!(head.method(), "GET");
}

#[test]
fn headers_of_the_connection_stay_behind() {
    let request = Request::post("/")
        .header("Host", "h")
        .header("Connection", "keep-alive, X-Secret")
        .header("X-Secret", "1")
        .header("Keep-Alive", "timeout=5")
        .header("TE", "trailers")
        .header("Transfer-Encoding", "chunked")
        .header("Upgrade", "h2c")
        .header("Cookie", "a=b")
        .header("Accept", "text/html")
        .header("Accept", "*/*");
    let parts = parts(request);
    let head = request_head(&parts, "/", SHARED).expect("head");
    let expected = [
        ("host", "h"),
        ("accept", "text/html"),
        ("accept", "*/*"),
        ("te", "trailers"),
    ];
    assert_eq!(sent(&head), expected);
    let head = request_head(&parts, "/", Place::Own).expect("head");
    assert!(pairs(&head).contains(&("cookie", "a=b")));
}

#[test]
fn a_guest_learns_who_asks_from_us_only() {
    let request = Request::get("/")
        .header("Host", "h:1")
        .header("X-Forwarded-For", "10.0.0.1")
        .header("X-Forwarded-Proto", "https")
        .header("Forwarded", "for=10.0.0.1");
    let head = request_head(&parts(request), "/", SHARED).expect("head");
    let expected = [
        ("host", "h:1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "h:1"),
    ];
    assert_eq!(pairs(&head), expected);
    assert_eq!(head.url(), "http://h:1/");
}

#[test]
fn codings_and_expectations_that_nobody_knows_are_refused() {
    for (name, value) in [
        ("transfer-encoding", "gzip, chunked"),
        ("transfer-encoding", "chunked, chunked"),
        ("transfer-encoding", "\x0bchunked"),
        ("expect", "the-unexpected"),
    ] {
        let request = Request::get("/").header("Host", "h");
        let value = HeaderValue::from_bytes(value.as_bytes());
        let Ok(value) = value else { continue };
        let refused = request_head(&parts(request.header(name, value)), "/", SHARED);
        assert!(refused.is_err(), "{name}");
    }
    let twice = Request::get("/")
        .header("Host", "h")
        .header("Transfer-Encoding", "chunked")
        .header("Transfer-Encoding", "chunked");
    assert!(request_head(&parts(twice), "/", SHARED).is_err());
    let usual = Request::get("/")
        .header("Host", "h")
        .header("Transfer-Encoding", "Chunked")
        .header("Expect", "100-Continue");
    let head = request_head(&parts(usual), "/", SHARED).expect("head");
    assert_eq!(sent(&head), [("host", "h")]);
}

#[test]
fn trailers_do_not_change_how_a_message_is_read() {
    let fields = [("Grpc-Status", "0"), ("Content-Length", "5"), ("Host", "x")];
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let trailers = response_trailers(fields).expect("valid").expect("some");
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["grpc-status"], "0");
    let back = request_trailers(&trailers);
    assert_eq!(back, [("grpc-status".to_owned(), "0".to_owned())]);
    assert_eq!(response_trailers(Vec::new()), Ok(None));
    let bad = vec![("x".to_owned(), "a\nb".to_owned())];
    assert_eq!(response_trailers(bad), Err(WorkerError::InvalidAnswer));
}

#[test]
fn upgrades_with_a_body_and_to_http_2_are_none() {
    let request = || {
        Request::post("/")
            .header("Host", "h")
            .header("Connection", "Upgrade, HTTP2-Settings")
    };
    for request in [
        request().header("Upgrade", "h2c"),
        request().header("Upgrade", "x").header("Content-Length", 1),
        request()
            .header("Upgrade", "x")
            .header("Transfer-Encoding", "chunked"),
    ] {
        let parts = parts(request);
        assert_eq!(wants_switch(&parts), Switch::None);
        let head = request_head(&parts, "/", SHARED).expect("head");
        assert!(!pairs(&head).iter().any(|(name, _)| *name == "upgrade"));
    }
    let plain = request().header("Upgrade", "x").header("Content-Length", 0);
    assert_eq!(wants_switch(&parts(plain)), Switch::Upgrade);
}

#[test]
fn upgrades_are_recognised_in_any_list() {
    let request = Request::get("/")
        .header("Host", "h")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket");
    let parts = parts(request);
    assert_eq!(wants_switch(&parts), Switch::Upgrade);
    let head = request_head(&parts, "/", SHARED).expect("head");
    assert!(pairs(&head).contains(&("upgrade", "websocket")));
    assert!(pairs(&head).contains(&("connection", "upgrade")));
}

#[test]
fn a_host_is_a_host_and_nothing_else() {
    for host in ["a/b", "a?b", "a#b", "user@host", "", "a b", "a:b:c"] {
        let parts = parts(Request::get("/").header("Host", host));
        let head = request_head(&parts, "/", SHARED);
        assert!(matches!(head, Err(ApiError::BadRequest(_))), "{host}");
    }
    let twice = Request::get("/").header("Host", "a").header("Host", "b");
    assert!(request_head(&parts(twice), "/", SHARED).is_err());
    assert!(request_head(&parts(Request::get("/")), "/", SHARED).is_err());
    let absolute = parts(Request::get("http://[::1]:80/"));
    let head = request_head(&absolute, "/", SHARED).expect("head");
    assert_eq!(head.url(), "http://[::1]:80/");
}

#[test]
fn old_bytes_are_read_as_latin_1() {
    let value = HeaderValue::from_bytes(b"caf\xe9").expect("value");
    let parts = parts(Request::get("/").header("Host", "h").header("x", value));
    let head = request_head(&parts, "/", SHARED).expect("head");
    assert!(pairs(&head).contains(&("x", "caf\u{e9}")));
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Result<Response<()>, WorkerError> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let fields = headers.iter().map(|(n, v)| (bytes(n), bytes(v)));
    let fields = fields.collect();
    let guard = OriginGuard {
        place: SHARED,
        host: Authority::from_static("h"),
        base_domain: "localhost".into(),
    };
    response_head(ResponseHead { status, fields }, &guard)
}

#[test]
fn answers_lose_what_is_not_for_the_client() {
    let response = answer(
        200,
        &[
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close, x-hop"),
            ("X-Hop", "1"),
            ("Set-Cookie", "a=b"),
            ("X-Phactory-Signature", "00"),
            ("X-Kept", "1"),
        ],
    );
    let headers = response.expect("response").into_parts().0.headers;
    assert_eq!(headers.len(), 3);
    assert_eq!(headers["connection"], "close");
    assert_eq!(headers["content-length"], "5");
    assert_eq!(headers["x-kept"], "1");
}

#[test]
fn invalid_answers_are_refused() {
    for (status, headers) in [
        (0, vec![]),
        (99, vec![]),
        (100, vec![]),
        (1000, vec![]),
        (200, vec![("bad name", "1")]),
        (200, vec![("x", "a\r\nb: c")]),
        (200, vec![("content-length", "-1")]),
        (200, vec![("content-length", "1"), ("content-length", "2")]),
        (101, vec![("content-length", "1")]),
    ] {
        let refused = answer(status, &headers);
        assert_eq!(
            refused.err(),
            Some(WorkerError::InvalidAnswer),
            "{status} {headers:?}"
        );
    }
    let many = vec![("x", "1"); RESPONSE_HEADERS_MAX + 1];
    assert!(answer(200, &many).is_err());
    let long = "x".repeat(RESPONSE_HEAD_BYTES_MAX);
    assert!(answer(200, &[("x", &long)]).is_err());
    let switch = answer(101, &[("Upgrade", "websocket")]).expect("101");
    assert_eq!(switch.headers()["connection"], "upgrade");
    assert_eq!(switch.headers()["upgrade"], "websocket");
}
