//! A look at an app for its operator: `Operation.AppVisit`.
//!
//! Asks an app as a browser at its host name would, without a connection, and keeps
//! the beginning of the answer. The console shows it: pages of the admin port may ask
//! nobody but the worker. It counts and is paid as any request. Called by `operation`.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, USER_AGENT};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, Uri};
use tokio::time::timeout;
use wapo_host::{BodyReader, HttpAnswer, HttpCall, HttpExchange};
use wapo_rpc::message::{AppVisitResponse, StringPair};

use super::exchange::What;
use super::forwarded::Origin;
use super::head;
use super::origin_guard::{OriginGuard, Place};
use crate::api::client::Peer;
use crate::api::error::ApiError;
use crate::api::operation::Operator;
use crate::error::WorkerError;
use crate::worker::{App, Channel};

/// Time until the head of the answer. The longest time that a request in JavaScript
/// computes by default is 10 s, and its end is an answer, too.
const HEAD_WAIT: Duration = Duration::from_secs(15);

/// Time for the body after that. A stream without end is shown as far as it came.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// Bytes of the body that are kept. The console shows the beginning of an answer; the
/// app's URL gives all of it.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What the app reads in `User-Agent`.
const AGENT: &str = concat!("wapod/", env!("CARGO_PKG_VERSION"), " (console)");

/// Asks an app for a path. What the gateway says for want of an answer is one, too.
///
/// # Errors
///
/// The path is none.
///
/// # Cancel safety
///
/// The app notices that its visitor has left.
pub(in crate::api) async fn visit(
    operator: &Operator,
    app: &Arc<App>,
    path: &str,
) -> Result<AppVisitResponse, String> {
    let path = if path.is_empty() { "/" } else { path };
    let uri = path.parse::<Uri>().ok();
    let is_path = |uri: &Uri| path.starts_with('/') && uri.authority().is_none();
    let uri = uri.filter(is_path).ok_or_else(|| {
        format!("`{path}` is no path: write one such as /list?page=2, without blanks")
    })?;
    let host = host(operator, app)?;
    let request = Request::get(uri)
        .header(ACCEPT, "*/*")
        .header(USER_AGENT, AGENT);
    let request = request.body(()).map_err(|error| error.to_string())?;
    let (parts, ()) = request.into_parts();
    let what = What {
        method: Method::GET,
        uri: parts.uri.clone(),
    };
    let asked = timeout(HEAD_WAIT + BODY_WAIT, ask(operator, app, &host, &parts));
    let answer = asked
        .await
        .unwrap_or_else(|_| Err(WorkerError::Timeout.into()));
    Ok(answer.unwrap_or_else(|error| {
        let error = what.attribute(app, None, error);
        AppVisitResponse {
            status: error.status().as_u16().into(),
            body: format!("{error}\n").into_bytes(),
            ..AppVisitResponse::default()
        }
    }))
}

/// The host name under which visitors find an app.
fn host(operator: &Operator, app: &App) -> Result<Authority, String> {
    let (domain, port) = (&operator.base_domain, operator.user_address.port());
    let name = app.name();
    let label = match name.as_str() {
        "" => app.address.to_base32(),
        name => name.to_owned(),
    };
    let host = match domain.trim_matches('.') {
        "" => operator.user_address.to_string(),
        domain => format!("{label}.{domain}:{port}"),
    };
    host.parse()
        .map_err(|_| format!("`{host}` is no host name"))
}

async fn ask(
    operator: &Operator,
    app: &Arc<App>,
    host: &Authority,
    parts: &Parts,
) -> Result<AppVisitResponse, ApiError> {
    let visitor = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let end = Peer {
        address: visitor,
        is_https: operator.user_scheme == "https",
    };
    let guard = OriginGuard {
        place: Place::Own,
        host: host.clone(),
        base_domain: operator.base_domain.trim_matches('.').into(),
    };
    let path = parts.uri.path_and_query().map_or("/", |both| both.as_str());
    let origin = Origin::new(end, &[], host, &parts.headers);
    let head = head::request_head(parts, host, path, guard.place, &origin)?;
    let call = HttpCall {
        head,
        peer: Some(visitor),
        has_body: false,
    };
    let admitted = operator.worker.admit(Arc::clone(app), Channel::Http).await;
    let mut lease = admitted?;
    let handed = lease.http(call).map_err(WorkerError::from)?;
    let HttpExchange { mut response, body } = handed;
    let (mut reader, _writer) = body.into_split();
    let answered = timeout(HEAD_WAIT, response.answer()).await;
    let answer = answered.map_err(|_| WorkerError::Timeout)?;
    let HttpAnswer { head, body } = answer.map_err(WorkerError::from)?;
    let response = head::response_head(head, &guard)?;
    let mut content = Vec::new();
    let is_whole = match body {
        Some(whole) => add(&mut content, &whole),
        None => {
            let reading = timeout(BODY_WAIT, beginning(&mut reader, &mut content));
            reading.await.unwrap_or(false)
        }
    };
    Ok(AppVisitResponse {
        status: response.status().as_u16().into(),
        headers: fields(&response),
        body: content,
        is_cut: !is_whole,
    })
}

/// Reads a body up to the limit; answers whether that was all of it.
async fn beginning(reader: &mut BodyReader, content: &mut Vec<u8>) -> bool {
    loop {
        let piece = match poll_fn(|cx| reader.poll_chunk(cx)).await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(piece)) => piece,
        };
        if !add(content, &piece) {
            return false;
        }
    }
}

/// Adds a piece up to the limit; answers whether that was all of it.
fn add(content: &mut Vec<u8>, piece: &[u8]) -> bool {
    let room = BODY_BYTES_MAX - content.len();
    content.extend_from_slice(&piece[..piece.len().min(room)]);
    piece.len() <= room
}

fn fields(response: &Response<()>) -> Vec<StringPair> {
    let fields = response.headers().iter();
    let pair =
        |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| StringPair {
            key: name.to_string(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
    fields.map(pair).collect()
}
