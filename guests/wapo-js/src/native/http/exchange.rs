//! One request over HTTP/1.1 and its answer.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::CONTENT_LENGTH;
use wapo::http::{Body, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};

use super::pool::{Connection, Key, Pool};
use super::{Abort, Piece};
use crate::engine::Failure;
use crate::native::stream::{Later, Source};
use crate::native::user_agent;

/// Time until the head of an answer must be there. A program that wants less
/// aborts by a signal; this ends exchanges with servers that never answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// Fields that the connection is in charge of.
const OWN_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
];

/// An answer whose head is there.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<AnswerBody>,
}

/// Sends a request and waits for the head of its answer.
///
/// A connection that was kept from an earlier exchange may have been closed by
/// the server meanwhile. A request that it did not take goes to a new one.
pub(super) async fn run(
    pool: Pool,
    request: Request<Body>,
    abort: Abort,
) -> Result<Answer, Failure> {
    let key = Key::of(request.uri())?;
    let mut request = prepare(request)?;
    let is_head = request.method() == Method::HEAD;
    loop {
        let (mut connection, is_fresh) = match pool.take(&key) {
            Some(connection) => (connection, false),
            None => (Connection::open(&key).await?, true),
        };
        let sending = connection.sender.try_send_request(request);
        let outcome = wapo::time::timeout(HEAD_TIMEOUT, sending)
            .await
            .map_err(|_| Failure::type_error(format!("{key} did not answer in time")))?;
        match outcome {
            Ok(response) => return Ok(answer(response, is_head, connection, pool, abort)),
            Err(mut refused) => match refused.take_message() {
                Some(same) if !is_fresh => request = same,
                _ => {
                    let error = refused.into_error();
                    return Err(Failure::type_error(format!(
                        "the exchange with {key}: {error}"
                    )));
                }
            },
        }
    }
}

/// Turns an absolute URL into the form of a request to a server.
fn prepare(mut request: Request<Body>) -> Result<Request<Body>, Failure> {
    let uri = request.uri().clone();
    let wrong = |_| Failure::type_error(format!("{uri} cannot be fetched"));
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = HeaderValue::try_from(host).map_err(wrong)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() =
        Uri::try_from(path).map_err(|_| Failure::type_error(format!("{uri} cannot be fetched")))?;
    let (method, is_empty) = (request.method().clone(), request.body().is_end_stream());
    let fields = request.headers_mut();
    for name in OWN_FIELDS {
        fields.remove(*name);
    }
    let has_content = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    if is_empty && has_content {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    fields.insert(HeaderName::from_static("host"), host);
    if let Ok(agent) = HeaderValue::try_from(user_agent()) {
        fields
            .entry(HeaderName::from_static("user-agent"))
            .or_insert(agent);
    }
    Ok(request)
}

fn answer(
    response: hyper::Response<Incoming>,
    is_head: bool,
    connection: Connection,
    pool: Pool,
    abort: Abort,
) -> Answer {
    let (parts, body) = response.into_parts();
    let reason = parts.extensions.get::<ReasonPhrase>();
    let reason = match reason {
        Some(reason) => reason.as_bytes().iter().copied().map(char::from).collect(),
        None => parts
            .status
            .canonical_reason()
            .unwrap_or_default()
            .to_owned(),
    };
    let has_none = is_head
        || matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT
        );
    let mut body = AnswerBody {
        body,
        connection: Some(connection),
        pool,
        abort,
    };
    let body = if has_none {
        body.is_over();
        None
    } else {
        Some(body)
    };
    Answer {
        status: parts.status.as_u16(),
        reason,
        headers: parts.headers,
        body,
    }
}

/// The body of an answer, and the connection that brings it.
pub(super) struct AnswerBody {
    body: Incoming,
    connection: Option<Connection>,
    pool: Pool,
    abort: Abort,
}

impl AnswerBody {
    /// Keeps the connection for the next exchange.
    fn is_over(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.keep(connection);
        }
    }

    async fn piece(&mut self) -> Piece {
        loop {
            match self.body.frame().await {
                None => {
                    self.is_over();
                    return Ok(None);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    // Trailers are not shown to programs (Fetch has none).
                    Err(_) => {}
                },
                Some(Err(error)) => {
                    self.connection = None;
                    return Err(Failure::type_error(format!(
                        "the answer's body was cut: {error}"
                    )));
                }
            }
        }
    }
}

impl Source for AnswerBody {
    fn next(&mut self) -> Later<'_, Result<Option<Bytes>, Failure>> {
        let abort = self.abort.clone();
        Box::pin(async move { abort.or(self.piece()).await })
    }
}
