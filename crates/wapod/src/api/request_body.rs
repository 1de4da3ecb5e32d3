//! The body of a request, in either version of HTTP.
//!
//! HTTP/1.1 is hyper's, HTTP/2 is in `http2`; the reader of a body need not know
//! which. Reading it tells a client that waits for `100 Continue` to go on. Made by
//! `http1` and `http2`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::client::Client;
use super::http2::Upload;
use super::liveness::ReadingBody;
use super::signed_parts::BodyDigest;

/// The body of a request.
pub(crate) enum RequestBody {
    /// Of HTTP/1.1.
    Http1 {
        body: Incoming,
        /// Until the body has come to its end, or is not read any more.
        reading: Option<ReadingBody>,
    },
    /// Of one stream of HTTP/2.
    Http2(Upload),
    /// Either, whose digest is taken on the way.
    Digested(Box<Self>, Arc<BodyDigest>),
}

impl RequestBody {
    /// A body of HTTP/1.1. Until it has been read, what comes on the connection is no head.
    pub(super) fn http1(body: Incoming, client: &Client) -> Self {
        let reading = (!body.is_end_stream()).then(|| ReadingBody::new(client.liveness()));
        Self::Http1 { body, reading }
    }

    /// The same, whose digest is taken on the way.
    pub(super) fn digested(self, digest: Arc<BodyDigest>) -> Self {
        if self.is_end_stream() {
            digest.note(None, true);
        }
        Self::Digested(Box::new(self), digest)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Http1 { body, reading } => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                if body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
                    *reading = None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
            Self::Digested(body, digest) => {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                let data = match &frame {
                    Some(Ok(frame)) => frame.data_ref(),
                    _ => None,
                };
                digest.note(data, frame.is_none() || body.is_end_stream());
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1 { body, .. } => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Digested(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1 { body, .. } => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Digested(body, _) => body.size_hint(),
        }
    }
}
