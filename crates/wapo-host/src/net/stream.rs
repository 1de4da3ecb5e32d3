//! What moves bytes for a guest: TCP, TLS, the body of an HTTP request.
//!
//! Reads and writes go straight between the socket and the slice they are
//! given, which is guest memory. Called by the `poll_*` host calls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::connections::Activity;
use crate::descriptors::DescriptorPermit;
use crate::embedder::Connection;
use crate::net::body::GuestBody;
use crate::net::tls::TlsStream;

/// A stream of a guest.
pub(crate) enum Stream {
    /// Plain TCP.
    Tcp {
        io: TcpStream,
        _permit: DescriptorPermit,
    },
    /// TLS that the host ends.
    Tls(Box<TlsStream>),
    /// Bodies of an HTTP request and its answer.
    Body(GuestBody),
    /// A connection that the embedder handed over.
    Handed {
        io: Box<dyn Connection>,
        _permit: DescriptorPermit,
    },
    /// One of those that came from outside, and whose turn it is on it.
    Accepted(Box<Accepted>),
}

/// An accepted connection.
pub(crate) struct Accepted {
    stream: Stream,
    activity: Arc<Activity>,
}

impl Stream {
    /// Counts a stream among those that clients have opened.
    pub(crate) fn accepted(self, activity: Arc<Activity>) -> Self {
        let stream = self;
        Self::Accepted(Box::new(Accepted { stream, activity }))
    }

    fn as_io(&mut self) -> Pin<&mut dyn Connection> {
        match self {
            Self::Tcp { io, .. } => Pin::new(io),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
            Self::Body(body) => Pin::new(&mut body.stream),
            Self::Handed { io, .. } => Pin::new(io.as_mut()),
            Self::Accepted(accepted) => accepted.stream.as_io(),
        }
    }

    /// Reads into `buffer`; 0 is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        std::task::ready!(self.as_io().poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        if let Self::Accepted(accepted) = self
            && read > 0
        {
            accepted.activity.note_read();
        }
        Poll::Ready(Ok(read))
    }

    /// Writes some of `data`.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_io().poll_write(cx, data);
        if let Self::Accepted(accepted) = self
            && written.is_ready()
        {
            accepted.activity.note_written();
        }
        written
    }

    /// Sends what is buffered.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_io().poll_flush(cx)
    }

    /// Ends the writing side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_io().poll_shutdown(cx)
    }

    /// Says whom to wake when buffered output can move without the guest asking.
    pub(crate) fn set_flush_waker(&mut self, make: impl FnOnce() -> Waker) {
        match self {
            Self::Tls(stream) => stream.set_flush_waker(make()),
            Self::Accepted(accepted) => accepted.stream.set_flush_waker(make),
            Self::Tcp { .. } | Self::Body(_) | Self::Handed { .. } => {}
        }
    }

    /// Pushes out what is buffered, after the waker above fired.
    pub(crate) fn push_out(&mut self) {
        match self {
            Self::Tls(stream) => stream.push_out(),
            Self::Accepted(accepted) => accepted.stream.push_out(),
            Self::Tcp { .. } | Self::Body(_) | Self::Handed { .. } => {}
        }
    }

    /// Lets go of the stream; what it had buffered is still sent.
    pub(crate) fn close(self) {
        match self {
            Self::Tls(stream) => stream.close(),
            Self::Accepted(accepted) => accepted.stream.close(),
            // For a guest, closing the stream is how an answer ends.
            Self::Body(mut body) => body.stream.writer().finish(),
            Self::Tcp { .. } | Self::Handed { .. } => {}
        }
    }
}
