//! TCP, TLS and UDP: connections out and in, and datagrams.
//!
//! Addresses to listen on are literal (`0.0.0.0:8080`); hosts to connect to
//! may be names, which the host resolves and checks against the operator's
//! policy. TLS is done by the host ([`connect_tls`], [`TcpListener::bind_tls`],
//! [`SniTlsListener`]); a guest that wants the keys to itself runs a TLS
//! library over plain streams.
//!
//! Streams implement the `AsyncRead` and `AsyncWrite` of futures, and of tokio
//! and hyper with the features of these names. For HTTP that arrives through
//! Wapo's gateway see [`crate::http`].

pub(crate) mod failure;
mod options;
mod sni;
mod stream;
mod tls;
mod udp;

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use wapo_abi::NetFailure;
use wapo_abi::message::TlsClientConfig;
pub use wapo_abi::message::TlsServerConfig;

pub use self::failure::NetError;
pub use self::options::ListenOptions;
use self::options::PortTls;
pub use self::sni::{SniOptions, SniTlsAcceptor, SniTlsListener};
pub use self::stream::TcpStream;
pub use self::tls::{Identity, TlsOptions};
pub use self::udp::{Datagrams, UdpSocket};
pub use crate::compat::net::*;
use crate::error::{Error, Result};
use crate::exit;
use crate::handle::Handle;
use crate::sys::calls;
use crate::task::poll_call;

/// Connects to a host by name or address.
///
/// # Errors
///
/// With the kind of [`io::Error`] that the standard library has for it, such as
/// `ConnectionRefused`, `TimedOut`, `NotFound` for a name that does not exist
/// and `PermissionDenied` when the operator's policy says no; `QuotaExceeded`
/// with too many connections. The text says what to do. See [`NetError`].
///
/// # Cancel safety
///
/// Dropping the future ends the attempt.
///
/// ```no_run
/// use futures_util::AsyncWriteExt;
/// # async fn demo() -> std::io::Result<()> {
/// let mut stream = wapo::net::connect("example.com", 80).await?;
/// stream.write_all(b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n").await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    dial(host, port, Way::Plain).await
}

/// As [`connect`], with TLS by the host, who checks the server's certificate
/// against the name.
///
/// The handshake happens with the first read or write, so a failed one shows
/// up there.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_tls(host: &str, port: u16) -> io::Result<TcpStream> {
    dial(host, port, Way::Tls).await
}

/// As [`connect_tls`], with protocols to offer, a certificate of one's own, or one's own
/// trust roots.
///
/// # Errors
///
/// As [`connect`]; `InvalidInput` also for a certificate, key or root that cannot be
/// used.
pub async fn connect_tls_with(host: &str, port: u16, options: TlsOptions) -> io::Result<TcpStream> {
    dial(host, port, Way::TlsWith(options)).await
}

/// How to connect.
enum Way {
    Plain,
    Tls,
    TlsWith(TlsOptions),
}

async fn dial(host: &str, port: u16, way: Way) -> io::Result<TcpStream> {
    let attempt = Attempt::start_as(host, port, way);
    let attempt = attempt.map_err(|error| failure::io_error(failure::NO_HANDLE, error))?;
    poll_fn(|cx| attempt.poll_io(cx)).await
}

/// A connection attempt that runs on the host.
#[derive(Debug)]
pub(crate) struct Attempt {
    handle: Handle,
    is_tls: bool,
}

impl Attempt {
    pub(crate) fn start(host: &str, port: u16, is_tls: bool) -> Result<Self> {
        Self::start_as(host, port, if is_tls { Way::Tls } else { Way::Plain })
    }

    fn start_as(host: &str, port: u16, way: Way) -> Result<Self> {
        let host = bare(host);
        let is_tls = !matches!(way, Way::Plain);
        let number = match way {
            Way::Plain => calls::tcp_connect(host, port),
            Way::Tls => calls::tcp_connect_tls(host.to_owned(), port, TlsClientConfig::V0),
            Way::TlsWith(options) => {
                calls::tcp_connect_tls_with(host.to_owned(), port, options.into())
            }
        };
        let number = number.map_err(|error| {
            exit::failed_to(error, || format!("cannot connect to {host}, port {port}"))
        })?;
        Ok(Self {
            handle: number.into(),
            is_tls,
        })
    }

    pub(crate) fn handle(&self) -> i32 {
        self.handle.get()
    }

    /// As [`Self::poll`], with the reason of a failure.
    pub(crate) fn poll_io(&self, cx: &Context<'_>) -> Poll<io::Result<TcpStream>> {
        let outcome = self.poll(cx);
        outcome.map_err(|error| failure::io_error(self.handle.get(), error))
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<TcpStream>> {
        poll_call(cx, |waker| calls::poll_res(waker, self.handle.get()))
            .map_ok(|number| TcpStream::from_handle(number.into(), self.is_tls))
    }
}

/// A host without the brackets that literal IPv6 addresses carry in URLs and nowhere
/// else.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}

/// Accepts TCP connections on a port of the worker.
///
/// ```no_run
/// # async fn demo() -> wapo::Result<()> {
/// let listener = wapo::net::TcpListener::bind("127.0.0.1:1999").await?;
/// loop {
///     let (stream, peer) = listener.accept().await?;
///     wapo::spawn(async move {
///         log::info!("hello {peer}");
///         drop(stream);
///     });
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct TcpListener {
    handle: Handle,
    is_tls: bool,
}

impl TcpListener {
    /// Listens on a literal address and port.
    ///
    /// # Errors
    ///
    /// [`Error::INVALID_PARAMETER`] when `addr` is not `ip:port`,
    /// [`Error::FORBIDDEN`] for a port that is not this app's,
    /// [`Error::IO_ERROR`] when it is taken.
    pub async fn bind(addr: impl AsRef<str>) -> Result<Self> {
        Self::listen(addr.as_ref(), None)
    }

    /// Listens with TLS by the host: accepted streams carry plain text.
    ///
    /// ```no_run
    /// # async fn demo(cert: String, key: String) -> wapo::Result<()> {
    /// use wapo::net::{Identity, TcpListener};
    /// let listener = TcpListener::bind_tls("0.0.0.0:443", Identity::from_pem(cert, key)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::bind`]; [`Error::INVALID_PARAMETER`] also for a certificate
    /// or key that cannot be used.
    pub async fn bind_tls(
        addr: impl AsRef<str>,
        config: impl Into<TlsServerConfig>,
    ) -> Result<Self> {
        Self::listen(addr.as_ref(), Some(config.into()))
    }

    /// Listens with options.
    ///
    /// ```no_run
    /// # async fn demo() -> wapo::Result<()> {
    /// use std::time::Duration;
    /// use wapo::net::{ListenOptions, TcpListener};
    /// let options = ListenOptions::new()
    ///     .keepalive(Duration::from_secs(60))
    ///     .proxy_header();
    /// let listener = TcpListener::bind_with("[::]:3000", options).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::bind_tls`]; [`Error::INVALID_PARAMETER`] also for a value that the
    /// option does not allow, [`Error::FORBIDDEN`] also for PROXY headers where the
    /// worker takes none.
    pub async fn bind_with(addr: impl AsRef<str>, options: ListenOptions) -> Result<Self> {
        let (tls, options) = options.into_parts();
        let is_tls = tls.is_some();
        Self::listen_by(addr.as_ref(), is_tls, |addr| match tls {
            Some(PortTls::Attested(names)) => calls::tcp_listen_attested(addr, names, options),
            Some(PortTls::Provided(tls)) => calls::tcp_listen_with(addr, Some(tls), options),
            None => calls::tcp_listen_with(addr, None, options),
        })
    }

    fn listen(addr: &str, tls: Option<TlsServerConfig>) -> Result<Self> {
        let is_tls = tls.is_some();
        Self::listen_by(addr, is_tls, |addr| calls::tcp_listen(addr, tls))
    }

    fn listen_by(
        addr: &str,
        is_tls: bool,
        call: impl FnOnce(String) -> Result<i32>,
    ) -> Result<Self> {
        let cannot = |error| exit::failed_to(error, || format!("cannot listen on {addr}"));
        if addr.parse::<SocketAddr>().is_err() {
            return Err(cannot(Error::INVALID_PARAMETER));
        }
        let number = call(addr.to_owned())
            .map_err(|error| cannot(failure::remember(failure::NO_HANDLE, error)))?;
        let handle = number.into();
        Ok(Self { handle, is_tls })
    }

    /// The address and port that it listens on; the port that was chosen when it was
    /// bound to port 0.
    ///
    /// # Errors
    ///
    /// On a host of Wapo 0.x, which cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        udp::local_addr(&self.handle)
    }

    /// Waits for the next connection: its stream and where it comes from. With
    /// as many open streams as the worker allows, waits until one is closed.
    ///
    /// # Errors
    ///
    /// [`Error::IO_ERROR`] when the host failed to accept; the listener stays
    /// usable.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost when the future is dropped.
    pub fn accept(&self) -> Acceptor<'_> {
        Acceptor { listener: self }
    }

    /// As [`Self::accept`], for hand-written futures.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<(TcpStream, SocketAddr)>> {
        poll_accept(cx, &self.handle, self.is_tls)
    }
}

/// The future of [`TcpListener::accept`].
#[derive(Debug)]
#[must_use = "nothing is accepted unless it is awaited"]
pub struct Acceptor<'a> {
    listener: &'a TcpListener,
}

impl Future for Acceptor<'_> {
    type Output = Result<(TcpStream, SocketAddr)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.listener.poll_accept(cx)
    }
}

/// Accepts from a listener of any kind.
fn poll_accept(
    cx: &Context<'_>,
    listener: &Handle,
    is_tls: bool,
) -> Poll<Result<(TcpStream, SocketAddr)>> {
    poll_call(cx, |waker| {
        let (number, peer) = calls::tcp_accept(waker, listener.get())?;
        let stream = TcpStream::from_handle(number.into(), is_tls);
        let peer = peer.parse().map_err(|_| Error::INVALID_ENCODING)?;
        Ok((stream, peer))
    })
}
