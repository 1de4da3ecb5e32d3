//! A TCP port of a guest: what its connections are set to, and who their clients are.
//!
//! Where the guest asks for it, connections from trusted proxies begin with a PROXY
//! header. It is read before the connection is yielded, for a bounded number of them
//! at a time (`proxied`); others are yielded meanwhile. Used by `listener`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use crate::embedder::BoxFuture;
use crate::limits::LISTENER_HEADERS_MAX;
use crate::net::proxied::{is_trusted, read};

/// What a guest has chosen for a listener.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Connections that wait in the kernel.
    pub(crate) backlog: Option<i32>,
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<Duration>,
    /// Proxies that begin with a PROXY header; `None` when nobody does.
    pub(crate) proxies: Option<Arc<[IpNet]>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            backlog: None,
            nodelay: true,
            keepalive: None,
            proxies: None,
        }
    }
}

impl Setup {
    /// Descriptors of connections that are not yielded yet.
    pub(crate) fn descriptors(&self) -> u64 {
        match self.proxies {
            Some(_) => LISTENER_HEADERS_MAX as u64,
            None => 0,
        }
    }
}

/// Says what the kernel is to ask a silent peer, and when.
pub(crate) fn set_keepalive(stream: &TcpStream, time: Option<Duration>) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let Some(time) = time else {
        return socket.set_keepalive(false);
    };
    let interval = (time / 4).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new()
        .with_time(time)
        .with_interval(interval)
        .with_retries(4);
    socket.set_tcp_keepalive(&keepalive)
}

/// A connection and its client, or none when the header was not right.
type Announced = Option<(TcpStream, SocketAddr)>;

/// A port that yields connections.
pub(crate) struct Port {
    io: TcpListener,
    setup: Setup,
    /// Connections whose header is still to come.
    waiting: FuturesUnordered<BoxFuture<Announced>>,
    /// Whether nothing more is taken from the kernel.
    is_leaving: bool,
}

impl Port {
    /// Takes over a port, or a clone of one that is shared.
    ///
    /// # Errors
    ///
    /// When the system refuses to watch it.
    pub(crate) fn new(listener: std::net::TcpListener, setup: Setup) -> io::Result<Self> {
        // An embedder may have forgotten to; the runtime would wait for ever.
        listener.set_nonblocking(true)?;
        if let Some(backlog) = setup.backlog {
            // A listener that listens again changes its backlog.
            SockRef::from(&listener).listen(backlog)?;
        }
        Ok(Self {
            io: TcpListener::from_std(listener)?,
            setup,
            waiting: FuturesUnordered::new(),
            is_leaving: false,
        })
    }

    /// The bound address.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.io.local_addr().ok()
    }

    /// Whether connections that were taken are still to be yielded; no more are
    /// taken from now on.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.is_leaving = true;
        !self.waiting.is_empty()
    }

    /// The next connection and its client.
    ///
    /// # Errors
    ///
    /// As the system says when accepting failed.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            while let Poll::Ready(Some(announced)) = self.waiting.poll_next_unpin(cx) {
                if let Some((stream, client)) = announced {
                    return Poll::Ready(Ok((self.set_up(stream), client)));
                }
            }
            if self.is_leaving || self.waiting.len() >= LISTENER_HEADERS_MAX {
                return Poll::Pending;
            }
            let (mut stream, peer) = ready!(self.io.poll_accept(cx))?;
            let proxies = self.setup.proxies.as_deref();
            if !proxies.is_some_and(|proxies| is_trusted(proxies, peer.ip())) {
                return Poll::Ready(Ok((self.set_up(stream), peer)));
            }
            self.waiting.push(Box::pin(async move {
                match read(&mut stream, peer).await {
                    Ok(client) => Some((stream, client)),
                    Err(error) => {
                        debug!(proxy = %peer, %error, "a proxy did not say who its client is");
                        None
                    }
                }
            }));
        }
    }

    /// Sets what was chosen. A failure shows at the first read.
    fn set_up(&self, stream: TcpStream) -> TcpStream {
        let _ = stream.set_nodelay(self.setup.nodelay);
        if self.setup.keepalive.is_some() {
            let _ = set_keepalive(&stream, self.setup.keepalive);
        }
        stream
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_port_that_takes_nothing_more_still_yields_what_it_has_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let trusted: Arc<[IpNet]> = Arc::new(["127.0.0.0/8".parse().expect("a network")]);
        let setup = Setup {
            proxies: Some(trusted),
            ..Setup::default()
        };
        let mut port = Port::new(listener, setup).expect("watched");
        let mut proxy = TcpStream::connect(address).await.expect("connected");
        let taken = poll_fn(|cx| {
            let yielded = port.poll_accept(cx);
            assert!(yielded.is_pending(), "its header is still to come");
            match port.waiting.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        });
        taken.await;
        assert!(port.goes_on());
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 5 443\r\n";
        let mut late = TcpStream::connect(address).await.expect("connected");
        late.write_all(header).await.expect("sent");
        proxy.write_all(header).await.expect("sent");
        let yielded = poll_fn(|cx| port.poll_accept(cx)).await;
        let (stream, client) = yielded.expect("the connection");
        assert_eq!(client, "192.0.2.7:5".parse().expect("an address"));
        let peer = stream.peer_addr().expect("a peer");
        assert_eq!(peer, proxy.local_addr().expect("an address"));
        assert!(!port.goes_on(), "the late one is left to others");
    }
}
