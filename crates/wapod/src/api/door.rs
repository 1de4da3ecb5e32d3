//! Accepts connections, and finds the address of their client.
//!
//! A new connection gets a place (`places`) before any byte of it is read. Where a
//! proxy that the operator trusts sends a PROXY header first, the connection counts
//! as one of the proxy's until the header has arrived, and no other connection waits
//! for that. Accepted connections are served by `connection`. Started by `listener`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::budget::Who;
use super::client::{Client, Stage, Tls};
use super::connection::serve;
use super::https::Https;
use super::places::Place;
use super::service::Service;
use super::transport::Socket;
use crate::limits::{ACCEPT_WARNING_INTERVAL, KEEPALIVE_TIME};

/// Pause after a failed accept, for instance without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn accept(
    listener: TcpListener,
    service: Arc<impl Service>,
    https: Option<Arc<Https>>,
    stage: watch::Receiver<Stage>,
) {
    let clients = Arc::clone(service.clients());
    let mut draining = stage.clone();
    let door = Arc::new(Door {
        service,
        https,
        stage,
    });
    let mut warned: Option<Instant> = None;
    let accepting = async {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if warned.is_none_or(|at| at.elapsed() >= ACCEPT_WARNING_INTERVAL) {
                        tracing::warn!(%error, "cannot accept connections");
                        warned = Some(Instant::now());
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !clients.sends_header(peer.ip()) {
                door.admit(stream, peer).await;
            } else if let Some(place) = clients.place_without_header(peer.ip()).await {
                let door = Arc::clone(&door);
                tokio::spawn(async move { door.admit_from_proxy(stream, peer, place).await });
            }
        }
    };
    tokio::select! {
        biased;
        // An error means that the listener is gone, which is the same.
        _ = draining.wait_for(|stage| *stage >= Stage::Draining) => {}
        () = accepting => {}
    }
}

/// What takes connections in: who answers them, whether with TLS, and for how long.
struct Door<S> {
    service: Arc<S>,
    https: Option<Arc<Https>>,
    stage: watch::Receiver<Stage>,
}

impl<S: Service> Door<S> {
    /// Serves a connection as soon as there is a place for its client.
    async fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        match self.service.clients().place(peer.ip()).await {
            Some(place) => drop(tokio::spawn(self.serving(stream, peer, place))),
            None => tracing::debug!(client = %peer.ip(), "a client has too many connections"),
        }
    }

    /// The same when a proxy says first who the client is. Without a right header
    /// nobody knows whose bytes follow, and the connection is closed.
    async fn admit_from_proxy(&self, stream: TcpStream, proxy: SocketAddr, place: Place) {
        let mut draining = self.stage.clone();
        let peer = tokio::select! {
            peer = self.service.clients().behind_proxy(&stream, proxy, &place) => peer,
            () = place.activity().displaced() => return,
            _ = draining.wait_for(|stage| *stage >= Stage::Draining) => return,
        };
        if let Some(peer) = peer {
            self.serving(stream, peer, place).await;
        }
    }

    /// A connection that has its place, to its end.
    fn serving(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
    ) -> impl Future<Output = ()> + use<S> {
        let tls = match self.https {
            Some(_) => Tls::Port,
            None => Tls::Absent,
        };
        let service = Arc::clone(&self.service);
        let clients = service.clients();
        let client = clients.client(peer, place, tls, self.stage.clone());
        let https = self.https.clone();
        async move {
            let activity = Arc::clone(client.activity());
            let serving = async {
                let who = service.clients().who(peer.ip());
                if let Some(socket) = open(stream, https, &client, who).await {
                    serve(socket, service, client).await;
                }
            };
            tokio::select! {
                () = serving => {}
                () = activity.displaced() => {}
            }
        }
    }
}

/// Makes the connection ready for HTTP; `None` when it does not come to that.
async fn open(
    stream: TcpStream,
    https: Option<Arc<Https>>,
    client: &Client,
    who: Who,
) -> Option<Socket> {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(https) = https else {
        return Some(Socket::Tcp(stream));
    };
    // Boxed: it is larger than what comes after it.
    let shaking = Box::pin(https.shake(stream, who));
    tokio::select! {
        shaken = shaking => shaken.map(Socket::Tls),
        () = client.draining() => None,
    }
}

/// Lets the kernel find out about clients that vanished. What it accepts from
/// then on inherits the setting.
pub(crate) fn keep_alive(listener: &TcpListener) {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_TIME / 4)
        .with_retries(4);
    let socket = socket2::SockRef::from(listener);
    if let Err(error) = socket.set_tcp_keepalive(&keepalive) {
        tracing::warn!(%error, "clients that vanish will not be noticed");
    }
}
