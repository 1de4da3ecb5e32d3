//! hyper 1's connector over our streams, with the errors it had in Wapo 0.x.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;

use crate::error::{Error, Result};
use crate::net::{TcpConnector, TcpStream};

/// Connects to the host of a URI: `https` with TLS by the host, else plain.
#[derive(Clone, Copy, Default, Debug)]
pub struct HttpConnector;

impl HttpConnector {
    /// A connector; it has no state.
    pub const fn new() -> Self {
        Self
    }
}

/// A connection attempt of [`HttpConnector`].
#[derive(Debug)]
pub struct HttpConnecting(TcpConnector);

impl HttpConnecting {
    fn start(uri: &Uri) -> Self {
        let attempt = crate::hyper::connect(uri.host(), uri.port_u16(), uri.scheme_str());
        Self(TcpConnector::new(attempt))
    }
}

impl Future for HttpConnecting {
    type Output = Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl hyper::service::Service<Uri> for HttpConnector {
    type Response = TcpStream;
    type Error = Error;
    type Future = HttpConnecting;

    fn call(&self, uri: Uri) -> HttpConnecting {
        HttpConnecting::start(&uri)
    }
}

#[cfg(feature = "tower")]
impl tower_service::Service<Uri> for HttpConnector {
    type Response = TcpStream;
    type Error = Error;
    type Future = HttpConnecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> HttpConnecting {
        HttpConnecting::start(&uri)
    }
}
