//! What fuzzers call: the readers of strangers' HTTP, and what must hold then.
//!
//! Each function takes any bytes, reads them as the daemon would, and panics
//! when a promise is broken; that bytes are refused is no finding. No I/O, and
//! nothing of the daemon calls this module. It is here because the readers are
//! private. Called by `e2e::fuzz`, which has the other targets, the seeds and
//! the changes of them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use wapo_host::limits::RESPONSE_HEADERS_MAX;
use wapo_host::net::proxy_header::{self, HEADER_BYTES_MAX, ProxyHeader};
use wapo_host::{RequestHead, ResponseHead};

use super::auth::{Gate, Host, Room};
use super::gateway::forwarded::Origin;
use super::gateway::head;
use super::gateway::origin_guard::{OriginGuard, Place};
use super::gateway::target;
use super::http2;
use crate::config::AdminToken;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, URL_BYTES_MAX};

/// Most fields of the head of a request.
const FIELDS_MAX: usize = 100;
/// The other end of every connection here; sometimes a trusted proxy.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), 5);
/// Networks of proxies, where some are trusted.
const PROXIES: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];
/// Fields that a guest neither sees nor sends, apart from what an upgrade needs.
const OF_THE_CONNECTION: [&str; 5] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
];
/// Where an app is reached: below a path, and under a name of its own.
const PLACES: [Place; 2] = [
    Place::Shared {
        passes_cookies: false,
    },
    Place::Own,
];
/// First bytes of a connection from a proxy that sends PROXY headers.
///
/// # Panics
///
/// When a promise is broken.
pub fn proxy_header(bytes: &[u8]) {
    let whole = proxy_header::parse(bytes);
    if let Ok(Some(header)) = whole {
        assert!(header.bytes <= HEADER_BYTES_MAX.min(bytes.len()));
        // Where it ends does not depend on what follows.
        assert_eq!(proxy_header::parse(&bytes[..header.bytes]), whole);
    }
    // However it is cut, more bytes never change a verdict.
    for cut in 0..bytes.len().min(HEADER_BYTES_MAX + 1) {
        match proxy_header::parse(&bytes[..cut]) {
            Ok(None) => assert!(cut < HEADER_BYTES_MAX, "endless"),
            Ok(Some(header)) => {
                assert_eq!(whole, Ok(Some(header)));
                assert_eq!(header.bytes, cut, "bytes that were not its own");
                break;
            }
            Err(_) => assert!(whole.is_err()),
        }
    }
    // What was understood is what the line of version 1 says.
    if let Ok(Some(ProxyHeader {
        client: Some(client),
        ..
    })) = whole
    {
        let (kind, nobody) = match client {
            SocketAddr::V4(_) => ("TCP4", "0.0.0.0"),
            SocketAddr::V6(_) => ("TCP6", "::"),
        };
        let (ip, port) = (client.ip(), client.port());
        let line = format!("PROXY {kind} {ip} {nobody} {port} 0\r\n");
        let again = proxy_header::parse(line.as_bytes());
        assert_eq!(
            again.map(|one| one.and_then(|one| one.client)),
            Ok(Some(client))
        );
    }
}

/// The name of its own, and the domain that it shares with other apps.
const HOST: &str = "shop.localhost";
const BASE_DOMAIN: &str = "localhost";
/// More polls than a connection in memory needs.
const POLLS_MAX: usize = 1000;

/// Requests as they arrive on a connection of HTTP/1.
pub fn request_head(bytes: &[u8]) {
    for parts in requests(bytes) {
        check_request(&parts);
    }
}

/// Lets hyper read everything there is.
fn requests(bytes: &[u8]) -> Vec<Parts> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        seen.borrow_mut().push(request.into_parts().0);
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let io = tokio::io::join(Cursor::new(bytes.to_vec()), tokio::io::sink());
    let mut connection = pin!(
        http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(TokioIo::new(io), service)
    );
    let mut context = Context::from_waker(Waker::noop());
    let has_ended =
        (0..POLLS_MAX).any(|_| Future::poll(connection.as_mut(), &mut context).is_ready());
    assert!(has_ended, "a connection that has ended goes on");
    seen.take()
}

/// Crumbs of cookies become one field that holds all of them.
fn check_joined(given: &HeaderMap) {
    let mut headers = given.clone();
    http2::join_cookies(&mut headers);
    let count = given.get_all(header::COOKIE).iter().count();
    let joined: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    assert_eq!(joined.len(), count.min(1));
    for crumb in given.get_all(header::COOKIE) {
        let (whole, part) = (joined[0].as_bytes(), crumb.as_bytes());
        let is_in = part.is_empty() || whole.windows(part.len()).any(|some| some == part);
        assert!(is_in && !whole.contains(&b'\n'), "{joined:?}");
    }
}

fn check_request(parts: &Parts) {
    check_joined(&parts.headers);
    let fields = parts.headers.len();
    assert!(fields <= FIELDS_MAX, "a head of {fields} fields");
    let Ok(host) = head::host(&parts.uri, &parts.headers, parts.version) else {
        return;
    };
    check_host(&host);
    let whole = parts.uri.path_and_query();
    let path = whole.map_or("", |both| both.as_str());
    if !path.starts_with('/') {
        return;
    }
    for trusted in [Vec::new(), proxies()] {
        for place in PLACES {
            let origin = Origin::new(PEER, &trusted, &host, &parts.headers);
            check_origin(&origin, &trusted, &parts.headers);
            let url = format!("{}://{host}{path}", origin.scheme);
            let Ok(head) = head::request_head(parts, &host, path, place, &origin) else {
                continue;
            };
            assert_eq!(head.method(), parts.method.as_str());
            assert_eq!(head.url(), url);
            assert!(url.len() <= URL_BYTES_MAX);
            check_guests_fields(&head, &host, place);
        }
    }
}

/// An authority that becomes a part of the guest's URL is that and nothing else.
fn check_host(host: &Authority) {
    let text = host.as_str();
    let ends = |byte: u8| b"/?#@\\".contains(&byte) || byte <= b' ';
    assert!(!text.is_empty() && !text.bytes().any(ends), "{text:?}");
    let uri: hyper::Uri = format!("http://{text}/x").parse().expect("a URL");
    assert_eq!(uri.authority(), Some(host));
    assert_eq!(uri.path(), "/x");
}

/// What a guest sees of the fields of a request.
fn check_guests_fields(head: &RequestHead, host: &Authority, place: Place) {
    let count = |name: &str| head.fields().filter(|(own, _)| *own == name).count();
    for once in [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ] {
        assert_eq!(count(once), 1, "{once} in {head:?}");
    }
    assert!(head.fields().any(|field| field == ("host", host.as_str())));
    for (name, value) in head.fields() {
        let is_whole = !value.contains(['\r', '\n', '\0']);
        assert!(is_whole, "a value goes on in the next line: {head:?}");
        assert!(HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name:?}");
        assert!(!OF_THE_CONNECTION.contains(&name), "{head:?}");
        match name {
            "connection" => assert_eq!(value, "upgrade"),
            "te" => assert_eq!(value, "trailers"),
            "cookie" => assert!(place.passes_cookies()),
            "expect" => panic!("an expectation is for the server: {head:?}"),
            _ => {}
        }
    }
    assert_eq!(count("upgrade") > 0, count("connection") > 0, "{head:?}");
}

/// What is said about the client: the first line is the host, then a field a line.
pub fn forwarded(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let host = lines.next().map(Authority::try_from);
    let Some(Ok(host)) = host else {
        return;
    };
    if host.as_str().contains('@') {
        return;
    }
    let headers = fields(lines);
    for trusted in [Vec::new(), proxies()] {
        let origin = Origin::new(PEER, &trusted, &host, &headers);
        check_origin(&origin, &trusted, &headers);
    }
}

fn proxies() -> Vec<IpNet> {
    PROXIES.map(|net| net.parse().expect("a network")).to_vec()
}

/// The lines that are fields.
fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(field) {
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            let _ = headers.try_append(name, value);
        }
    }
    headers
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

fn check_origin(origin: &Origin<'_>, trusted: &[IpNet], headers: &HeaderMap) {
    let is_proxy = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let [(_, chain), (_, scheme), (_, host)] = &origin.headers;
    assert_eq!(&**scheme, origin.scheme);
    assert!(["http", "https"].contains(&origin.scheme));
    assert!(chain.ends_with(&PEER.ip().to_string()), "{origin:?}");
    check_host(&host.parse().expect("an authority"));
    assert_eq!(origin.is_trusted, is_proxy(PEER.ip()));
    if !origin.is_trusted {
        assert_eq!((origin.client, origin.scheme), (PEER, "http"));
        assert_eq!(**chain, PEER.ip().to_string());
        return;
    }
    let client = origin.client;
    if client == PEER {
        return;
    }
    let values = headers.get_all("x-forwarded-for").iter();
    let mut given = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|entry| ip(entry.trim()));
    assert!(given.any(|ip| ip == client.ip()), "nobody said {client}");
    assert_eq!(client.port(), 0);
    if !is_proxy(client.ip()) {
        // What a client puts in front of the list changes nothing.
        let mut invented = HeaderMap::new();
        invented.insert("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
        for value in headers.get_all("x-forwarded-for") {
            let _ = invented.try_append("x-forwarded-for", value.clone());
        }
        let host = Authority::from_static("h");
        let again = Origin::new(PEER, trusted, &host, &invented);
        assert_eq!(again.client, client);
    }
}

/// An address in any of the forms that proxies write.
fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok().map(|both| both.ip());
    let ip = bare.parse().ok().or_else(with_port);
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// The head of a guest's answer: its status, then a field a line, in which `\r`,
/// `\n` and `\0` are written with two characters. The fields are also trailers.
pub fn answer_head(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let Some(Ok(status)) = status.map(str::parse) else {
        return;
    };
    let shared = |bytes: &[u8]| Bytes::from(unescaped(bytes));
    let fields: Vec<(Bytes, Bytes)> = lines
        .filter_map(field)
        .map(|(name, value)| (shared(name), shared(value)))
        .collect();
    check_trailers(&fields);
    for place in PLACES {
        let fields = fields.clone();
        let given = ResponseHead { status, fields };
        let guard = OriginGuard {
            place,
            host: Authority::from_static(HOST),
            base_domain: BASE_DOMAIN.into(),
        };
        if let Ok(response) = head::response_head(given, &guard) {
            check_response(&response, &headers_of(bytes), place);
        }
    }
}

/// The fields of a head, read once more and without the daemon's rules.
fn headers_of(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lines = bytes.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.filter_map(field);
    fields
        .map(|(name, value)| (unescaped(name).to_ascii_lowercase(), unescaped(value)))
        .collect()
}

fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let special = match rest {
            [b'\\', b'r', ..] => Some(b'\r'),
            [b'\\', b'n', ..] => Some(b'\n'),
            [b'\\', b'0', ..] => Some(0),
            _ => None,
        };
        plain.push(special.unwrap_or(*first));
        rest = if special.is_some() { &tail[1..] } else { tail };
    }
    plain
}

fn check_response(response: &Response<()>, given: &[(Vec<u8>, Vec<u8>)], place: Place) {
    let headers = response.headers();
    let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    assert!(is_switch || !response.status().is_informational());
    // `Connection` may be ours.
    assert!(headers.len() <= RESPONSE_HEADERS_MAX + 1);
    for (name, value) in headers {
        let bytes = value.as_bytes();
        let is_whole = !bytes.iter().any(|byte| b"\r\n\0".contains(byte));
        assert!(is_whole, "a value goes on in the next line: {value:?}");
        assert!(!OF_THE_CONNECTION.contains(&name.as_str()), "{headers:?}");
        assert!(
            !wapo_rpc::signed_answer::OURS.contains(&name.as_str()),
            "{headers:?}"
        );
        assert!(is_switch || name != header::UPGRADE, "{headers:?}");
        let is_given = given
            .iter()
            .any(|(own, said)| own == name.as_str().as_bytes() && said == bytes);
        // Cookies may lose a part, and are checked below.
        let is_given = is_given || name == header::SET_COOKIE;
        assert!(is_given || name == header::CONNECTION, "{name}: {value:?}");
    }
    let given_cookies = given.iter().filter(|(name, _)| name == b"set-cookie");
    let passed = headers.get_all(header::SET_COOKIE);
    let most = match place.passes_cookies() {
        true => given_cookies.count(),
        false => 0,
    };
    assert!(passed.iter().count() <= most, "{headers:?}");
    passed.iter().for_each(check_cookie);
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let number = length.to_str().ok().and_then(|text| text.parse().ok());
        assert!(number.is_some_and(|_: u64| !is_switch), "{headers:?}");
        assert!(!length.as_bytes().starts_with(b"+"), "{headers:?}");
        assert!(lengths.next().is_none(), "{headers:?}");
    }
}

/// A cookie is for the app's own host.
fn check_cookie(cookie: &HeaderValue) {
    let parts = cookie.as_bytes().split(|byte| *byte == b';');
    for part in parts.skip(1) {
        let end = part.iter().position(|byte| *byte == b'=');
        let (name, value) = part.split_at(end.unwrap_or(part.len()));
        if name.trim_ascii().eq_ignore_ascii_case(b"domain") {
            let domain = value.get(1..).unwrap_or_default().trim_ascii();
            let domain = domain.strip_prefix(b".").unwrap_or(domain);
            let is_own = domain.eq_ignore_ascii_case(HOST.as_bytes());
            assert!(domain.is_empty() || is_own, "{cookie:?}");
        }
    }
}

fn check_trailers(fields: &[(Bytes, Bytes)]) {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).ok();
    let fields: Option<Vec<(String, String)>> = fields
        .iter()
        .map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect();
    let Some(Ok(Some(trailers))) = fields.map(head::response_trailers) else {
        return;
    };
    for name in ["content-length", "transfer-encoding", "host", "set-cookie"] {
        assert!(!trailers.contains_key(name), "{trailers:?}");
    }
    let back = head::request_trailers(&trailers);
    assert_eq!(head::response_trailers(back), Ok(Some(trailers)));
}

/// What a client calls the host, and in a second line the page it comes from.
pub fn authority(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.lines();
    let name = lines.next().unwrap_or_default();
    check_name(name);
    let mut request = Request::get("/x").header(header::HOST, name);
    let page = lines.next();
    if let Some(page) = page {
        request = request.header(header::ORIGIN, page);
    }
    let Ok(request) = request.body(()) else {
        return;
    };
    let closed = Gate::new(Some(&AdminToken("token".to_owned())));
    assert!(closed.check(&request, Room::Office).is_err());
    for (gate, room) in [
        (&closed, Room::Hall),
        (&Gate::new(None), Room::Hall),
        (&Gate::new(None), Room::Office),
    ] {
        if gate.check(&request, room).is_err() {
            continue;
        }
        let host = Host::parse(name).expect("the gate accepted it");
        // With a token, other names may have what is no secret.
        assert!(host.is_ours() || std::ptr::eq(gate, &raw const closed));
        if let Some(page) = page {
            let is_own = page.to_ascii_lowercase();
            assert!(is_own.ends_with(&format!("://{}", name.to_ascii_lowercase())));
        }
        let read = head::host(request.uri(), request.headers(), Version::HTTP_11);
        assert_eq!(read.expect("the gateway's, too").as_str(), name);
    }
}

/// Every reader of a name that the gate accepts finds the same host in it.
fn check_name(text: &str) {
    if let Ok(authority) = text.parse::<Authority>() {
        let label = target::label(&authority, "localhost");
        let whole = label.map(|label| format!("{label}.localhost"));
        let name = authority.host();
        let name = name.strip_suffix('.').unwrap_or(name);
        assert!(whole.is_none_or(|whole| whole.eq_ignore_ascii_case(name)));
    }
    let Some(host) = Host::parse(text) else {
        return;
    };
    let authority: Authority = text.parse().expect("what the gate accepts");
    check_host(&authority);
    let name = authority.host();
    assert_eq!(name.trim_matches(['[', ']']), host.name);
    let has_port = text.len() > name.len();
    assert_eq!(authority.port_u16().is_some(), has_port, "{text}");
    let plain = host.name.trim_end_matches('.');
    let is_address = plain.parse::<IpAddr>().is_ok();
    assert!(!host.is_ours() || is_address || plain.eq_ignore_ascii_case("localhost"));
}
