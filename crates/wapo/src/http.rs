//! HTTP requests that arrive through the worker's gateway.
//!
//! The gateway speaks HTTP with the client; the app sees [`http::Request`]s
//! with streaming bodies and answers with [`http::Response`]s. A server on a
//! port of the app's own is the business of [`crate::net`] with
//! [`crate::hyper`].
//!
//! ```no_run
//! use wapo::http::{Body, Response, StatusCode};
//!
//! #[wapo::main]
//! async fn main() {
//!     wapo::http::serve(|request| async move {
//!         match request.uri().path() {
//!             "/" => Response::new(Body::from("hello")),
//!             _ => {
//!                 let mut response = Response::new(Body::empty());
//!                 *response.status_mut() = StatusCode::NOT_FOUND;
//!                 response
//!             }
//!         }
//!     })
//!     .await
//! }
//! ```
//!
//! # Clients
//!
//! [`peer`] tells where a request comes from. A client that leaves in the middle
//! of its request is an error of the body, one that leaves in the middle of the
//! answer an error of sending; neither looks like an end. [`client_left`] waits for it
//! where nothing is read or written.
//!
//! # Upgrades
//!
//! A request to change protocols (for instance to WebSocket) is accepted by
//! answering 101; [`on_upgrade`] then gives the raw stream.

mod body;
mod channel;
mod exchange;
mod head;
mod respond;
mod upgrade;

use std::future::Future;
use std::rc::Rc;

pub use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

pub use self::body::{Body, BodyError};
pub use self::channel::BodySender;
pub use self::exchange::{ClientLeft, client_left, peer};
pub use self::respond::{IntoResponse, Responder};
pub use self::upgrade::{OnUpgrade, on_upgrade};
use crate::handle::Handle;
use crate::net::TcpStream;

/// Waits for the next request; `None` when there will be no more.
///
/// For programs that need more than [`serve`]. Requests that HTTP does not
/// allow are answered with 400 and not returned. Call it from one task at a
/// time.
///
/// # Cancel safety
///
/// No request is lost when the future is dropped.
pub async fn accept() -> Option<(Request<Body>, Responder)> {
    loop {
        let message = head::next().await?;
        let stream = TcpStream::from_handle(message.exchange.into(), false);
        let reply = message.reply.map(Handle::from);
        match message.head {
            Ok(request) => {
                let is_head = request.method() == Method::HEAD;
                let body = match message.has_body {
                    true => Body::incoming(stream.share(), request.headers()),
                    false => Body::none_of(&stream),
                };
                let responder = Responder::new(reply, stream, is_head);
                let mut request = request.map(|()| body);
                let responder = upgrade::offer(&mut request, responder);
                return Some((request, responder));
            }
            Err(error) => {
                ::log::debug!("a bad request: {error}");
                let responder = Responder::new(reply, stream, false);
                crate::task::detach(async move {
                    // There is nothing to do about a client that has left.
                    let _ = responder
                        .send((StatusCode::BAD_REQUEST, "bad request\n"))
                        .await;
                });
            }
        }
    }
}

/// Answers every request with a handler, each in a task of its own.
///
/// The handler returns anything that is [`IntoResponse`]: a response, a text,
/// a status, or a `Result` of these whose error becomes a logged 500. Returns
/// when there will be no more requests, which is when the instance is stopped.
pub async fn serve<H, F>(handler: H)
where
    H: Fn(Request<Body>) -> F + 'static,
    F: Future + 'static,
    F::Output: IntoResponse,
{
    let handler = Rc::new(handler);
    while let Some((request, responder)) = accept().await {
        let handler = Rc::clone(&handler);
        crate::task::detach(async move {
            let response = handler(request).await.into_response();
            let sent = match responder.send_at_once(response) {
                Ok(Some(rest)) => rest.await,
                sent => sent.map(drop),
            };
            if let Err(error) = sent {
                ::log::debug!("a response was not taken: {error}");
            }
        });
    }
}
