//! A client's connection below HTTP: bare, or with TLS that the port ends.
//!
//! Readiness, resets and what the kernel knows of the client are asked of the TCP socket
//! in either case. TLS keeps a bounded part of what was written until the socket takes it:
//! how much the client has really taken is counted below TLS ([`Tally`]). Used by `transport`;
//! the handshake is in `https`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection of one of the two kinds.
pub(in crate::api) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<Tally>>),
}

/// What became of a word that must be said whole or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Whole,
    /// There is no room for it at the moment.
    Nothing,
    /// A part, which cannot be taken back, or the client is gone.
    Broken,
}

impl Socket {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => &tls.get_ref().0.tcp,
        }
    }

    /// Whether the client agreed to speak HTTP/2 (true), or HTTP/1.1 (false), before it
    /// said anything.
    pub(super) fn agreed(&self) -> Option<bool> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol().map(|name| name == b"h2"),
        }
    }

    /// Whether what is written may wait here.
    pub(super) fn is_buffered(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether the client took some bytes since the last time that this was asked.
    pub(super) fn has_moved(&mut self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(tls) => std::mem::take(&mut tls.get_mut().0.has_moved),
        }
    }

    /// Says something between two messages, without waiting.
    pub(super) fn say(&mut self, word: &[u8], cx: &mut Context<'_>) -> Said {
        let written = match self {
            Self::Tcp(tcp) => tcp.try_write(word),
            Self::Tls(tls) if tls.get_ref().1.wants_write() => return Said::Nothing,
            Self::Tls(tls) => match Pin::new(&mut **tls).poll_write(cx, word) {
                Poll::Ready(Ok(written)) => match Pin::new(&mut **tls).poll_flush(cx) {
                    // The rest goes out with what comes next.
                    Poll::Ready(Ok(())) | Poll::Pending => Ok(written),
                    Poll::Ready(Err(error)) => Err(error),
                },
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => return Said::Nothing,
            },
        };
        match written {
            Ok(written) if written == word.len() => Said::Whole,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Said::Nothing,
            Ok(_) | Err(_) => Said::Broken,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, data),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, pieces),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
        }
    }
}

/// The TCP socket below TLS, with a note whether it has taken something.
pub(crate) struct Tally {
    tcp: TcpStream,
    /// What was read of the client already, to see what it speaks.
    first: Option<u8>,
    has_moved: bool,
}

impl Tally {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            first: None,
            has_moved: false,
        }
    }

    /// The same, with the first byte put back before the others.
    pub(in crate::api) fn after(first: u8, tcp: TcpStream) -> Self {
        Self {
            first: Some(first),
            ..Self::new(tcp)
        }
    }

    fn note(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.has_moved |= matches!(outcome, Poll::Ready(Ok(written)) if written > 0);
        outcome
    }
}

impl AsyncRead for Tally {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            // After an error the next read finds the end: either way the connection is over.
            let _ = Pin::new(&mut self.tcp).poll_read(cx, buffer);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tally {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write(cx, data);
        self.note(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces);
        self.note(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
