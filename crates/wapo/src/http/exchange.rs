//! What an exchange has besides its bodies: the client's address, whether the client
//! is still there, trailers, and a way to break off.
//!
//! Wraps the calls of the family `http`. Called by the bodies and the
//! responder of this folder. A host that does not know the calls is no error:
//! there are no trailers and no address then, and no client ever leaves.

use std::borrow::Cow;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use parity_scale_codec::Encode;

use super::Body;
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::net::TcpStream;
use crate::sys::calls;
use crate::task::poll_call;

/// Address of the client that sent a request, as the worker knows it.
///
/// The port is 0 when a proxy in front of the worker hides it. There is none
/// for a request that did not come from [`super::accept`] or [`super::serve`],
/// once the exchange is over, and on workers that do not tell.
///
/// ```no_run
/// # use wapo::http::{Body, Request};
/// async fn whoami(request: Request<Body>) -> String {
///     match wapo::http::peer(&request) {
///         Some(address) => format!("you are {}\n", address.ip()),
///         None => "nobody knows\n".to_owned(),
///     }
/// }
/// ```
pub fn peer(request: &Request<Body>) -> Option<SocketAddr> {
    request.body().exchange()?.peer()
}

/// An exchange that may be over: it does not keep the stream open.
#[derive(Clone, Debug)]
pub(super) struct Exchange(pub(super) Weak<Handle>);

impl Exchange {
    fn peer(&self) -> Option<SocketAddr> {
        let handle = self.0.upgrade()?;
        calls::http_peer(handle.get()).ok()??.parse().ok()
    }
}

/// Waits for the client of a request to leave before it has its answer.
///
/// For work that is in vain then: reads and writes fail as well, but a handler that
/// computes or waits for something else does neither. To be awaited beside the answer,
/// which ends the wait: the future is done as well when the exchange is over, or never.
/// It is never done for a request that did not come from [`super::accept`] or
/// [`super::serve`], nor on workers that do not tell.
///
/// ```no_run
/// use futures_util::future::{Either, select};
/// # use wapo::http::{Body, Request};
/// # async fn search() -> String { String::new() }
/// async fn find(request: Request<Body>) -> String {
///     let left = wapo::http::client_left(&request);
///     match select(std::pin::pin!(search()), left).await {
///         Either::Left((found, _)) => found,
///         Either::Right(_) => String::new(), // for nobody
///     }
/// }
/// ```
pub fn client_left(request: &Request<Body>) -> ClientLeft {
    ClientLeft(request.body().exchange().cloned())
}

/// The future of [`client_left`].
///
/// # Cancel safety
///
/// Nothing is lost when it is dropped.
#[derive(Debug)]
#[must_use = "nothing is heard unless it is awaited"]
pub struct ClientLeft(Option<Exchange>);

impl Future for ClientLeft {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(exchange) = &self.0 else {
            return Poll::Pending;
        };
        let Some(handle) = exchange.0.upgrade() else {
            return Poll::Ready(());
        };
        match poll_call(cx, |waker| calls::http_unread(waker, handle.get())) {
            Poll::Pending | Poll::Ready(Err(Error::UNKNOWN_CALL_NUMBER)) => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(()),
        }
    }
}

/// The trailers of a request whose body was read to its end.
pub(super) fn trailers(stream: &TcpStream) -> Option<HeaderMap> {
    let fields = calls::http_trailers(stream.handle()).ok()?;
    let fields = fields.iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(name.as_str()).ok()?;
        Some((name, HeaderValue::try_from(value.as_str()).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, value);
    }
    Some(map)
}

/// Names and values of trailers as they travel: as text. Bytes that are not UTF-8
/// are read as Latin-1, as the host does with those of a request.
fn trailer_fields(map: &HeaderMap) -> Vec<(&str, Cow<'_, str>)> {
    let fields = map.iter();
    fields
        .map(|(name, value)| {
            let bytes = value.as_bytes();
            let text = match std::str::from_utf8(bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => bytes.iter().copied().map(char::from).collect(),
            };
            (name.as_str(), text)
        })
        .collect()
}

/// A response's body on its way. Dropping it before the end breaks the answer
/// off, so that the client never takes a part for the whole.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: TcpStream,
    is_done: bool,
}

impl Outgoing {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_done: false,
        }
    }

    pub(super) fn poll_write(&mut self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize>> {
        self.stream.do_write(cx, data)
    }

    /// Ends the body.
    pub(super) fn poll_finish(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        let outcome = self.stream.do_shutdown(cx);
        self.is_done |= matches!(outcome, Poll::Ready(Ok(())));
        outcome
    }

    /// Ends the body with trailers, or without where the host knows none.
    pub(super) fn poll_finish_with(
        &mut self,
        cx: &Context<'_>,
        trailers: &HeaderMap,
    ) -> Poll<Result<()>> {
        let trailers = trailer_fields(trailers).encode();
        match calls::http_finish(self.stream.handle(), &trailers) {
            Err(Error::UNKNOWN_CALL_NUMBER) => self.poll_finish(cx),
            outcome => {
                self.is_done |= outcome.is_ok();
                Poll::Ready(outcome)
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.is_done {
            // Fails only on a host that cannot, or after the client has left.
            let _ = calls::http_abort(self.stream.handle());
        }
    }
}

#[cfg(test)]
mod tests {
    use wapo_abi::Errno;

    use super::*;
    use crate::sys::fake::{self, Answer};

    #[test]
    fn the_peer_is_asked_for_while_the_exchange_lasts() {
        fake::install();
        let stream = TcpStream::from_handle(3.into(), false);
        let request = Request::new(Body::incoming(stream.share(), &HeaderMap::new()));
        let told = |text: Option<&str>| Answer::Bytes(text.map(str::to_owned).encode());
        for (answer, expected) in [
            (told(Some("10.1.2.3:44")), Some("10.1.2.3:44")),
            (told(Some("[::1]:0")), Some("[::1]:0")),
            (told(Some("someone")), None),
            (told(None), None),
            (Answer::Fails(Errno::UNKNOWN_CALL_NUMBER), None),
        ] {
            fake::answer("http_peer", answer);
            let expected = expected.map(|text| text.parse().expect("an address"));
            assert_eq!(peer(&request), expected);
        }
        assert_eq!(fake::calls("http_peer").len(), 5);
        assert_eq!(peer(&Request::new(Body::empty())), None);
        drop(stream);
        assert_eq!(fake::calls("close").len(), 0, "the body has it, too");
        let body = request.into_body();
        let exchange = body.exchange().cloned();
        drop(body);
        assert_eq!(fake::calls("close").len(), 1);
        assert_eq!(exchange.and_then(|exchange| exchange.peer()), None);
        assert_eq!(fake::calls("http_peer").len(), 0);
    }

    #[test]
    fn a_client_that_leaves_is_heard_of_where_the_host_tells() {
        fake::install();
        let stream = TcpStream::from_handle(3.into(), false);
        let request = Request::new(Body::incoming(stream, &HeaderMap::new()));
        let mut left = client_left(&request);
        let mut nobody = client_left(&Request::new(Body::empty()));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut poll = |left: &mut ClientLeft| Pin::new(left).poll(&mut cx).is_ready();
        assert!(!poll(&mut left), "it waits");
        fake::answer("http_unread", Answer::Fails(Errno::UNKNOWN_CALL_NUMBER));
        assert!(!poll(&mut left), "a host that cannot tell");
        fake::answer("http_unread", Answer::Value(0));
        assert!(poll(&mut left));
        drop(request);
        assert!(poll(&mut left), "the exchange is over");
        assert_eq!(fake::calls("http_unread").len(), 3);
        assert!(!poll(&mut nobody));
    }

    #[test]
    fn bytes_beyond_ascii_travel_in_trailers() {
        let mut map = HeaderMap::new();
        map.insert("x", HeaderValue::from_bytes(b"caf\xe9").expect("a value"));
        assert_eq!(trailer_fields(&map), [("x", Cow::Borrowed("caf\u{e9}"))]);
    }

    #[test]
    fn trailers_that_http_does_not_allow_are_left_out() {
        fake::install();
        let stream = TcpStream::from_handle(3.into(), false);
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let sent = vec![
            field("a", "1"),
            field("a", "2"),
            field("b c", "3"),
            field("d", "\n"),
        ];
        fake::answer("http_trailers", Answer::Bytes(sent.encode()));
        let map = trailers(&stream).expect("some");
        let field = |name, value| (name, Cow::Borrowed(value));
        assert_eq!(trailer_fields(&map), [field("a", "1"), field("a", "2")]);
        fake::answer("http_trailers", Answer::Fails(Errno::END_OF_FILE));
        assert_eq!(trailers(&stream), None);
    }
}
