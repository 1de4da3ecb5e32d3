//! A TCP port of a guest: what its connections are set to, and who their clients are.
//!
//! Where the guest asks for it, connections from trusted proxies begin with a PROXY
//! header. It is read before the connection is yielded, for a bounded number of them
//! at a time (`proxied`); others are yielded meanwhile, and for a further one the oldest
//! leaves of which nothing has come. They count as connections of the instance. Used by
//! `listener`.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use crate::connections::{Activity, Connections};
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

/// An option of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SocketOption {
    /// Whether small writes are sent at once.
    Nodelay(bool),
    /// After which silence a peer is asked whether it is there.
    Keepalive(Option<Duration>),
}

impl SocketOption {
    /// Sets it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn set(self, stream: &TcpStream) -> io::Result<()> {
        match self {
            Self::Nodelay(nodelay) => stream.set_nodelay(nodelay),
            Self::Keepalive(time) => set_keepalive(stream, time),
        }
    }
}

/// Says what the kernel is to ask a silent peer, and when.
fn set_keepalive(stream: &TcpStream, time: Option<Duration>) -> io::Result<()> {
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

/// A connection whose header is still to come.
struct PendingHeader {
    stream: Arc<TcpStream>,
    proxy: IpAddr,
    /// Ends with the client, or with none when the header was not right.
    reading: BoxFuture<Option<SocketAddr>>,
    /// It is one of the instance's.
    _activity: Arc<Activity>,
}

impl PendingHeader {
    fn new(stream: TcpStream, proxy: SocketAddr, connections: &Connections) -> Self {
        let stream = Arc::new(stream);
        let reads = Arc::clone(&stream);
        let reading = Box::pin(async move {
            let read = read(&reads, proxy).await;
            if let Err(error) = &read {
                debug!(%proxy, %error, "a proxy did not say who its client is");
            }
            read.ok()
        });
        Self {
            stream,
            proxy: proxy.ip(),
            reading,
            _activity: connections.add(),
        }
    }

    /// Whether nothing more has come of it; a poll would go on otherwise.
    fn is_silent(&self) -> bool {
        let looked = SockRef::from(&*self.stream).peek(&mut [MaybeUninit::uninit()]);
        looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The connection, once its header was read.
    fn into_stream(self) -> Option<TcpStream> {
        drop(self.reading);
        Arc::into_inner(self.stream)
    }
}

/// A port that yields connections.
pub(crate) struct Port {
    io: TcpListener,
    setup: Setup,
    /// Connections whose header is still to come.
    waiting: VecDeque<PendingHeader>,
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
            waiting: VecDeque::new(),
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
        connections: &Connections,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        if let Some(announced) = self.announced(cx) {
            return Poll::Ready(Ok(announced));
        }
        // However many come: what follows is for the next look.
        for _ in 0..LISTENER_HEADERS_MAX {
            if self.is_leaving || !self.has_room() {
                return Poll::Pending;
            }
            let (stream, peer) = ready!(self.io.poll_accept(cx))?;
            let proxies = self.setup.proxies.as_deref();
            if !proxies.is_some_and(|proxies| is_trusted(proxies, peer.ip())) {
                return Poll::Ready(Ok((self.set_up(stream), peer)));
            }
            let mut one = PendingHeader::new(stream, peer, connections);
            match one.reading.as_mut().poll(cx) {
                Poll::Pending => self.wait(one),
                Poll::Ready(None) => {}
                Poll::Ready(Some(client)) => {
                    if let Some(stream) = one.into_stream() {
                        return Poll::Ready(Ok((self.set_up(stream), client)));
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The first connection whose header has come; those with a wrong one leave.
    fn announced(&mut self, cx: &mut Context<'_>) -> Option<(TcpStream, SocketAddr)> {
        let mut index = 0;
        while let Some(one) = self.waiting.get_mut(index) {
            let Poll::Ready(client) = one.reading.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            let stream = self.waiting.remove(index)?.into_stream();
            if let (Some(client), Some(stream)) = (client, stream) {
                return Some((self.set_up(stream), client));
            }
        }
        None
    }

    /// Whether one more can wait for its header. Those of which something has come are
    /// about to go on, and wake the waiting accept.
    fn has_room(&self) -> bool {
        self.waiting.len() < LISTENER_HEADERS_MAX
            || self.waiting.iter().any(PendingHeader::is_silent)
    }

    /// Lets a connection wait for its header. Where there is no room the oldest silent one
    /// leaves, of the same proxy if it has one.
    fn wait(&mut self, newcomer: PendingHeader) {
        if self.waiting.len() >= LISTENER_HEADERS_MAX {
            let silent = |one: &PendingHeader| one.is_silent();
            let same = |one: &PendingHeader| one.proxy == newcomer.proxy && one.is_silent();
            let oldest = self.waiting.iter().position(same);
            let oldest = oldest.or_else(|| self.waiting.iter().position(silent));
            debug!(proxy = %newcomer.proxy, "a connection without a header leaves for another");
            // One at least is there; what has spoken meanwhile stays if another has not.
            self.waiting.remove(oldest.unwrap_or_default());
        }
        self.waiting.push_back(newcomer);
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
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 5 443\r\n";

    /// A port that trusts 127.0.0.1 and 127.0.0.2.
    fn port() -> (Port, SocketAddr) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let trusted: Arc<[IpNet]> = Arc::new(["127.0.0.0/30".parse().expect("a network")]);
        let setup = Setup {
            proxies: Some(trusted),
            ..Setup::default()
        };
        (Port::new(listener, setup).expect("watched"), address)
    }

    async fn connect(from: u8, address: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from = (Ipv4Addr::new(127, 0, 0, from), 0).into();
        socket.bind(from).expect("bound");
        socket.connect(address).await.expect("connected")
    }

    /// Lets the port take connections until so many wait for their header.
    async fn wait_for(port: &mut Port, connections: &Connections, count: usize) {
        poll_fn(|cx| {
            let yielded = port.poll_accept(cx, connections);
            assert!(yielded.is_pending(), "headers are still to come");
            match port.waiting.len() < count {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_port_that_takes_nothing_more_still_yields_what_it_has_taken() {
        let (mut port, address) = port();
        let connections = Connections::default();
        let mut proxy = connect(1, address).await;
        wait_for(&mut port, &connections, 1).await;
        assert_eq!(connections.busy(), 1, "it counts as one of the instance's");
        assert!(port.goes_on());
        let mut late = connect(1, address).await;
        late.write_all(HEADER).await.expect("sent");
        proxy.write_all(HEADER).await.expect("sent");
        let yielded = poll_fn(|cx| port.poll_accept(cx, &connections)).await;
        let (stream, client) = yielded.expect("the connection");
        assert_eq!(client, "192.0.2.7:5".parse().expect("an address"));
        let peer = stream.peer_addr().expect("a peer");
        assert_eq!(peer, proxy.local_addr().expect("an address"));
        assert!(!port.goes_on(), "the late one is left to others");
        assert_eq!(connections.busy(), 0, "counted by the caller now");
    }

    #[tokio::test]
    async fn silent_connections_of_one_proxy_hold_up_nobody_and_leave_first() {
        let (mut port, address) = port();
        let connections = Connections::default();
        let mut other = connect(2, address).await;
        let mut silent = Vec::new();
        for _ in 0..LISTENER_HEADERS_MAX - 1 {
            silent.push(connect(1, address).await);
        }
        wait_for(&mut port, &connections, LISTENER_HEADERS_MAX).await;
        // It has begun: what has come of it was read.
        silent[0].write_all(&HEADER[..9]).await.expect("sent");
        // One more than can wait, and a client that is no proxy.
        let mut one_more = connect(1, address).await;
        one_more.write_all(HEADER).await.expect("sent");
        let _stranger = connect(9, address).await;
        let mut clients = Vec::new();
        for _ in 0..2 {
            let yielded = poll_fn(|cx| port.poll_accept(cx, &connections)).await;
            clients.push(yielded.expect("a connection").1.ip().to_string());
        }
        clients.sort();
        assert_eq!(clients, ["127.0.0.9", "192.0.2.7"]);
        // The oldest one of the other proxy is still there.
        other.write_all(HEADER).await.expect("sent");
        let yielded = poll_fn(|cx| port.poll_accept(cx, &connections)).await;
        let (stream, _) = yielded.expect("a connection");
        let peer = stream.peer_addr().expect("a peer");
        assert_eq!(peer, other.local_addr().expect("an address"));
        assert!(port.waiting.len() < LISTENER_HEADERS_MAX);
    }

    #[tokio::test]
    async fn more_headers_at_once_than_can_wait_are_all_read() {
        const COUNT: usize = 4 * LISTENER_HEADERS_MAX;
        let (mut port, address) = port();
        let connections = Connections::default();
        let mut all = Vec::new();
        for _ in 0..COUNT {
            let mut stream = connect(1, address).await;
            stream.write_all(HEADER).await.expect("sent");
            all.push(stream);
        }
        for _ in 0..COUNT {
            let yielded = poll_fn(|cx| port.poll_accept(cx, &connections)).await;
            let (stream, client) = yielded.expect("a connection");
            assert_eq!(client, "192.0.2.7:5".parse().expect("an address"));
            drop(stream);
        }
        for mut stream in all {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("a proper end");
        }
    }
}
