//! Heads of requests and answers, translated for guests.
//!
//! No I/O. A guest sees the URL exactly as the client sent it (nothing is
//! decoded, so an encoded `?` stays one), and the headers as received minus
//! those that concern one connection only and those that say who the client is
//! (`gateway::forwarded`). An answer of a guest is checked before a byte of it
//! is sent, and `origin_guard` removes what would reach other apps. Errors of the
//! gateway are made in `api/error` and do not come here. Called by `gateway` and its
//! modules, and by `api` for the host.
//!
//! A rule about a field changes `api/fuzz` as well, which checks for any request and
//! any answer which fields there are. ARCHITECTURE.md ("Where to add") has the whole way.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode, Uri, Version};
use wapo_host::limits::RESPONSE_HEADERS_MAX;
use wapo_host::{RequestHead, ResponseHead};
use wapo_rpc::signed_answer::OURS;

use super::forwarded::{self, Origin};
use super::origin_guard::{OriginGuard, Place};
use crate::api::error::ApiError;
use crate::api::http2::ConnectProtocol;
use crate::error::WorkerError;
use crate::limits::{RESPONSE_HEAD_BYTES_MAX, URL_BYTES_MAX};

/// Headers that concern one connection, besides those that `Connection` names
/// (RFC 9110, section 7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fields that say how a message is to be read; as trailers they come too late
/// (RFC 9110, section 6.5.1).
const NOT_IN_TRAILERS: &[&str] = &[
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "host",
    "set-cookie",
    "trailer",
];

/// The head that a guest sees, for a path (and query) below its root.
pub(in crate::api) fn request_head(
    parts: &Parts,
    host: &Authority,
    path_and_query: &str,
    place: Place,
    origin: &Origin<'_>,
) -> Result<RequestHead, ApiError> {
    check_framing(parts)?;
    let is_trusted = origin.is_trusted;
    let url = [origin.scheme, "://", host.as_str(), path_and_query];
    if url.iter().map(|part| part.len()).sum::<usize>() > URL_BYTES_MAX {
        return Err(ApiError::UrlTooLong);
    }
    let named = connection_options(&parts.headers);
    let switch = wants_switch(parts);
    let method = match switch {
        Switch::Connect => "GET",
        Switch::None | Switch::Upgrade => parts.method.as_str(),
    };
    let mut head = RequestHead::new(method, &url, parts.headers.len() + 5);
    // One host for all: the URL's is the one that counts (RFC 9112, section 3.2.2).
    head.push("host", host.as_str());
    for (name, value) in &parts.headers {
        let is_cookie = name == header::COOKIE && !place.passes_cookies();
        let is_upgrade = name == header::UPGRADE && switch == Switch::Upgrade;
        let is_left_out = is_cookie
            || name == header::HOST
            || name == header::EXPECT
            || forwarded::is_replaced(name, is_trusted)
            || (is_hop_by_hop(name, &named) && !is_upgrade);
        if !is_left_out {
            head.push(name.as_str(), &text_of(value));
        }
    }
    match switch {
        Switch::None => {}
        Switch::Upgrade => head.push("connection", "upgrade"),
        Switch::Connect => push_upgrade(&mut head, parts),
    }
    if takes_trailers(parts) {
        head.push("te", "trailers");
    }
    for (name, value) in &origin.headers {
        head.push(name, value);
    }
    Ok(head)
}

/// Refuses encodings of the whole body but the one that is taken off here, and
/// expectations that nobody will meet.
fn check_framing(parts: &Parts) -> Result<(), ApiError> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !codings.next().is_none_or(is_chunked) || codings.next().is_some() {
        return Err(ApiError::BadRequest(
            "the only transfer coding is `chunked`",
        ));
    }
    let mut expectations = parts.headers.get_all(header::EXPECT).iter();
    let is_met = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if expectations.all(is_met) {
        Ok(())
    } else {
        Err(ApiError::ExpectationFailed)
    }
}

/// Whether and how a client wants to speak another protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Switch {
    None,
    /// On the connection, which is HTTP/1.1 so far.
    Upgrade,
    /// On one stream of HTTP/2.
    Connect,
}

/// Reads it.
///
/// An upgrade is none when a body comes first, or when it is to HTTP/2, which is
/// spoken from the start or not at all: such a request is answered as if nothing
/// had been asked.
pub(in crate::api) fn wants_switch(parts: &Parts) -> Switch {
    if parts.method == Method::CONNECT && parts.extensions.get::<ConnectProtocol>().is_some() {
        return Switch::Connect;
    }
    let headers = &parts.headers;
    let Some(protocol) = headers.get(header::UPGRADE) else {
        return Switch::None;
    };
    let length = headers.get(header::CONTENT_LENGTH);
    let is_upgrade = parts.version == Version::HTTP_11
        && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && length.is_none_or(|length| length.as_bytes() == b"0")
        && connection_options(headers)
            .iter()
            .any(|option| option == "upgrade");
    match is_upgrade {
        true => Switch::Upgrade,
        false => Switch::None,
    }
}

/// What an upgrade says in HTTP/1.1, which is what apps know. Over HTTP/2 there is
/// no key of a WebSocket; programs that check one get a random one, and nobody
/// looks at their answer to it (RFC 8441, section 5.1).
fn push_upgrade(head: &mut RequestHead, parts: &Parts) {
    let protocol = parts.extensions.get::<ConnectProtocol>();
    let protocol = protocol.map_or("", |protocol| protocol.0.as_str());
    head.push("connection", "upgrade");
    head.push("upgrade", protocol);
    let is_web_socket = protocol.eq_ignore_ascii_case("websocket");
    if is_web_socket && !parts.headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        let key = data_encoding::BASE64.encode(&rand::random::<[u8; 16]>());
        head.push("sec-websocket-key", &key);
    }
}

/// Whether the client looks at trailers.
fn takes_trailers(parts: &Parts) -> bool {
    let values = parts.headers.get_all(header::TE).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Who the client thinks it is talking to.
///
/// The text becomes a part of the guest's URL, so it must be an authority and
/// nothing else, and there must be one only.
pub(in crate::api) fn host(
    uri: &Uri,
    headers: &HeaderMap,
    version: Version,
) -> Result<Authority, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("the Host header is not a host name");
    let mut values = headers.get_all(header::HOST).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::BadRequest("there is more than one Host header"));
    }
    let authority = match (uri.authority(), first) {
        (Some(authority), _) => authority.clone(),
        (None, Some(value)) => Authority::try_from(value.as_bytes()).map_err(|_| BAD)?,
        (None, None) if version == Version::HTTP_10 => Authority::from_static("localhost"),
        (None, None) => return Err(ApiError::BadRequest("the Host header is missing")),
    };
    if authority.as_str().contains('@') {
        return Err(BAD);
    }
    Ok(authority)
}

/// Trailers of a request, for a guest.
pub(in crate::api) fn request_trailers(trailers: &HeaderMap) -> Vec<(String, String)> {
    let allowed = trailers.iter().filter(|(name, _)| is_trailer(name));
    allowed
        .map(|(name, value)| (name.as_str().to_owned(), text_of(value).into_owned()))
        .collect()
}

/// Trailers of a guest's answer; `None` if there are none, an error if they
/// cannot be sent.
pub(in crate::api) fn response_trailers(
    fields: Vec<(String, String)>,
) -> Result<Option<HeaderMap>, WorkerError> {
    let fields = fields.into_iter();
    let fields = fields.map(|(name, value)| (name.into(), value.into()));
    let headers = header_map(fields.collect())?;
    let allowed = headers.iter().filter(|(name, _)| is_trailer(name));
    let trailers: HeaderMap = allowed
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok((!trailers.is_empty()).then_some(trailers))
}

fn is_trailer(name: &HeaderName) -> bool {
    !is_hop_by_hop(name, &[])
        && !NOT_IN_TRAILERS.contains(&name.as_str())
        && !OURS.contains(&name.as_str())
        && !forwarded::is_replaced(name, false)
}

/// Checks what a guest wants to send.
fn header_map(fields: Vec<(Bytes, Bytes)>) -> Result<HeaderMap, WorkerError> {
    const INVALID: WorkerError = WorkerError::InvalidAnswer;
    let bytes: usize = fields.iter().map(|(n, v)| n.len() + v.len()).sum();
    if fields.len() > RESPONSE_HEADERS_MAX || bytes > RESPONSE_HEAD_BYTES_MAX {
        return Err(INVALID);
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(&name).map_err(|_| INVALID)?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| INVALID)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// What the `Connection` headers list, in lower case.
fn connection_options(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect()
}

fn is_hop_by_hop(name: &HeaderName, named: &[String]) -> bool {
    HOP_BY_HOP.contains(&name.as_str()) || named.iter().any(|option| option == name.as_str())
}

/// A header's value as text. Bytes that are not UTF-8 are read as Latin-1, which
/// is what they were before the web settled on UTF-8.
fn text_of(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

/// The answer that a guest's head describes, still without a body.
pub(in crate::api) fn response_head(
    head: ResponseHead,
    guard: &OriginGuard,
) -> Result<Response<()>, WorkerError> {
    const INVALID: WorkerError = WorkerError::InvalidAnswer;
    let status = StatusCode::from_u16(head.status).map_err(|_| INVALID)?;
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.is_informational() && !is_switch {
        return Err(INVALID);
    }
    let mut headers = header_map(head.fields)?;
    let named = connection_options(&headers);
    let is_left_out = |name: &HeaderName| {
        let is_upgrade = name == header::UPGRADE && is_switch;
        // Only the worker says what the worker has signed.
        let is_signature = OURS.contains(&name.as_str());
        is_signature || (is_hop_by_hop(name, &named) && !is_upgrade)
    };
    let left_out = headers.keys().filter(|name| is_left_out(name));
    let left_out: Vec<HeaderName> = left_out.cloned().collect();
    for name in left_out {
        headers.remove(name);
    }
    guard.clean(&mut headers);
    if headers.contains_key(header::CONTENT_LENGTH) && (is_switch || !has_length(&headers)) {
        return Err(INVALID);
    }
    if is_switch {
        let upgrade = HeaderValue::from_static("upgrade");
        headers.insert(header::CONNECTION, upgrade);
    } else if named.iter().any(|option| option == "close") {
        // An app may end a connection of HTTP/1.1.
        let close = HeaderValue::from_static("close");
        headers.insert(header::CONNECTION, close);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Whether there is one length and it is a number. Anything else would let a
/// guest desynchronise a proxy in front of us.
fn has_length(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let is_number = value.as_bytes().iter().all(u8::is_ascii_digit);
    is_number && text_of(value).parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
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
}
