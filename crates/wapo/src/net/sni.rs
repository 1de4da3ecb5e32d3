//! Connections for one server name on the worker's shared TLS port.
//!
//! The host has finished the handshake before a stream arrives here. For a
//! port of the app's own see [`super::TcpListener::bind_tls`].

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{TcpStream, TlsServerConfig, poll_accept};
use crate::error::Result;
use crate::handle::Handle;
use crate::sys::calls;

/// Accepts TLS connections that ask for one server name.
///
/// ```no_run
/// # async fn demo(cert: String, key: String) -> wapo::Result<()> {
/// use wapo::net::{Identity, SniTlsListener};
/// let mut listener = SniTlsListener::bind("app.example.com", Identity::from_pem(cert, key))?;
/// loop {
///     let (stream, peer) = listener.accept().await?;
///     # drop((stream, peer));
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct SniTlsListener {
    handle: Handle,
}

impl SniTlsListener {
    /// Claims a server name.
    ///
    /// # Errors
    ///
    /// [`crate::Error::FORBIDDEN`] when the worker has no shared TLS port,
    /// [`crate::Error::INVALID_PARAMETER`] when the name is taken or the
    /// certificate does not fit it.
    pub fn bind(sni: impl AsRef<str>, config: impl Into<TlsServerConfig>) -> Result<Self> {
        let handle = calls::tls_listen_sni(sni.as_ref().to_owned(), config.into())?.into();
        Ok(Self { handle })
    }

    /// Waits for the next connection.
    pub fn accept(&mut self) -> SniTlsAcceptor<'_> {
        SniTlsAcceptor { listener: self }
    }
}

/// The future of [`SniTlsListener::accept`].
///
/// # Cancel safety
///
/// No connection is lost when it is dropped.
#[derive(Debug)]
pub struct SniTlsAcceptor<'a> {
    listener: &'a SniTlsListener,
}

impl Future for SniTlsAcceptor<'_> {
    type Output = Result<(TcpStream, SocketAddr)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        poll_accept(cx, &self.listener.handle, true)
    }
}
