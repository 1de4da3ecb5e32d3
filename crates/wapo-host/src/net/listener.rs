//! What yields streams: TCP listeners, with or without TLS, and SNI listeners.
//!
//! Listeners are made non-blocking by the call itself: binding does not wait.
//! Called by `tcp_listen`, `tls_listen_sni` and the `tcp_accept` calls.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};
use wapo_abi::Errno;

use crate::embedder::SniListener;
use crate::limits::LISTEN_BACKLOG;
use crate::meter::Meter;
use crate::net::stream::Stream;
use crate::net::tls::TlsStream;

/// Bytes charged for an accepted TCP connection.
const ACCEPT_BYTES: u64 = 128;
/// Bytes charged, each way, for an accepted TLS connection.
const TLS_ACCEPT_BYTES: u64 = 1024;

/// Yields streams to a guest.
pub(crate) enum Listener {
    /// A port of its own.
    Tcp {
        listener: TcpListener,
        /// Speaks TLS on accepted connections.
        tls: Option<Arc<ServerConfig>>,
    },
    /// A name on the shared TLS port.
    Sni(Box<dyn SniListener>),
}

impl Listener {
    /// Binds a port.
    ///
    /// # Errors
    ///
    /// What the system says, `AddrInUse` above all.
    pub(crate) fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restarted guest must get its port back while old connections fade.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self::Tcp {
            listener: socket.listen(LISTEN_BACKLOG)?,
            tls,
        })
    }

    /// The bound address of a port of its own.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { listener, .. } => listener.local_addr().ok(),
            Self::Sni(_) => None,
        }
    }

    /// The next connection and its peer.
    ///
    /// # Errors
    ///
    /// [`Errno::IO_ERROR`] when accepting failed (the listener lives on),
    /// [`Errno::END_OF_FILE`] when an SNI name is gone.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        meter: &Meter,
    ) -> Poll<Result<(Stream, SocketAddr), Errno>> {
        match self {
            Self::Tcp { listener, tls } => {
                let (tcp, peer) = ready!(listener.poll_accept(cx)).map_err(|_| Errno::IO_ERROR)?;
                meter.add_ingress(ACCEPT_BYTES);
                // As for outgoing connections; a failure shows at the first read.
                let _ = tcp.set_nodelay(true);
                let stream = match tls {
                    None => Stream::Tcp(tcp),
                    Some(config) => {
                        meter.add_ingress(TLS_ACCEPT_BYTES);
                        meter.add_egress(TLS_ACCEPT_BYTES);
                        Stream::Tls(Box::new(TlsStream::accept(Arc::clone(config), tcp)))
                    }
                };
                Poll::Ready(Ok((stream, peer)))
            }
            Self::Sni(listener) => {
                let (connection, peer) = ready!(listener.poll_accept(cx))?;
                meter.add_ingress(TLS_ACCEPT_BYTES);
                meter.add_egress(TLS_ACCEPT_BYTES);
                Poll::Ready(Ok((Stream::Handed(connection), peer)))
            }
        }
    }
}
