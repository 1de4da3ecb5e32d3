//! Outgoing connections.
//!
//! One future per attempt: resolve, ask the policy about every address, dial
//! the allowed ones in turn, all under one deadline. Made by the `tcp_connect`
//! calls, asked by `poll_res`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tracing::debug;

use crate::limits::{CONNECT_ADDRESSES_MAX, CONNECT_TIMEOUT};
use crate::meter::Meter;
use crate::net::dns::Dns;
use crate::net::policy::EgressPolicy;
use crate::net::stream::Stream;
use crate::net::tls::{TlsSettings, TlsStream};

/// Bytes charged for an outgoing TCP connection, at its start and when it stands.
pub(crate) const TCP_CONNECT_BYTES: u64 = 512;
/// Bytes charged for an outgoing TLS connection, at its start and when it stands.
pub(crate) const TLS_CONNECT_BYTES: u64 = 4096;

/// What an attempt needs from the host.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) dns: Arc<Dns>,
    pub(crate) tls: Arc<TlsSettings>,
    pub(crate) policy: Arc<dyn EgressPolicy>,
    pub(crate) meter: Arc<Meter>,
}

/// A connection attempt.
pub(crate) enum Connecting {
    /// Under way. Goes to `Done`.
    Trying(Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>),
    /// The outcome was handed over; asking again is the guest's mistake.
    Done,
}

impl Connecting {
    /// Starts an attempt; with a server name it speaks TLS.
    pub(crate) fn start(
        dialer: Dialer,
        host: String,
        port: u16,
        tls: Option<ServerName<'static>>,
    ) -> Self {
        Self::Trying(Box::pin(async move {
            let attempt = tokio::time::timeout(CONNECT_TIMEOUT, dialer.dial(&host, port)).await;
            let result = attempt
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
                .map(|tcp| match tls {
                    None => {
                        dialer.meter.add_ingress(TCP_CONNECT_BYTES);
                        Stream::Tcp(tcp)
                    }
                    Some(name) => {
                        dialer.meter.add_ingress(TLS_CONNECT_BYTES);
                        Stream::Tls(Box::new(TlsStream::connect(&dialer.tls, name, tcp)))
                    }
                });
            if let Err(error) = &result {
                debug!(host, port, %error, "connection failed");
            }
            result
        }))
    }

    /// Asks for the outcome; `None` when it was handed over before.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Stream>>> {
        let Self::Trying(attempt) = self else {
            return Poll::Ready(None);
        };
        let outcome = std::task::ready!(attempt.as_mut().poll(cx));
        *self = Self::Done;
        Poll::Ready(Some(outcome))
    }
}

impl Dialer {
    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        let addresses = self.dns.resolve(host).await?;
        for address in addresses.into_iter().take(CONNECT_ADDRESSES_MAX) {
            let address = SocketAddr::new(address, port);
            if let Err(denied) = self.policy.check_address(host, address) {
                error = io::Error::new(io::ErrorKind::PermissionDenied, denied);
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Small writes are the guest's own choice; delaying them helps nobody.
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }
}
