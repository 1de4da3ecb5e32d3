//! A guest's end of an exchange: the bodies, and what the guest may ask about the client.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite as _;
use tokio::sync::oneshot;

use super::BodyStream;
use crate::request::{HttpReply, InHand};

/// A guest's end, and what it may ask about the other.
pub(crate) struct GuestBody {
    pub(crate) stream: BodyStream,
    /// Address of the client, if the embedder knows it.
    pub(crate) peer: Option<SocketAddr>,
    /// Once the guest has taken the request: it lets go of it with this stream.
    pub(crate) in_hand: Option<InHand>,
    /// Where the answer goes that is given with this handle, until it is given.
    pub(crate) reply: Option<oneshot::Sender<HttpReply>>,
}

impl GuestBody {
    /// Writes as much of the answer's body as there is room for now; how many bytes that
    /// was. None where the client has left, which the next write says.
    pub(crate) fn write_now(&mut self, data: &[u8]) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(self.stream.writer()).poll_write(&mut cx, data) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        }
    }
}
