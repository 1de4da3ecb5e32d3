//! The client of one connection, as requests and their answers know it: where it is, what
//! can be told about it, and how long it is served.
//!
//! Reads and writes nothing of the connection. Made by `clients`, for `door` and
//! `connection`; each request has a copy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::sign::CertifiedKey;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;
use wapo_sni::ServerName;

use super::liveness::ClientLiveness;
#[cfg(test)]
use super::places::Places;
use super::places::{Activity, Place, Wait, Work};
use super::timer::SharedTimer;
use super::transport::Transport;

/// Shutdown stage of a listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Serving. Goes to `Draining`.
    Open,
    /// Finishing what was begun. Goes to `Closed`.
    Draining,
    /// Nothing is served any more.
    Closed,
}

/// Who is at the other end; counts with whatever was made of the connection.
#[derive(Clone)]
pub(crate) struct Client {
    /// Address of the other end, as the kernel says, or the proxy in between in
    /// front of everything else.
    pub(super) peer: SocketAddr,
    link: Arc<Link>,
    /// The request that this belongs to: it is worked on as long as that.
    _work: Option<Arc<Work>>,
}

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// As the kernel says.
    pub(super) address: SocketAddr,
    /// Whether the connection has TLS.
    pub(super) is_https: bool,
}

impl Peer {
    /// How URLs begin on this connection.
    pub(super) fn scheme(self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }
}

impl From<SocketAddr> for Peer {
    /// One without TLS.
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            is_https: false,
        }
    }
}

/// What TLS says of a connection.
pub(super) enum Tls {
    /// There is none.
    Absent,
    /// The port has one certificate for whatever is asked for.
    Port,
    /// The client has asked for a name, and got a certificate for it.
    Named(Named),
}

/// Under which name a client has come.
pub(super) struct Named {
    pub(super) name: ServerName,
    pub(super) certificate: Arc<CertifiedKey>,
    /// The serial number of the app that this attests.
    pub(super) attested: Option<u64>,
}

/// What all requests of a connection share.
struct Link {
    liveness: Arc<ClientLiveness>,
    place: Place,
    tls: Tls,
    /// Copied only by tasks that wait for it: each copy is counted for the whole port.
    stage: watch::Receiver<Stage>,
    /// For requests that wait, one after the other.
    timer: Mutex<SharedTimer>,
    /// Who gets the transport when HTTP has ended.
    switch: Mutex<Option<oneshot::Sender<Transport>>>,
}

impl Client {
    /// One that has come; see [`Clients::client`](super::clients::Clients::client).
    pub(super) fn new(
        liveness: ClientLiveness,
        peer: SocketAddr,
        place: Place,
        tls: Tls,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        Self {
            peer,
            link: Arc::new(Link {
                liveness: Arc::new(liveness),
                place,
                tls,
                stage,
                timer: Mutex::default(),
                switch: Mutex::default(),
            }),
            _work: None,
        }
    }

    /// A timer, which is to be given back.
    pub(super) fn take_timer(&self) -> SharedTimer {
        std::mem::take(&mut *self.timer())
    }

    /// Keeps a timer for the next request.
    pub(super) fn keep_timer(&self, timer: SharedTimer) {
        let before = std::mem::replace(&mut *self.timer(), timer);
        // Of another stream; not under the lock.
        drop(before);
    }

    fn timer(&self) -> MutexGuard<'_, SharedTimer> {
        // A single value is always whole.
        self.link
            .timer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the connection comes from, and how it comes.
    pub(super) fn end(&self) -> Peer {
        Peer {
            address: self.peer,
            is_https: !matches!(self.link.tls, Tls::Absent),
        }
    }

    /// The name that it has come under, where the port has several certificates.
    pub(super) fn named(&self) -> Option<&Named> {
        match &self.link.tls {
            Tls::Named(named) => Some(named),
            Tls::Absent | Tls::Port => None,
        }
    }

    /// What can be told about the other end.
    pub(super) fn liveness(&self) -> &Arc<ClientLiveness> {
        &self.link.liveness
    }

    /// What the connection is doing.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        self.link.place.activity()
    }

    /// Says that the connection speaks another protocol after the answer, and where it
    /// will be: the transport comes when the answer has been written.
    pub(super) fn switches(&self) -> oneshot::Receiver<Transport> {
        self.liveness().becomes_tunnel();
        let (taker, transport) = oneshot::channel();
        *self.switch() = Some(taker);
        transport
    }

    /// Who waits for the transport, if it is time for another protocol.
    pub(super) fn switched(&self) -> Option<oneshot::Sender<Transport>> {
        self.switch().take()
    }

    fn switch(&self) -> MutexGuard<'_, Option<oneshot::Sender<Transport>>> {
        // A single value is always whole.
        self.link
            .switch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that nothing can be done until the client sends more.
    pub(super) fn waits(&self) -> Wait {
        self.activity().wait()
    }

    /// The same client with a request.
    pub(super) fn with_request(&self) -> Self {
        Self {
            _work: Some(Arc::new(self.activity().work())),
            ..self.clone()
        }
    }

    /// Waits until there has been no request for some time.
    pub(super) async fn idle(&self, time: Duration) {
        let liveness = self.liveness();
        loop {
            let begun = liveness.begun();
            // One that ends meanwhile is followed by the whole time.
            let was_idle = liveness.requests() == 0;
            sleep(time).await;
            if was_idle && liveness.requests() == 0 && liveness.begun() == begun {
                return;
            }
        }
    }

    /// Waits until requests are not taken any more.
    pub(super) async fn draining(&self) {
        let mut stage = self.link.stage.clone();
        // An error means that the listener is gone, which is the same.
        let _ = stage.wait_for(|stage| *stage >= Stage::Draining).await;
    }

    /// Waits until nothing is served any more.
    pub(super) async fn closed(&self) {
        let mut stage = self.link.stage.clone();
        let _ = stage.wait_for(|stage| *stage == Stage::Closed).await;
    }
}

/// A request, until its answer is complete.
pub(super) struct ActiveRequest(Arc<Link>);

impl ActiveRequest {
    pub(super) fn new(client: &Client) -> Self {
        client.liveness().begin_request();
        Self(Arc::clone(&client.link))
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.liveness.end_request();
    }
}

/// The stage of a listener that is open as long as the tests run.
#[cfg(test)]
static OPEN: std::sync::LazyLock<watch::Sender<Stage>> =
    std::sync::LazyLock::new(|| watch::channel(Stage::Open).0);

#[cfg(test)]
impl Client {
    /// One that has a place, and no connection.
    pub(super) async fn of_test(places: &Arc<Places>) -> Self {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let who = super::budget::Who::new(peer.ip(), &[]);
        Self {
            peer,
            link: Arc::new(Link {
                liveness: Arc::default(),
                place: places.take(who).await.expect("a place"),
                tls: Tls::Absent,
                stage: OPEN.subscribe(),
                timer: Mutex::default(),
                switch: Mutex::default(),
            }),
            _work: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_client_is_idle_when_the_whole_time_has_passed_since_its_last_request() {
        let client = Client::of_test(&Places::new(1, 1)).await;
        let time = Duration::from_millis(100);
        let request = ActiveRequest::new(&client);
        let mut idle = pin!(client.idle(time));
        // The wait has begun when the request ends.
        assert!(timeout(time / 2, idle.as_mut()).await.is_err());
        drop(request);
        let ended = Instant::now();
        idle.await;
        assert!(ended.elapsed() >= time);
    }
}
