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
mod respond;
mod upgrade;

use std::future::{Future, poll_fn};
use std::rc::Rc;

use bytes::Bytes;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use wapo_abi::message::{HttpHeadOf, HttpRequestOf};

pub use self::body::{Body, BodyError};
pub use self::channel::BodySender;
pub use self::exchange::{ClientLeft, client_left, peer};
pub use self::respond::{IntoResponse, Responder};
pub use self::upgrade::{OnUpgrade, on_upgrade};
use crate::inbox;
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
        let message =
            poll_fn(|cx| inbox::HTTP_REQUESTS.poll_next::<HttpRequestOf<Bytes>>(cx)).await?;
        let stream = TcpStream::from_handle(message.io_stream.into(), false);
        let is_head = message.head.method == b"HEAD"[..];
        let body = Body::incoming(stream.share(), &message.head);
        let responder = Responder::new(message.response_tx.into(), stream, is_head);
        match request_of(message.head, body) {
            Ok(mut request) => {
                let responder = upgrade::offer(&mut request, responder);
                return Some((request, responder));
            }
            Err(error) => {
                ::log::debug!("a bad request: {error}");
                crate::spawn(responder.send((StatusCode::BAD_REQUEST, "bad request\n")));
            }
        }
    }
}

/// Makes a request of parts that share the message's memory.
fn request_of(head: HttpHeadOf<Bytes>, body: Body) -> http::Result<Request<Body>> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(&head.method)?;
    *request.uri_mut() = Uri::from_maybe_shared(head.url)?;
    let headers = request.headers_mut();
    headers.reserve(head.headers.len());
    for (name, value) in head.headers {
        let name = HeaderName::from_bytes(&name)?;
        headers.append(name, HeaderValue::from_maybe_shared(value)?);
    }
    Ok(request)
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
        crate::spawn(async move {
            let response = handler(request).await.into_response();
            if let Err(error) = responder.send(response).await {
                ::log::debug!("a response was not taken: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, url: &str, headers: &[(&str, &str)]) -> HttpHeadOf<Bytes> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let headers = headers.iter().map(|(n, v)| (bytes(n), bytes(v)));
        HttpHeadOf {
            method: bytes(method),
            url: bytes(url),
            headers: headers.collect(),
        }
    }

    #[test]
    fn heads_that_http_does_not_allow_are_errors() {
        for bad in [
            head("G T", "http://h/", &[]),
            head("GET", "http://h h/", &[]),
            head("GET", "http://h/", &[("na me", "v")]),
            head("GET", "http://h/", &[("name", "a\nb")]),
        ] {
            assert!(request_of(bad.clone(), Body::empty()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn duplicate_headers_are_kept() {
        let head = head("PUT", "http://h/p?q", &[("a", "1"), ("a", "2")]);
        let request = request_of(head, Body::empty()).expect("valid");
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri().query(), Some("q"));
        assert_eq!(request.headers().get_all("a").iter().count(), 2);
    }
}
