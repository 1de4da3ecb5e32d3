//! `Raw`: a stream of bytes of which some were read already.
//!
//! What comes behind the head of a request for another protocol may be in the
//! buffer of the HTTP server; it is what is read first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use futures_util::{AsyncRead, AsyncWrite};
use wapo::net::TcpStream;

/// A connection and what was read of it.
pub(in crate::native) struct Raw {
    first: Bytes,
    stream: TcpStream,
}

impl Raw {
    pub(in crate::native) fn new(first: Bytes, stream: TcpStream) -> Self {
        Self { first, stream }
    }

    /// The connection, for what is not reading or writing; `None` while there is
    /// something that was read of it.
    pub(super) fn into_stream(self) -> Option<TcpStream> {
        self.first.is_empty().then_some(self.stream)
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl From<TcpStream> for Raw {
    fn from(stream: TcpStream) -> Self {
        Self::new(Bytes::new(), stream)
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.first.len().min(buffer.len());
        self.first.copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.stream), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(Pin::new(&mut self.stream), cx)
    }
}
