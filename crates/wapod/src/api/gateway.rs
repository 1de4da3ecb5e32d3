//! Traffic to an app.
//!
//! Finds the app, waits until it takes requests, and then moves bytes in both
//! directions at once: an answer may start before the request's body has ended,
//! and each side goes only as fast as the other takes it.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;
use wapo_host::{BodyWriter, HttpCall, HttpExchange, PendingResponse, Trailers};
use wapo_rpc::AppAddress;

use super::body::{Body, Feeding, GuestBody};
use super::connection::Client;
use super::error::ApiError;
use super::head::{self, Cookies};
use crate::error::WorkerError;
use crate::limits::{DISCARD_BYTES_MAX, DISCARD_TIMEOUT, REQUEST_BODY_BYTES_MAX, RESPONSE_TIMEOUT};
use crate::worker::{App, Channel, Lease, Worker};

/// The guest's side of a request body.
type ToGuest = BodyWriter;

/// Where a request goes.
pub(super) struct Target {
    app: Arc<App>,
    /// Path and query below the app's root, as received.
    path_and_query: String,
    cookies: Cookies,
}

impl Target {
    /// Reads `<address>/<path…>`, the part behind `/app/`.
    pub(super) fn in_path(worker: &Worker, rest: &str, uri: &Uri) -> Result<Self, ApiError> {
        let (text, has_slash) = match rest.split_once('/') {
            Some((text, _)) => (text, true),
            None => (rest, false),
        };
        let address: AppAddress = text.parse()?;
        if !has_slash {
            let query = uri.query().map(|query| format!("?{query}"));
            let query = query.unwrap_or_default();
            return Err(ApiError::Moved(format!("/app/{text}/{query}")));
        }
        let app = worker.app(&address).ok_or(WorkerError::AppNotFound)?;
        let whole = path_and_query(uri)?;
        Ok(Self {
            app,
            path_and_query: whole["/app/".len() + text.len()..].to_owned(),
            cookies: Cookies::Strip,
        })
    }

    /// Takes the whole path. The app has the origin to itself.
    pub(super) fn root(app: Arc<App>, uri: &Uri) -> Result<Self, ApiError> {
        Ok(Self {
            app,
            path_and_query: path_and_query(uri)?.to_owned(),
            cookies: Cookies::Pass,
        })
    }
}

/// The part of a request's target that starts with a slash. There is none in
/// `CONNECT host:port` and `OPTIONS *`, which are not for apps.
fn path_and_query(uri: &Uri) -> Result<&str, ApiError> {
    let text = uri.path_and_query().map_or("", |both| both.as_str());
    if text.starts_with('/') {
        Ok(text)
    } else {
        Err(ApiError::BadRequest("the request has no path"))
    }
}

/// Lets an app answer a request.
pub(super) async fn forward(
    worker: &Arc<Worker>,
    target: Target,
    mut request: Request<Incoming>,
    client: &Client,
) -> Result<Response<Body>, ApiError> {
    if request.body().size_hint().lower() > REQUEST_BODY_BYTES_MAX {
        return Err(ApiError::BodyTooLarge);
    }
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let head = head::request_head(&parts, &target.path_and_query, target.cookies)?;

    let lease = worker.admit(target.app, Channel::Http).await?;
    let exchange = lease
        .instance()
        .handle()
        .http(HttpCall {
            head,
            peer: Some(client.peer),
        })
        .map_err(WorkerError::from)?;
    if head::wants_upgrade(&parts) {
        return switch(exchange, on_upgrade, target.cookies, lease, client).await;
    }
    relay(exchange, body, target.cookies, lease).await
}

/// An ordinary exchange.
async fn relay(
    exchange: HttpExchange,
    body: Incoming,
    cookies: Cookies,
    lease: Lease,
) -> Result<Response<Body>, ApiError> {
    let (from_guest, to_guest) = exchange.body.into_split();
    let feeder = feed(body, to_guest).await;
    // From here on, whatever drops this body ends the exchange.
    let guest_body = GuestBody::new(from_guest, feeder, lease);
    let head = answer(exchange.response).await?;
    let response = head::response_head(head, cookies)?;
    Ok(response.map(|()| Body::Guest(guest_body)))
}

/// An exchange that may end in another protocol, in which both sides then speak
/// as they like.
async fn switch(
    exchange: HttpExchange,
    on_upgrade: OnUpgrade,
    cookies: Cookies,
    lease: Lease,
    client: &Client,
) -> Result<Response<Body>, ApiError> {
    let head = answer(exchange.response).await?;
    let response = head::response_head(head, cookies)?;
    let mut guest = exchange.body;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A refusal; the request has no body.
        guest.writer().finish();
        let (from_guest, _) = guest.into_split();
        return Ok(response.map(|()| Body::Guest(GuestBody::new(from_guest, None, lease))));
    }
    let mut client = client.clone();
    tokio::spawn(async move {
        let _lease = lease;
        let tunnel = async {
            let mut visitor = TokioIo::new(on_upgrade.await?);
            let copied = tokio::io::copy_bidirectional(&mut visitor, &mut guest).await;
            tracing::trace!(?copied, "a tunnel has ended");
            Ok::<(), hyper::Error>(())
        };
        tokio::select! {
            // A client that leaves before the switch leaves nothing behind.
            _ = tunnel => {}
            () = client.closed() => {}
        }
    });
    Ok(response.map(|()| Body::Full(None)))
}

/// Waits for the head of the guest's answer.
async fn answer(
    mut response: PendingResponse,
) -> Result<wapo_abi::message::HttpResponseHead, WorkerError> {
    match timeout(RESPONSE_TIMEOUT, response.head()).await {
        // What a guest says went wrong in HTTP is for its log, not for clients.
        Ok(Err(wapo_host::RequestError::App(_))) => Err(WorkerError::NoAnswer),
        Ok(head) => Ok(head?),
        Err(_) => Err(WorkerError::Timeout),
    }
}

/// Hands the request's body to the guest, in a task of its own unless there is
/// nothing to hand over. Ends when what it returns is dropped: the answer is
/// complete then, or the client has left.
async fn feed(body: Incoming, mut to_guest: ToGuest) -> Option<Feeding> {
    if body.is_end_stream() {
        to_guest.finish();
        return None;
    }
    let (feeding, over) = oneshot::channel();
    tokio::spawn(async move {
        let mut body = body;
        let copied = tokio::select! {
            copied = copy_body(&mut body, &mut to_guest) => copied,
            _ = over => Err("the answer came first"),
        };
        drop(to_guest);
        if let Err(reason) = copied {
            tracing::debug!(reason, "a request body was not passed on to its end");
            discard(body).await;
        }
    });
    Some(feeding)
}

async fn copy_body(body: &mut Incoming, to_guest: &mut ToGuest) -> Result<(), &'static str> {
    let mut bytes: u64 = 0;
    let mut trailers = Trailers::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the client left")?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(last) => {
                trailers = last.into_trailers().map(fields).unwrap_or_default();
                continue;
            }
        };
        bytes += data.len() as u64;
        if bytes > REQUEST_BODY_BYTES_MAX {
            return Err("the body is too large");
        }
        let written = to_guest.write_all(&data).await;
        written.map_err(|_| "the guest does not want it")?;
    }
    let is_read = to_guest.finish_with_trailers(trailers);
    is_read.then_some(()).ok_or("the guest is gone")
}

/// Trailers as guests get them. A value that is no text cannot travel.
fn fields(trailers: HeaderMap) -> Trailers {
    let fields = trailers.iter().filter_map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    fields.collect()
}

/// Takes what a client still sends although nobody wants it. Closing the
/// connection instead would reset it, and the answer would be lost on the way.
/// HTTP/2 can refuse one stream alone, but not every client copes with that.
async fn discard(mut body: Incoming) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // Whoever takes longer loses the connection.
    let _ = timeout(DISCARD_TIMEOUT, reading).await;
}
