//! Heads of requests and answers, translated for guests.
//!
//! No I/O. A guest sees the URL exactly as the client sent it (nothing is
//! decoded, so an encoded `?` stays one), and the headers as received minus
//! those that concern one connection only. An answer of a guest is checked
//! before a byte of it is sent.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::response::Builder;
use hyper::http::uri::Authority;
use hyper::{Response, StatusCode, Version};
use wapo_abi::message::{HttpHead, HttpResponseHead};

use super::error::ApiError;
use crate::error::WorkerError;
use crate::limits::URL_BYTES_MAX;

/// Whether cookies pass.
///
/// Apps below `/app/` share one origin, where a cookie of one app would be
/// readable by every other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cookies {
    Pass,
    Strip,
}

/// Headers that concern one connection, besides those that `Connection` names
/// (RFC 9110, section 7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The head that a guest sees, for a path (and query) below its root.
pub(super) fn request_head(
    parts: &Parts,
    path_and_query: &str,
    cookies: Cookies,
) -> Result<HttpHead, ApiError> {
    let host = host(parts)?;
    let url = format!("http://{host}{path_and_query}");
    if url.len() > URL_BYTES_MAX {
        return Err(ApiError::UrlTooLong);
    }
    let mut headers = Vec::with_capacity(parts.headers.len() + 1);
    let named = connection_options(&parts.headers);
    let upgrade = wants_upgrade(parts);
    if !parts.headers.contains_key(header::HOST) {
        headers.push(("host".to_owned(), host.as_str().to_owned()));
    }
    for (name, value) in &parts.headers {
        let is_cookie = name == header::COOKIE && cookies == Cookies::Strip;
        let is_upgrade = name == header::UPGRADE && upgrade;
        if is_cookie || (is_hop_by_hop(name, &named) && !is_upgrade) {
            continue;
        }
        headers.push((name.as_str().to_owned(), text_of(value)));
    }
    if upgrade {
        headers.push(("connection".to_owned(), "upgrade".to_owned()));
    }
    Ok(HttpHead {
        method: parts.method.as_str().to_owned(),
        url,
        headers,
    })
}

/// Whether the client wants to speak another protocol on this connection.
pub(super) fn wants_upgrade(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11
        && parts.headers.contains_key(header::UPGRADE)
        && connection_options(&parts.headers)
            .iter()
            .any(|option| option == "upgrade")
}

/// Who the client thinks it is talking to.
///
/// The text becomes a part of the guest's URL, so it must be an authority and
/// nothing else, and there must be one only.
fn host(parts: &Parts) -> Result<Authority, ApiError> {
    const BAD: ApiError = ApiError::BadRequest("the Host header is not a host name");
    let mut values = parts.headers.get_all(header::HOST).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::BadRequest("there is more than one Host header"));
    }
    let authority = match (parts.uri.authority(), first) {
        (Some(authority), _) => authority.clone(),
        (None, Some(value)) => Authority::try_from(value.as_bytes()).map_err(|_| BAD)?,
        (None, None) if parts.version == Version::HTTP_10 => Authority::from_static("localhost"),
        (None, None) => return Err(ApiError::BadRequest("the Host header is missing")),
    };
    if authority.as_str().contains('@') {
        return Err(BAD);
    }
    Ok(authority)
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
fn text_of(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

/// The answer that a guest's head describes, still without a body.
pub(super) fn response_head(
    head: HttpResponseHead,
    cookies: Cookies,
) -> Result<Response<()>, WorkerError> {
    const INVALID: WorkerError = WorkerError::InvalidAnswer;
    let status = StatusCode::from_u16(head.status).map_err(|_| INVALID)?;
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.is_informational() && !is_switch {
        return Err(INVALID);
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for (name, value) in head.headers {
        let name = HeaderName::try_from(name).map_err(|_| INVALID)?;
        let value = HeaderValue::try_from(value).map_err(|_| INVALID)?;
        headers.append(name, value);
    }
    let named = connection_options(&headers);
    let mut response = Builder::new()
        .status(status)
        .body(())
        .map_err(|_| INVALID)?;
    for (name, value) in &headers {
        let is_cookie = name == header::SET_COOKIE && cookies == Cookies::Strip;
        let is_upgrade = name == header::UPGRADE && is_switch;
        if is_cookie || (is_hop_by_hop(name, &named) && !is_upgrade) {
            continue;
        }
        if name == header::CONTENT_LENGTH && (is_switch || !is_length(&headers, value)) {
            return Err(INVALID);
        }
        response.headers_mut().append(name, value.clone());
    }
    if is_switch {
        let upgrade = HeaderValue::from_static("upgrade");
        response.headers_mut().insert(header::CONNECTION, upgrade);
    }
    Ok(response)
}

/// Whether there is one length and it is a number. Anything else would let a
/// guest desynchronise a proxy in front of us.
fn is_length(headers: &HeaderMap, value: &HeaderValue) -> bool {
    let is_number = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let is_only = headers.get_all(header::CONTENT_LENGTH).iter().count() == 1;
    is_number && is_only && text_of(value).parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn parts(request: hyper::http::request::Builder) -> Parts {
        request.body(()).expect("request").into_parts().0
    }

    fn pairs(head: &HttpHead) -> Vec<(&str, &str)> {
        let pairs = head.headers.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    #[test]
    fn urls_stay_as_they_were_sent() {
        let parts = parts(Request::get("/app/x/").header("Host", "h:1"));
        let path = "/a%20b/x%3Fy//.well-known/../z/?q=1&b=%20";
        let head = request_head(&parts, path, Cookies::Strip).expect("head");
        assert_eq!(head.url, format!("http://h:1{path}"));
        assert_eq!(head.method, "GET");
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
        let head = request_head(&parts, "/", Cookies::Strip).expect("head");
        let expected = [("host", "h"), ("accept", "text/html"), ("accept", "*/*")];
        assert_eq!(pairs(&head), expected);
        let head = request_head(&parts, "/", Cookies::Pass).expect("head");
        assert!(pairs(&head).contains(&("cookie", "a=b")));
    }

    #[test]
    fn upgrades_are_recognised_in_any_list() {
        let request = Request::get("/")
            .header("Host", "h")
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "websocket");
        let parts = parts(request);
        assert!(wants_upgrade(&parts));
        let head = request_head(&parts, "/", Cookies::Strip).expect("head");
        assert!(pairs(&head).contains(&("upgrade", "websocket")));
        assert!(pairs(&head).contains(&("connection", "upgrade")));
    }

    #[test]
    fn a_host_is_a_host_and_nothing_else() {
        for host in ["a/b", "a?b", "a#b", "user@host", "", "a b", "a:b:c"] {
            let parts = parts(Request::get("/").header("Host", host));
            let head = request_head(&parts, "/", Cookies::Strip);
            assert!(matches!(head, Err(ApiError::BadRequest(_))), "{host}");
        }
        let twice = Request::get("/").header("Host", "a").header("Host", "b");
        assert!(request_head(&parts(twice), "/", Cookies::Strip).is_err());
        assert!(request_head(&parts(Request::get("/")), "/", Cookies::Strip).is_err());
        let absolute = parts(Request::get("http://[::1]:80/"));
        let head = request_head(&absolute, "/", Cookies::Strip).expect("head");
        assert_eq!(head.url, "http://[::1]:80/");
    }

    #[test]
    fn old_bytes_are_read_as_latin_1() {
        let value = HeaderValue::from_bytes(b"caf\xe9").expect("value");
        let parts = parts(Request::get("/").header("Host", "h").header("x", value));
        let head = request_head(&parts, "/", Cookies::Strip).expect("head");
        assert!(pairs(&head).contains(&("x", "caf\u{e9}")));
    }

    fn answer(status: u16, headers: &[(&str, &str)]) -> Result<Response<()>, WorkerError> {
        let headers = headers
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        response_head(HttpResponseHead { status, headers }, Cookies::Strip)
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
                ("X-Kept", "1"),
            ],
        );
        let headers = response.expect("response").into_parts().0.headers;
        assert_eq!(headers.len(), 2);
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
        let switch = answer(101, &[("Upgrade", "websocket")]).expect("101");
        assert_eq!(switch.headers()["connection"], "upgrade");
        assert_eq!(switch.headers()["upgrade"], "websocket");
    }
}
