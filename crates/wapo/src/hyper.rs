//! What hyper 1 needs to run on our tasks, timers and streams.
//!
//! [`TcpStream`] speaks hyper's own I/O traits, so a server needs no adapter:
//!
//! ```no_run
//! # #[cfg(feature = "hyper")] {
//! use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
//! use wapo::hyper::Timer;
//! use wapo::net::TcpListener;
//!
//! #[wapo::main]
//! async fn main() -> wapo::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:8080").await?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         let hello = service_fn(|_: Request<Incoming>| async {
//!             Ok::<_, std::convert::Infallible>(Response::new("hello".to_owned()))
//!         });
//!         let connection = http1::Builder::new().timer(Timer).serve_connection(stream, hello);
//!         wapo::spawn(async move {
//!             if let Err(error) = connection.await {
//!                 log::debug!("a connection broke: {error}");
//!             }
//!         });
//!     }
//! }
//! # }
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Uri;

use crate::error::{Error, Result};
use crate::net::{Attempt, TcpStream, failure};
use crate::sys;
use crate::time;

/// Runs hyper's background work as tasks of the guest.
#[derive(Clone, Copy, Default, Debug)]
pub struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(crate::spawn(future));
    }
}

/// Gives hyper our timers, for its time limits.
#[derive(Clone, Copy, Default, Debug)]
pub struct Timer;

impl Timer {
    /// A timer; it has no state.
    #[deprecated(note = "write `Timer`")]
    pub const fn new() -> Self {
        Self
    }
}

impl hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(time::sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HyperSleep(time::sleep_until(deadline)))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<HyperSleep>() {
            Some(sleep) => sleep.get_mut().0.reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

struct HyperSleep(time::Sleep);

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl hyper::rt::Sleep for HyperSleep {}

/// Makes tokio streams usable by hyper, and hyper streams by tokio.
///
/// [`TcpStream`] needs none of it; a TLS stream of another crate does.
#[derive(Clone, Debug)]
pub struct Io<T>(T);

impl<T> Io<T> {
    /// Wraps a stream.
    pub const fn new(stream: T) -> Self {
        Self(stream)
    }

    /// The stream inside.
    pub const fn get_ref(&self) -> &T {
        &self.0
    }

    /// The stream back, under its name of Wapo 0.x.
    #[deprecated(note = "use `into_inner`")]
    pub fn inner(self) -> T {
        self.0
    }

    /// The stream back.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: tokio::io::AsyncRead + Unpin> hyper::rt::Read for Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.0);
        sys::lend_hyper_to_tokio(cursor, |buffer| stream.poll_read(cx, buffer))
    }
}

impl<T: tokio::io::AsyncWrite + Unpin> hyper::rt::Write for Io<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }
}

impl<T: hyper::rt::Read + Unpin> tokio::io::AsyncRead for Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.0);
        sys::lend_tokio_to_hyper(buffer, |cursor| stream.poll_read(cx, cursor))
    }
}

impl<T: hyper::rt::Write + Unpin> tokio::io::AsyncWrite for Io<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }
}

/// Connects to the host of a URI: `https` with TLS by the host, else plain.
///
/// ```no_run
/// # #[cfg(feature = "hyper")]
/// # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper::client::conn::http1;
/// let uri: hyper::Uri = "https://example.com/".parse()?;
/// let stream = wapo::hyper::HttpConnector::new().connect(uri).await?;
/// let (mut requests, connection) = http1::handshake::<_, String>(stream).await?;
/// wapo::spawn(connection);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct HttpConnector;

impl HttpConnector {
    /// A connector; it has no state.
    pub const fn new() -> Self {
        Self
    }

    /// Connects to the host and port of a URI, by default 80, with https 443.
    ///
    /// The future fails with [`Error::INVALID_PARAMETER`] when the URI has no
    /// host, else as [`crate::net::connect`].
    pub fn connect(&self, uri: Uri) -> HttpConnecting {
        HttpConnecting(connect(uri.host(), uri.port_u16(), uri.scheme_str()))
    }
}

/// Starts an attempt for the parts of a URI.
pub(crate) fn connect(
    host: Option<&str>,
    port: Option<u16>,
    scheme: Option<&str>,
) -> Result<Attempt> {
    let is_tls = scheme == Some("https");
    let port = port.unwrap_or(if is_tls { 443 } else { 80 });
    Attempt::start(host.ok_or(Error::INVALID_PARAMETER)?, port, is_tls)
}

/// A connection attempt of [`HttpConnector`].
#[derive(Debug)]
pub struct HttpConnecting(Result<Attempt>);

impl Future for HttpConnecting {
    type Output = io::Result<TcpStream>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.0 {
            Ok(attempt) => attempt.poll_io(cx),
            Err(error) => Poll::Ready(Err(failure::io_error(failure::NO_HANDLE, *error))),
        }
    }
}

impl hyper::service::Service<Uri> for HttpConnector {
    type Response = TcpStream;
    type Error = io::Error;
    type Future = HttpConnecting;

    fn call(&self, uri: Uri) -> HttpConnecting {
        self.connect(uri)
    }
}

#[cfg(feature = "tower")]
impl tower_service::Service<Uri> for HttpConnector {
    type Response = TcpStream;
    type Error = io::Error;
    type Future = HttpConnecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> HttpConnecting {
        self.connect(uri)
    }
}
