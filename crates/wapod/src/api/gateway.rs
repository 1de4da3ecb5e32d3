//! Traffic to an app.
//!
//! Finds the app, waits until it takes requests, and then moves bytes in both
//! directions at once: an answer may start before the request's body has ended,
//! and each side goes only as fast as the other takes it.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wapo_host::HttpExchange;
use wapo_rpc::AppAddress;

use super::body::{Body, GuestBody};
use super::connection::Open;
use super::error::ApiError;
use super::head::{self, Cookies};
use crate::error::WorkerError;
use crate::limits::{REQUEST_BODY_BYTES_MAX, RESPONSE_TIMEOUT};
use crate::worker::{App, Channel, Lease, Worker};

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
    worker: &Worker,
    target: Target,
    mut request: Request<Incoming>,
    open: &Open,
) -> Result<Response<Body>, ApiError> {
    if request.body().size_hint().lower() > REQUEST_BODY_BYTES_MAX {
        return Err(ApiError::BodyTooLarge);
    }
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let head = head::request_head(&parts, &target.path_and_query, target.cookies)?;

    let lease = worker.admit(target.app, Channel::Http).await?;
    let exchange = lease
        .app()
        .instance()
        .http(head)
        .map_err(WorkerError::from)?;
    if head::wants_upgrade(&parts) {
        return switch(exchange, on_upgrade, target.cookies, lease, open).await;
    }
    relay(exchange, body, target.cookies, lease).await
}

/// An ordinary exchange.
async fn relay(
    mut exchange: HttpExchange,
    body: Incoming,
    cookies: Cookies,
    lease: Lease,
) -> Result<Response<Body>, ApiError> {
    let (from_guest, to_guest) = tokio::io::split(take_stream(&mut exchange));
    let feeder = feed(body, to_guest).await;
    // From here on, whatever drops this body ends the exchange.
    let guest_body = GuestBody::new(from_guest, feeder, lease);
    let head = answer(&mut exchange).await?;
    let response = head::response_head(head, cookies)?;
    Ok(response.map(|()| Body::Guest(guest_body)))
}

/// An exchange that may end in another protocol, in which both sides then speak
/// as they like.
async fn switch(
    mut exchange: HttpExchange,
    on_upgrade: OnUpgrade,
    cookies: Cookies,
    lease: Lease,
    open: &Open,
) -> Result<Response<Body>, ApiError> {
    let head = answer(&mut exchange).await?;
    let response = head::response_head(head, cookies)?;
    let mut guest = take_stream(&mut exchange);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A refusal; the request has no body.
        let _ = guest.shutdown().await;
        let (from_guest, _) = tokio::io::split(guest);
        return Ok(response.map(|()| Body::Guest(GuestBody::new(from_guest, None, lease))));
    }
    let mut open = open.clone();
    tokio::spawn(async move {
        let _lease = lease;
        let tunnel = async {
            let mut client = TokioIo::new(on_upgrade.await?);
            let copied = tokio::io::copy_bidirectional(&mut client, &mut guest).await;
            tracing::trace!(?copied, "a tunnel has ended");
            Ok::<(), hyper::Error>(())
        };
        tokio::select! {
            // A client that leaves before the switch leaves nothing behind.
            _ = tunnel => {}
            () = open.closed() => {}
        }
    });
    Ok(response.map(|()| Body::Full(None)))
}

/// Waits for the head of the guest's answer.
async fn answer(
    exchange: &mut HttpExchange,
) -> Result<wapo_abi::message::HttpResponseHead, WorkerError> {
    match timeout(RESPONSE_TIMEOUT, exchange.response()).await {
        // What a guest says went wrong in HTTP is for its log, not for clients.
        Ok(Err(wapo_host::RequestError::App(_))) => Err(WorkerError::NoAnswer),
        Ok(head) => Ok(head?),
        Err(_) => Err(WorkerError::Timeout),
    }
}

/// Separates the stream from the exchange, which keeps waiting for the head.
fn take_stream(exchange: &mut HttpExchange) -> DuplexStream {
    let (unused, _) = tokio::io::duplex(1);
    std::mem::replace(&mut exchange.body, unused)
}

/// Hands the request's body to the guest, in a task of its own unless there is
/// nothing to hand over.
async fn feed<W>(body: Incoming, mut to_guest: W) -> Option<AbortHandle>
where
    W: AsyncWrite + Unpin + Send + 'static,
{
    if body.is_end_stream() {
        // Closing a pipe neither waits nor fails.
        let _ = to_guest.shutdown().await;
        return None;
    }
    let feeding = tokio::spawn(async move {
        if let Err(reason) = copy_body(body, &mut to_guest).await {
            tracing::debug!(reason, "a request body was not passed on to its end");
        }
    });
    Some(feeding.abort_handle())
}

async fn copy_body<W>(mut body: Incoming, to_guest: &mut W) -> Result<(), &'static str>
where
    W: AsyncWrite + Unpin,
{
    let mut bytes: u64 = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the client left")?;
        // Trailers have no place in the contract.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        bytes += data.len() as u64;
        if bytes > REQUEST_BODY_BYTES_MAX {
            return Err("the body is too large");
        }
        to_guest
            .write_all(&data)
            .await
            .map_err(|_| "the guest does not want it")?;
    }
    to_guest.shutdown().await.map_err(|_| "the guest is gone")
}
