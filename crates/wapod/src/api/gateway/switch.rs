//! Exchanges that may end in another protocol, such as WebSocket.
//!
//! After an answer with the status 101 the connection of HTTP/1.1, or the stream of HTTP/2,
//! belongs to both sides, and bytes are passed on until both have ended. Called by `gateway`.

use bytes::Bytes;
use hyper::header::SEC_WEBSOCKET_ACCEPT;
use hyper::{Response, StatusCode};
use tokio::sync::oneshot;
use wapo_host::BodyStream;

use super::body_pump;
use super::exchange::Exchange;
use super::guest_body::{Content, GuestBody};
use super::head::announced;
use super::pending_answer::Handed;
use crate::api::body::{self, Body};
use crate::api::error::ApiError;
use crate::api::framing;
use crate::api::transport::Transport;
use crate::error::WorkerError;

/// An exchange in HTTP/1.1 that may end in another protocol, in which both sides
/// then speak as they like.
pub(super) async fn upgrade(handed: Handed) -> Result<Response<Body>, ApiError> {
    let Handed {
        mut pending,
        exchange,
        io,
        ..
    } = handed;
    let (response, whole) = pending.answer(&exchange, None).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refusal(response, whole, exchange, io));
    }
    if whole.is_some() {
        // There is nobody to speak the other protocol.
        return Err(exchange.attribute(WorkerError::InvalidAnswer));
    }
    let transport = exchange.client.switches();
    tokio::spawn(tunnel(exchange, io, transport));
    Ok(response.map(|()| Body::Nothing))
}

/// An answer to a request for another protocol that stays in this one. The request
/// has no body.
fn refusal(
    response: Response<()>,
    whole: Option<Bytes>,
    exchange: Exchange,
    mut io: BodyStream,
) -> Response<Body> {
    io.writer().finish();
    if framing::has_no_body(&exchange.what.method, response.status()) {
        return response.map(|()| Body::Nothing);
    }
    let (reader, _) = io.into_split();
    let content = Content::of(whole, reader);
    let body = GuestBody::new(content, announced(&response), None, exchange);
    response.map(|()| Body::Guest(Box::new(body)))
}

/// Passes bytes on between a client and a guest until both have ended.
async fn tunnel(exchange: Exchange, mut io: BodyStream, transport: oneshot::Receiver<Transport>) {
    let tunnel = async {
        let mut visitor = transport.await?;
        let copied = tokio::io::copy_bidirectional(&mut visitor, &mut io).await;
        if copied.is_err() {
            exchange.client.liveness().reset();
        }
        tracing::trace!(?copied, "a tunnel has ended");
        Ok::<(), oneshot::error::RecvError>(())
    };
    tokio::select! {
        // A client that leaves before the switch leaves nothing behind.
        _ = tunnel => {}
        () = exchange.client.closed() => {}
        // It takes nothing, and others have no place.
        () = exchange.client.activity().displaced() => {}
    }
}

/// The same on one stream of HTTP/2: what both sides say are the bodies of the
/// exchange.
pub(super) async fn connect(handed: Handed) -> Result<Response<Body>, ApiError> {
    let Handed {
        mut pending,
        exchange,
        io,
        body,
    } = handed;
    let window = pending.timeouts.body_window;
    let (mut response, whole) = pending.answer(&exchange, None).await?;
    let status = response.status();
    if status.is_success() {
        // The client would take it for the other protocol.
        let refused = StatusCode::NOT_IMPLEMENTED;
        let (said, code) = (refused.as_u16(), status.as_u16());
        let why = "for another protocol an app says 101, and this one said";
        exchange.log_failure(&format!("was answered with {said}: {why} {code}"));
        let text = "the app does not speak this protocol\n";
        return Ok(body::text(refused, text));
    }
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refusal(response, whole, exchange, io));
    }
    if whole.is_some() {
        return Err(exchange.attribute(WorkerError::InvalidAnswer));
    }
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    let (reader, writer) = io.into_split();
    let pump = body_pump::start(body, writer, window, exchange.client.activity());
    if let Some(pump) = &pump {
        pump.answered();
    }
    let content = Content::Coming(reader);
    let body = GuestBody::new(content, None, pump, exchange);
    Ok(response.map(|()| Body::Guest(Box::new(body))))
}
