//! The body of a request on one stream of HTTP/2.
//!
//! What is taken from it may be sent anew: the windows hold a client back, each
//! stream by itself. Read by `gateway` and by calls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::reply::Reply;
use crate::api::liveness::ClientLiveness;

/// The body of a request.
pub(crate) struct Upload {
    stream: RecvStream,
    /// Where it is counted what was not taken.
    liveness: Arc<ClientLiveness>,
    /// Bytes that were announced and have not come.
    left: Option<u64>,
    /// A client that waits to be told to go on.
    go_on: Option<Reply>,
    /// Only trailers follow.
    is_data_over: bool,
}

impl Upload {
    pub(super) fn new(
        stream: RecvStream,
        length: Option<u64>,
        go_on: Option<Reply>,
        liveness: &Arc<ClientLiveness>,
    ) -> Self {
        Self {
            liveness: Arc::clone(liveness),
            left: length,
            go_on: go_on.filter(|_| !stream.is_end_stream()),
            is_data_over: false,
            stream,
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => data,
            // A reset without an error, too: only the end of the stream is one.
            Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            None => {
                self.is_data_over = true;
                return self.poll_trailers(cx);
            }
        };
        // Fails only if more is given back than came.
        let _ = self.stream.flow_control().release_capacity(data.len());
        let unread = &self.liveness.unread;
        unread.taken(self.stream.stream_id().as_u32(), data.len() as u64);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|fields| Ok(Frame::trailers(fields))),
            Err(error) => Some(Err(io::Error::other(error))),
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let unread = &self.liveness.unread;
        unread.over(self.stream.stream_id().as_u32());
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

#[cfg(test)]
mod tests {
    use h2::Reason;
    use http_body_util::BodyExt as _;
    use hyper::Request;

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_reset_without_an_error_is_not_complete() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let asking = h2::client::handshake(near);
        let (asking, answering) = tokio::join!(asking, h2::server::handshake(far));
        let (requests, connection) = asking.expect("the client's side");
        let mut server = answering.expect("the server's side");
        tokio::spawn(connection);
        let mut requests = requests.ready().await.expect("ready");
        let request = Request::post("http://h/").body(()).expect("a request");
        let (_answer, mut body) = requests.send_request(request, false).expect("asked");
        let some = Bytes::from_static(b"some");
        body.send_data(some.clone(), false).expect("sent");
        let accepted = server.accept().await.expect("not the end");
        let (request, _reply) = accepted.expect("a request");
        tokio::spawn(async move { while server.accept().await.is_some() {} });

        let mut upload = Upload::new(request.into_body(), None, None, &Arc::default());
        let first = upload.frame().await.expect("not the end");
        let first = first.expect("no error");
        assert_eq!(first.into_data().ok(), Some(some));
        body.send_reset(Reason::NO_ERROR);
        let last = upload.frame().await;
        assert!(matches!(last, Some(Err(_))), "{last:?}");
    }
}
