//! Connections for one server name on the worker's shared TLS port.
//!
//! The host has finished the handshake before a stream arrives here, unless the
//! guest speaks TLS by itself ([`SniTlsListener::bind_raw`]). For a port of the app's
//! own see [`super::TcpListener::bind_tls`].

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use wapo_abi::message::SniConfig;

use super::{Identity, TcpStream, TlsServerConfig, failure, poll_accept};
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
    name: String,
    protocols: Vec<Vec<u8>>,
    /// Whether the host may hold back what is written until it is flushed.
    is_buffered: bool,
}

/// Who speaks TLS, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
enum NameTls {
    Guest,
    Provided(Identity),
    Attested,
}

/// How connections for a server name are accepted.
///
/// ```
/// # use wapo::net::{Identity, SniOptions};
/// # let (cert, key) = ("", "");
/// let options = SniOptions::new(Identity::from_pem(cert, key)).protocols(["h2", "http/1.1"]);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SniOptions {
    tls: NameTls,
    protocols: Vec<Vec<u8>>,
}

impl SniOptions {
    /// TLS by the host with this certificate and key, without a choice of protocols.
    pub fn new(identity: Identity) -> Self {
        Self {
            tls: NameTls::Provided(identity),
            protocols: Vec::new(),
        }
    }

    /// TLS by the host with a certificate that proves which app serves: it has the app's
    /// key, its evidence, and the name. The worker makes it, keeps the key to itself, and
    /// keeps the certificate new. Binding fails with
    /// [`UNSUPPORTED_OPERATION`](crate::Error::UNSUPPORTED_OPERATION) where the worker can
    /// prove nothing, and with [`FORBIDDEN`](crate::Error::FORBIDDEN) where it verifies
    /// certificates and its operator has not given the name to the app.
    pub fn attested() -> Self {
        Self {
            tls: NameTls::Attested,
            protocols: Vec::new(),
        }
    }

    /// Protocols to choose from (ALPN, RFC 7301), the preferred one first: up to 16
    /// names of 1 to 255 bytes. A client that offers none of them is refused, one
    /// that offers nothing is not.
    #[must_use]
    pub fn protocols<T: AsRef<[u8]>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter();
        self.protocols = names.map(|name| name.as_ref().to_vec()).collect();
        self
    }
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
        let name = sni.as_ref().to_owned();
        let number = calls::tls_listen_sni(name.clone(), config.into());
        let handle = number.map_err(failure::remember_any)?.into();
        Ok(Self {
            handle,
            name,
            protocols: Vec::new(),
            is_buffered: true,
        })
    }

    /// Claims a server name, with a choice of protocols.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_with(name: impl AsRef<str>, options: SniOptions) -> Result<Self> {
        let SniOptions { tls, protocols } = options;
        Self::listen(name.as_ref().to_owned(), tls, protocols)
    }

    /// Claims a server name for a guest that speaks TLS by itself: streams begin with
    /// the client's ClientHello, and the host never sees what is inside.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); [`crate::Error::FORBIDDEN`] also when the worker verifies
    /// certificates and its operator has not given the name to the app.
    pub fn bind_raw(name: impl AsRef<str>) -> Result<Self> {
        Self::listen(name.as_ref().to_owned(), NameTls::Guest, Vec::new())
    }

    /// Replaces certificate and key. Connections that stand keep the old ones, new
    /// clients see the new ones; none is refused in between.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind); the listener is as it was then.
    pub fn replace(&mut self, identity: Identity) -> Result<()> {
        let (name, protocols) = (self.name.clone(), self.protocols.clone());
        // The former one is closed when the new one counts.
        *self = Self::listen(name, NameTls::Provided(identity), protocols)?;
        Ok(())
    }

    fn listen(name: String, tls: NameTls, protocols: Vec<Vec<u8>>) -> Result<Self> {
        let is_buffered = tls != NameTls::Guest;
        let config = |identity: Option<Identity>| SniConfig::V0 {
            identity: identity.map(Into::into),
            protocols: protocols.clone(),
        };
        let number = match tls {
            NameTls::Attested => calls::sni_listen_attested(name.clone(), protocols.clone()),
            NameTls::Provided(identity) => calls::sni_listen(name.clone(), config(Some(identity))),
            NameTls::Guest => calls::sni_listen(name.clone(), config(None)),
        };
        let handle = number.map_err(failure::remember_any)?.into();
        Ok(Self {
            handle,
            name,
            protocols,
            is_buffered,
        })
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
        poll_accept(cx, &self.listener.handle, self.listener.is_buffered)
    }
}
