//! `WriteTimeout`: a connection on which a write does not wait for ever.
//!
//! A client that takes nothing of its answer would keep its place else. What waits for a
//! client to say something has limits elsewhere: heads with hyper, bodies where they are
//! read.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use wapo::net::TcpStream;
use wapo::time::Sleep;

/// A connection, and its time for a write.
pub(super) struct WriteTimeout {
    stream: TcpStream,
    limit: Duration,
    /// While the client takes nothing.
    waiting: Option<Sleep>,
}

impl WriteTimeout {
    pub(super) fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            waiting: None,
        }
    }

    /// The connection, for another protocol.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Runs a write, with an end.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), cx);
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| wapo::time::sleep(limit));
        Pin::new(waiting)
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl hyper::rt::Read for WriteTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        hyper::rt::Read::poll_read(Pin::new(&mut self.stream), cx, buffer)
    }
}

impl hyper::rt::Write for WriteTimeout {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| {
            hyper::rt::Write::poll_write(stream, cx, data)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, hyper::rt::Write::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, hyper::rt::Write::poll_shutdown)
    }
}
