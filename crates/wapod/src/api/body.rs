//! Bodies of answers: whole ones, and those that come from a guest.
//!
//! [`GuestBody`] reads from the guest only when the client has taken what came
//! before, so a slow client slows the guest down and memory stays flat.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::StreamBody;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::oneshot;
use wapo_host::{BodyReader, Trailers};

use crate::worker::Lease;

/// Body of any answer.
pub(crate) enum Body {
    /// Everything at once; `None` when it was taken or is empty.
    Full(Option<Bytes>),
    /// As it comes from a guest.
    Guest(GuestBody),
    /// As it comes from elsewhere, such as a file.
    Stream(StreamBody<Frames>),
}

/// Pieces of a body, one after the other.
pub(crate) type Frames = Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>;

/// An answer with a body of a known type.
pub(super) fn full(
    status: StatusCode,
    content_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<Body> {
    let content = content.into();
    let mut response = Response::new(Body::Full((!content.is_empty()).then_some(content)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer for people.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    full(status, "text/plain; charset=utf-8", text)
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(content) => Poll::Ready(content.take().map(|c| Ok(Frame::data(c)))),
            Self::Guest(guest) => guest.poll_frame(cx),
            Self::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(content) => {
                SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Guest(_) | Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Tells the task that feeds a request body to a guest, by being dropped, that
/// the exchange is over.
pub(super) type Feeding = oneshot::Sender<()>;

/// The response body of a guest, and the exchange that it belongs to. The
/// exchange ends with it, however it ends.
pub(crate) struct GuestBody {
    from_guest: BodyReader,
    _feeding: Option<Feeding>,
    /// Counts the request until the answer is complete.
    _lease: Lease,
}

impl GuestBody {
    pub(super) fn new(from_guest: BodyReader, feeding: Option<Feeding>, lease: Lease) -> Self {
        Self {
            from_guest,
            _feeding: feeding,
            _lease: lease,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = ready!(self.from_guest.poll_chunk(cx));
        Poll::Ready(match chunk {
            Some(chunk) => Some(chunk.map(Frame::data)),
            None => trailers(self.from_guest.take_trailers()).map(|last| Ok(Frame::trailers(last))),
        })
    }
}

/// The trailers of an answer, if there are some; those that HTTP does not allow
/// are left out.
fn trailers(fields: Trailers) -> Option<HeaderMap> {
    let fields = fields.into_iter().filter_map(|(name, value)| {
        Some((
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value).ok()?,
        ))
    });
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, value);
    }
    (!map.is_empty()).then_some(map)
}
