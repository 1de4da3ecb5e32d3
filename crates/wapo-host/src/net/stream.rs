//! What moves bytes for a guest: TCP, TLS, the body of an HTTP request.
//! Connections of the shared TLS port are one of the first two.
//!
//! Reads and writes go straight between the socket and the slice they are
//! given, which is guest memory. Called by the `poll_*` host calls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::connections::Activity;
use crate::descriptors::DescriptorPermit;
use crate::host_memory::MemoryCharge;
use crate::net::body::GuestBody;
use crate::net::port::SocketOption;
use crate::net::tls::{NoSocket, TlsFacts, TlsStream};
use crate::request::HttpReply;

/// What streams are: the traits of tokio together.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

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
    /// A connection of the shared TLS port whose TLS is the guest's own.
    Raw {
        /// What the embedder has read of it; comes before the rest.
        first: Vec<u8>,
        /// For that; it is at most as much as for a TLS stream.
        memory: Option<MemoryCharge>,
        io: TcpStream,
        _permit: DescriptorPermit,
        _guard: Box<dyn Send>,
    },
    /// One of those that came from outside, and whose turn it is on it.
    Accepted(Box<Accepted>),
}

/// An accepted connection.
pub(crate) struct Accepted {
    stream: Stream,
    activity: Arc<Activity>,
    /// The name that its client has asked for, on the shared TLS port.
    server_name: Option<Arc<str>>,
}

impl Stream {
    /// Counts a stream among those that clients have opened.
    pub(crate) fn accepted(self, activity: Arc<Activity>, server_name: Option<Arc<str>>) -> Self {
        Self::Accepted(Box::new(Accepted {
            stream: self,
            activity,
            server_name,
        }))
    }

    fn as_io(&mut self) -> Pin<&mut dyn Io> {
        match self {
            Self::Tcp { io, .. } => Pin::new(io),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
            Self::Body(body) => Pin::new(&mut body.stream),
            Self::Raw { io, .. } => Pin::new(io),
            Self::Accepted(accepted) => accepted.stream.as_io(),
        }
    }

    /// Where the answer to the HTTP request goes whose exchange this is, if it is to be
    /// given with it.
    pub(crate) fn take_reply(&mut self) -> Option<oneshot::Sender<HttpReply>> {
        match self {
            Self::Body(body) => body.reply.take(),
            _ => None,
        }
    }

    /// Sets an option of the socket that a stream has; `None` when it has none of its
    /// own.
    pub(crate) fn set_option(&mut self, option: SocketOption) -> Option<io::Result<()>> {
        match self {
            Self::Tcp { io, .. } | Self::Raw { io, .. } => Some(option.set(io)),
            Self::Tls(stream) => Some(stream.set_option(option)),
            Self::Accepted(accepted) => accepted.stream.set_option(option),
            Self::Body(_) => None,
        }
    }

    /// The socket, unless it is hidden in a handshake; a body has none.
    ///
    /// # Errors
    ///
    /// [`NoSocket`] says why there is none.
    pub(crate) fn socket(&self) -> Result<&TcpStream, NoSocket> {
        match self {
            Self::Tcp { io, .. } | Self::Raw { io, .. } => Ok(io),
            Self::Tls(stream) => stream.socket(),
            Self::Accepted(accepted) => accepted.stream.socket(),
            Self::Body(_) => Err(NoSocket::Never),
        }
    }

    /// Reads into `buffer`; 0 is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = match self.take_first(buffer) {
            Some(read) => read,
            None => {
                let mut buffer = ReadBuf::new(buffer);
                std::task::ready!(self.as_io().poll_read(cx, &mut buffer))?;
                buffer.filled().len()
            }
        };
        if let Self::Accepted(accepted) = self
            && read > 0
        {
            accepted.activity.note_read();
        }
        Poll::Ready(Ok(read))
    }

    /// What was read before the guest had the stream, if it wants any of it.
    fn take_first(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self {
            Self::Raw { first, memory, .. } if !first.is_empty() && !buffer.is_empty() => {
                let count = first.len().min(buffer.len());
                buffer[..count].copy_from_slice(&first[..count]);
                first.drain(..count);
                if first.is_empty() {
                    first.shrink_to_fit();
                    *memory = None;
                }
                Some(count)
            }
            Self::Accepted(accepted) => accepted.stream.take_first(buffer),
            _ => None,
        }
    }

    /// What both ends have agreed on. Nothing is known before a handshake is over.
    pub(crate) fn tls_facts(&self) -> TlsFacts {
        match self {
            Self::Tls(stream) => stream.facts(),
            Self::Accepted(accepted) => {
                let facts = accepted.stream.tls_facts();
                let asked = accepted.server_name.as_deref().map(str::to_owned);
                TlsFacts {
                    server_name: asked.or(facts.server_name),
                    ..facts
                }
            }
            Self::Tcp { .. } | Self::Body(_) | Self::Raw { .. } => TlsFacts::default(),
        }
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
            Self::Tcp { .. } | Self::Body(_) | Self::Raw { .. } => {}
        }
    }

    /// Pushes out what is buffered, after the waker above fired.
    pub(crate) fn push_out(&mut self) {
        match self {
            Self::Tls(stream) => stream.push_out(),
            Self::Accepted(accepted) => accepted.stream.push_out(),
            Self::Tcp { .. } | Self::Body(_) | Self::Raw { .. } => {}
        }
    }

    /// Lets go of the stream; what it had buffered is still sent.
    pub(crate) fn close(self) {
        match self {
            Self::Tls(stream) => stream.close(),
            Self::Accepted(accepted) => accepted.stream.close(),
            // For a guest, closing the stream is how an answer ends.
            Self::Body(mut body) => body.stream.writer().finish(),
            Self::Tcp { .. } | Self::Raw { .. } => {}
        }
    }
}
