//! hyper 0.14 over our streams, for programs that have not moved to hyper 1.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper_v0::Uri;
use ::hyper_v0::client::connect::{Connected, Connection};
use ::hyper_v0::server::accept::Accept;
use ::hyper_v0::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Error, Result};
use crate::net::{Attempt, TcpConnector, TcpListener, TcpStream};

/// Connects to the host of a URI: `https` with TLS by the host, else plain.
#[derive(Clone, Copy, Default, Debug)]
pub struct HttpConnector;

impl HttpConnector {
    /// A connector; it has no state.
    pub const fn new() -> Self {
        Self
    }
}

impl Service<Uri> for HttpConnector {
    type Response = TcpStream;
    type Error = Error;
    type Future = TcpConnector;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> TcpConnector {
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let attempt = uri
            .host()
            .ok_or(Error::INVALID_PARAMETER)
            .and_then(|host| Attempt::start(host, port, is_tls));
        TcpConnector::new(attempt)
    }
}

impl Connection for TcpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Accept for TcpListener {
    type Conn = TcpStream;
    type Error = Error;

    fn poll_accept(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<TcpStream>>> {
        let accepted = ready!(TcpListener::poll_accept(&self, cx));
        Poll::Ready(Some(accepted.map(|(stream, _)| stream)))
    }
}

impl TcpListener {
    /// Yields streams that know their peer.
    pub fn into_addr_incoming(self) -> AddrIncoming {
        AddrIncoming { listener: self }
    }
}

/// Accepts streams that know their peer.
#[derive(Debug)]
pub struct AddrIncoming {
    listener: TcpListener,
}

impl Accept for AddrIncoming {
    type Conn = AddrStream;
    type Error = Error;

    fn poll_accept(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<AddrStream>>> {
        let accepted = ready!(self.listener.poll_accept(cx));
        Poll::Ready(Some(
            accepted.map(|(stream, peer)| AddrStream { stream, peer }),
        ))
    }
}

/// A stream that knows its peer.
#[derive(Debug)]
pub struct AddrStream {
    stream: TcpStream,
    peer: SocketAddr,
}

impl AddrStream {
    /// Where the connection comes from.
    pub fn remote_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for AddrStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for AddrStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
