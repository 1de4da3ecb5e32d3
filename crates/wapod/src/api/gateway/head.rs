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
    let is_plain = is_plain(&parts.headers);
    if !is_plain {
        check_framing(parts)?;
    }
    let is_trusted = origin.is_trusted;
    let url = [origin.scheme, "://", host.as_str(), path_and_query];
    if url.iter().map(|part| part.len()).sum::<usize>() > URL_BYTES_MAX {
        return Err(ApiError::UrlTooLong);
    }
    let named = match is_plain {
        true => Vec::new(),
        false => connection_options(&parts.headers),
    };
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
    if !is_plain && takes_trailers(parts) {
        head.push("te", "trailers");
    }
    for (name, value) in &origin.headers {
        head.push(name, value);
    }
    Ok(head)
}

/// Whether there is none of the fields that [`check_framing`], [`connection_options`] and
/// [`takes_trailers`] look up: one that they look for belongs here, too. One walk over the
/// names takes less than a look-up for each rule.
fn is_plain(headers: &HeaderMap) -> bool {
    static NOTED: [HeaderName; 5] = [
        header::CONNECTION,
        header::EXPECT,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    !headers.keys().any(|name| NOTED.contains(name))
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

/// The length that a head announces; it was checked to be one.
pub(in crate::api) fn announced<T>(response: &Response<T>) -> Option<u64> {
    let value = response.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
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
    let named = match is_plain(&headers) {
        true => Vec::new(),
        false => connection_options(&headers),
    };
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
mod tests;
