//! Bodies of answers: whole ones and streams. Also drains unwanted request bodies.
//!
//! Has short ways to make an answer with a whole body. Bodies that come from a guest
//! are in `gateway`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::timeout;

use crate::limits::DISCARD_BYTES_MAX;

/// Body of any answer.
pub(crate) enum Body {
    /// None, in an answer of an app.
    Nothing,
    /// Everything at once, by the daemon; `None` when it was taken or is empty.
    Full(Option<Bytes>),
    /// As it comes from a guest.
    Guest(GuestFrames),
    /// As it comes from elsewhere, such as a file.
    Stream(StreamBody<Frames>),
}

/// What a guest sends. Boxed, so that the gateway, which makes it, is not known here.
type GuestFrames = Box<dyn hyper::body::Body<Data = Bytes, Error = io::Error> + Send + Unpin>;

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

/// Reads and drops what a client still sends of an unwanted body. Closing the
/// connection instead would reset it, and the answer would be lost on the way.
/// HTTP/2 can refuse one stream alone, but not every client copes with that.
pub(super) async fn discard(
    mut body: impl hyper::body::Body<Data = Bytes> + Unpin,
    time: Duration,
) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // A slower client loses the connection.
    let _ = timeout(time, reading).await;
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Nothing => Poll::Ready(None),
            Self::Full(content) => Poll::Ready(content.take().map(|c| Ok(Frame::data(c)))),
            Self::Guest(guest) => Pin::new(guest).poll_frame(cx),
            Self::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing | Self::Full(None) => true,
            Self::Guest(guest) => guest.is_end_stream(),
            Self::Full(Some(_)) | Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Full(content) => {
                SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Guest(guest) => guest.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
