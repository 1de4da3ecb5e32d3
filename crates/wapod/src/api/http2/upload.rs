//! The body of a request on one stream of HTTP/2.
//!
//! What is taken from it may be sent anew: the windows hold a client back, each
//! stream by itself. Read by `gateway` and by calls.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::Reply;

/// The body of a request.
pub(crate) struct Upload {
    stream: RecvStream,
    /// Bytes that were announced and have not come.
    left: Option<u64>,
    /// A client that waits to be told to go on.
    go_on: Option<Reply>,
    /// Only trailers follow.
    is_data_over: bool,
}

impl Upload {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, go_on: Option<Reply>) -> Self {
        Self {
            left: length,
            go_on: go_on.filter(|_| !stream.is_end_stream()),
            is_data_over: false,
            stream,
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => data,
            Some(Err(error)) => return Poll::Ready(broken(error).map(Err)),
            None => {
                self.is_data_over = true;
                return self.poll_trailers(cx);
            }
        };
        // Fails only if more is given back than came.
        let _ = self.stream.flow_control().release_capacity(data.len());
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|fields| Ok(Frame::trailers(fields))),
            Err(error) => broken(error).map(Err),
        })
    }
}

/// A stream that was reset without an error has ended (RFC 9113, section 8.1).
fn broken(error: h2::Error) -> Option<io::Error> {
    match error.reason() {
        Some(Reason::NO_ERROR) => None,
        _ => Some(io::Error::other(error)),
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(reply) = self.go_on.take() {
            reply.go_on();
        }
        match self.is_data_over {
            true => self.poll_trailers(cx),
            false => self.poll_data(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
