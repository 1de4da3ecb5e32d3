//! Connections of either port: serving one to its end, and closing all.
//!
//! One task per connection, a bounded number of them (`places`), as they come in (`door`).
//! [`Listener::drain`] ends them in two stages: first no new requests, and after a grace
//! period no connection at all. The version of HTTP is told by the first bytes, after the
//! handshake where the port speaks TLS (`https`).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{Request, Response};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use wapo_sni::ServerName;

use super::body::Body;
use super::clients::Clients;
use super::door::{self, keep_alive};
use super::https::Https;
use super::liveness::ClientLiveness;
use super::places::{Activity, Place, Places, Wait, Work};
use super::request_body::RequestBody;
use super::timer::SharedTimer;
use super::transport::{Socket, Tally, Transport};
use super::{http1, http2, self_wakes};
use crate::limits::{FIRST_BYTES_TIMEOUT, TLS_UNSENT_BYTES_MAX};

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

/// A port that accepts, and its connections. Dropping it closes them all.
pub(crate) struct Listener {
    stage: watch::Sender<Stage>,
    places: Arc<Places>,
    grace: Duration,
    /// Looks after the certificate; ends with this.
    _watch: JoinSet<()>,
}

impl Listener {
    /// Starts to accept; with `https`, connections begin with TLS.
    pub(crate) fn start(
        listener: TcpListener,
        service: Arc<impl Service>,
        grace: Duration,
        https: Option<Arc<Https>>,
    ) -> Self {
        keep_alive(&listener);
        let (stage, watching) = watch::channel(Stage::Open);
        let places = Arc::clone(&service.clients().places);
        let mut watch = JoinSet::new();
        if let Some(https) = &https {
            watch.spawn(Arc::clone(https).watch());
        }
        tokio::spawn(door::accept(listener, service, https, watching));
        Self {
            _watch: watch,
            stage,
            places,
            grace,
        }
    }

    /// Stops accepting, waits for requests in flight, then closes what is left.
    pub(crate) async fn drain(self) {
        self.stage.send_replace(Stage::Draining);
        if timeout(self.grace, self.places.all_left()).await.is_err() {
            tracing::info!("requests are cut off: the grace period is over");
        }
        self.stage.send_replace(Stage::Closed);
    }
}

/// What answers the requests of a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one request. Failures have become answers when this returns.
    fn answer(
        &self,
        request: Request<RequestBody>,
        client: Client,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// What it spends on its clients.
    fn clients(&self) -> &Arc<Clients>;
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

/// A connection that another port has accepted, and whose TLS it has ended.
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
    /// The name that the client has asked for.
    pub(crate) name: ServerName,
    /// What it was shown.
    pub(crate) certificate: Arc<CertifiedKey>,
    /// The serial number of the app that this attests.
    pub(crate) attested: Option<u64>,
}

/// Serves such a connection to its end.
pub(super) async fn arrive(
    service: Arc<impl Service>,
    mut stream: Box<TlsStream<Tally>>,
    arrival: Arrival,
    stage: watch::Receiver<Stage>,
) {
    let session = stream.get_mut().1;
    session.set_buffer_limit(Some(TLS_UNSENT_BYTES_MAX));
    let tls = Tls::Named(Named {
        name: arrival.name,
        certificate: arrival.certificate,
        attested: arrival.attested,
    });
    let client = Client::new(service.clients(), arrival.peer, arrival.place, tls, stage);
    serve(Socket::Tls(stream), service, client).await;
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
    /// One that has come.
    pub(super) fn new(
        clients: &Clients,
        peer: SocketAddr,
        place: Place,
        tls: Tls,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        let liveness = clients.liveness(clients.who(peer.ip()));
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

pub(super) async fn serve(socket: Socket, service: Arc<impl Service>, client: Client) {
    let timeouts = service.clients().timeouts;
    let (liveness, activity) = (client.liveness(), client.activity());
    let mut transport = Transport::new(socket, liveness.clone(), activity.clone(), timeouts.write);
    let is_http2 = tokio::select! {
        is_http2 = timeout(FIRST_BYTES_TIMEOUT, transport.speaks_http2(timeouts.head)) => match is_http2 {
            Ok(Some(is_http2)) => is_http2,
            _ => return,
        },
        () = client.draining() => return,
    };
    if is_http2 {
        // Boxed: it is larger than what most connections need.
        let mut serving = Box::pin(http2::serve(transport, service, client));
        return self_wakes::run(serving.as_mut()).await;
    }
    let serving = pin!(http1::serve(transport, service, client));
    self_wakes::run(serving).await;
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

    use tokio::net::TcpStream;

    use super::*;
    use crate::limits::Timeouts;

    /// Hears requests and answers none.
    struct Silent {
        clients: Arc<Clients>,
        asked: Arc<tokio::sync::Notify>,
    }

    impl Service for Silent {
        async fn answer(&self, _: Request<RequestBody>, _: Client) -> Response<Body> {
            self.asked.notify_one();
            std::future::pending().await
        }

        fn clients(&self) -> &Arc<Clients> {
            &self.clients
        }
    }

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

    #[tokio::test]
    async fn stages_go_one_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::<tokio::sync::Notify>::default();
        let silent = Silent {
            clients: Clients::of_admin(8, Timeouts::default()),
            asked: Arc::clone(&asked),
        };
        let listener = Listener::start(listener, Arc::new(silent), Duration::from_millis(50), None);
        let mut stage = listener.stage.subscribe();
        let mut seen = vec![*stage.borrow_and_update()];
        // A request without an answer takes the whole grace.
        let mut client = TcpStream::connect(address).await.expect("accepted");
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let written = tokio::io::AsyncWriteExt::write_all(&mut client, request).await;
        written.expect("sent");
        asked.notified().await;
        let draining = tokio::spawn(listener.drain());
        while stage.changed().await.is_ok() {
            seen.push(*stage.borrow_and_update());
            let refused = TcpStream::connect(address).await.is_err();
            assert!(refused || seen.len() == 2, "open again after {seen:?}");
        }
        draining.await.expect("drained");
        assert_eq!(seen, [Stage::Open, Stage::Draining, Stage::Closed]);
    }
}
