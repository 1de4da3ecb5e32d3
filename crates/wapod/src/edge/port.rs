//! The shared TLS port: from a connection to a guest that serves the name.
//!
//! Reads a client's first message, looks up which app has the name, makes the
//! handshake with the certificate of that app (`handshake`), and lets the connection
//! wait for a guest. All of it has deadlines, and the number of such connections is
//! bounded: the one that has waited longest for its client is closed for a new one. A
//! client that cannot be served gets an alert with the reason; the port does not wait
//! until it is sent. Started by `server`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wapo_host::{Accepted, AcceptedIo, ReadAhead};
use wapo_sni::{Alert, ClientHello, ServerName};

use super::certificates::ACME_TLS;
use super::figures::{At, Outcome};
use super::handshake::{self, Failed, shake_hands, tell};
use super::leave::{self, Left};
use super::parking::{self, NoOne, Offered};
use super::serving::{Ready, Serving};
use super::{Edge, Found};
use crate::api::{Arrival, Clients, Place, Stage, Tally, UserService, keep_alive};
use crate::limits::{
    ACCEPT_WAIT, ACCEPT_WARNING_INTERVAL, CLIENT_HELLO_TIMEOUT, GOODBYE_TIMEOUT, SNI_TAKE_TIMEOUT,
    TLS_HANDSHAKE_TIMEOUT, TLS_LEAVING_WAIT,
};
use crate::worker::{Seat, Worker};

/// Pause after a failed accept, for instance without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What all connections of the port share.
struct Shared {
    edge: Arc<Edge>,
    worker: Arc<Worker>,
    clients: Arc<Clients>,
    /// Serves the names that apps leave to it.
    gateway: Arc<UserService>,
    /// The shutdown stage of the port, for connections that the gateway serves.
    stage: watch::Receiver<Stage>,
    stopped: Stopped,
}

/// Until when connections may come to guests, once nothing more is accepted.
type Stopped = watch::Receiver<Option<Instant>>;

impl Shared {
    /// Waits until what no guest has yet is given up.
    async fn gives_up(&self) {
        let mut stopped = self.stopped.clone();
        let told = stopped.wait_for(|until| until.is_some()).await;
        // An error means that the port is gone, which is the same.
        let until = told.ok().and_then(|until| *until);
        sleep_until(until.unwrap_or_else(Instant::now)).await;
    }

    /// What becomes of something within its time, unless all is given up before.
    async fn in_time<T>(&self, time: Duration, what: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            outcome = timeout(time, what) => outcome.ok(),
            () = self.gives_up() => None,
        }
    }
}

/// A client that has said whom it wants.
struct Visitor {
    tcp: TcpStream,
    peer: SocketAddr,
    hello: ClientHello,
    name: ServerName,
}

/// The port and its connections that no guest has yet. Dropping it closes them.
pub(crate) struct TlsPort {
    /// Told to accept no more; dropped when nothing is to go on.
    stop: watch::Sender<Option<Instant>>,
    stage: watch::Sender<Stage>,
    /// Looks after the certificate; ends with this.
    _watch: JoinSet<()>,
    clients: Arc<Clients>,
    grace: Duration,
}

impl TlsPort {
    /// Starts to accept.
    pub(crate) fn start(
        listener: TcpListener,
        edge: Arc<Edge>,
        worker: Arc<Worker>,
        (clients, gateway): (Arc<Clients>, Arc<UserService>),
        grace: Duration,
    ) -> Self {
        keep_alive(&listener);
        let (stop, stopped) = watch::channel(None);
        let (stage, watching) = watch::channel(Stage::Open);
        let certificates = Arc::clone(&edge.certificates);
        let mut watch = JoinSet::new();
        watch.spawn(async move { certificates.watch().await });
        let shared = Arc::new(Shared {
            edge,
            worker,
            clients: Arc::clone(&clients),
            gateway,
            stage: watching,
            stopped: stopped.clone(),
        });
        tokio::spawn(accept(listener, shared, stopped));
        Self {
            stop,
            stage,
            _watch: watch,
            clients,
            grace,
        }
    }

    /// Stops accepting. What is on its way comes to a guest soon, or is let go.
    pub(crate) async fn drain(self) {
        self.stop
            .send_replace(Some(Instant::now() + TLS_LEAVING_WAIT));
        self.stage.send_replace(Stage::Draining);
        // What is left is closed with this.
        let _ = timeout(self.grace, self.clients.all_left()).await;
        self.stage.send_replace(Stage::Closed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stopped: Stopped) {
    let mut warned: Option<Instant> = None;
    let mut told = stopped.clone();
    let accepting = async {
        loop {
            let (tcp, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if warned.is_none_or(|at| at.elapsed() >= ACCEPT_WARNING_INTERVAL) {
                        tracing::warn!(%error, "cannot accept connections at the TLS port");
                        warned = Some(Instant::now());
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !shared.clients.sends_header(peer.ip()) {
                admit(tcp, peer, &shared, &stopped).await;
            } else if let Some(place) = shared.clients.place_without_header(peer.ip()).await {
                let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                tokio::spawn(admit_from_proxy(tcp, peer, shared, stopped, place));
            }
        }
    };
    tokio::select! {
        biased;
        _ = told.wait_for(|until| until.is_some()) => {}
        () = accepting => {}
    }
}

/// Serves a connection as soon as there is a place for its client.
async fn admit(tcp: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, stopped: &Stopped) {
    match shared.clients.place(peer.ip()).await {
        Some(place) => {
            let serving = serve_at(tcp, peer, Arc::clone(shared), stopped.clone(), place);
            tokio::spawn(serving);
        }
        None => tracing::debug!(client = %peer.ip(), "a client has too many connections"),
    }
}

/// The same when a proxy says first who the client is. Without a right header
/// nobody knows whose bytes follow, and the connection is closed.
async fn admit_from_proxy(
    tcp: TcpStream,
    proxy: SocketAddr,
    shared: Arc<Shared>,
    stopped: Stopped,
    place: Place,
) {
    let mut told = stopped.clone();
    let peer = tokio::select! {
        peer = shared.clients.behind_proxy(&tcp, proxy, &place) => peer,
        () = place.activity().displaced() => {
            return shared.edge.figures.count(Outcome::Displaced);
        }
        _ = told.wait_for(|until| until.is_some()) => return,
    };
    if let Some(peer) = peer {
        serve_at(tcp, peer, shared, stopped, place).await;
    }
}

/// Serves a connection that has its place, until it has to leave.
async fn serve_at(
    tcp: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut stopped: Stopped,
    place: Place,
) {
    let activity = Arc::clone(place.activity());
    tokio::select! {
        () = serve(tcp, peer, &shared, place) => {}
        () = activity.displaced() => shared.edge.figures.count(Outcome::Displaced),
        () = until_dropped(&mut stopped) => {}
    }
}

/// Waits until the port is gone.
async fn until_dropped(stopped: &mut Stopped) {
    while stopped.changed().await.is_ok() {}
}

async fn serve(tcp: TcpStream, peer: SocketAddr, shared: &Shared, place: Place) {
    let served = bring(tcp, peer, shared, place).await;
    let outcome = match served {
        Ok(Whose::Guests) => Outcome::Served,
        // Counted when it began.
        Ok(Whose::Gateways) => return,
        Err(failed) => {
            if let Some((tcp, alert)) = failed.alert {
                tell(&tcp, alert);
            }
            failed.outcome
        }
    };
    shared.edge.figures.count(outcome);
}

/// Who has served a connection.
enum Whose {
    Guests,
    Gateways,
}

/// Brings a connection to a guest, or lets the gateway serve it.
async fn bring(
    tcp: TcpStream,
    peer: SocketAddr,
    shared: &Shared,
    place: Place,
) -> Result<Whose, Failed> {
    // What guests write is sent at once, as on ports of their own.
    let _ = tcp.set_nodelay(true);
    let edge = &*shared.edge;
    let (tcp, hello) = {
        let _handshake = edge.figures.enter(At::Handshake);
        first_words(tcp, shared).await?
    };
    let Some(name) = hello.server_name().cloned() else {
        let alert = hello.alert_without_name();
        return Err(Failed::told(Outcome::NoName, tcp, alert));
    };
    if let Some(left) = leave::to_authority(edge, &name, &hello) {
        let mut stream = shake_hands(tcp, &hello, left.config, None, |tcp| tcp).await?;
        // The handshake is all that it wants.
        let _ = timeout(GOODBYE_TIMEOUT, stream.shutdown()).await;
        return Ok(Whose::Gateways);
    }
    let found = edge.find(&name);
    if let Some(left) = leave::to_gateway(edge, &name, found.as_ref()) {
        let arrival = Arrival {
            peer,
            place,
            name,
            certificate: Arc::clone(&left.certificate),
            attested: left.attested,
        };
        serve_left(tcp, &hello, left, arrival, shared).await?;
        return Ok(Whose::Gateways);
    }
    let Some(found) = found else {
        let alert = Alert::UNRECOGNIZED_NAME;
        return Err(Failed::told(Outcome::UnknownName, tcp, alert));
    };
    let kin = Arc::clone(&found.kin);
    let visitor = Visitor {
        tcp,
        peer,
        hello,
        name: name.clone(),
    };
    let brought = bring_to(visitor, shared, &place, found).await;
    if let Err(failed) = &brought
        && let Some(app) = kin.app()
        && let Some(why) = failed.outcome.why_of_app()
    {
        app.log_failure(
            None,
            &format!("a TLS connection for {name} was closed: {why}"),
        );
    }
    brought.map(|()| Whose::Guests)
}

/// Brings a connection to a guest of the app that has the name.
async fn bring_to(
    visitor: Visitor,
    shared: &Shared,
    place: &Place,
    found: Found,
) -> Result<(), Failed> {
    let Visitor {
        tcp,
        peer,
        hello,
        name,
    } = visitor;
    if hello.protocols().any(|name| name == ACME_TLS) {
        let alert = Alert::NO_APPLICATION_PROTOCOL;
        return Err(Failed::told(Outcome::HandshakeFailed, tcp, alert));
    }
    let kin = Arc::clone(&found.kin);
    let offered = match who_serves(shared, place, &name, found).await {
        Ok(offered) => offered,
        Err(outcome) => return Err(Failed::told(outcome, tcp, Alert::INTERNAL_ERROR)),
    };
    let only = offered.alone.as_ref().map(Seat::instance_id);
    let (io, protocol) = match &offered.offer.tls {
        None => {
            let first = hello.into_bytes();
            (AcceptedIo::Raw { first, tcp }, None)
        }
        Some(tls) => {
            let _handshake = shared.edge.figures.enter(At::Handshake);
            let config = shared.in_time(TLS_HANDSHAKE_TIMEOUT, tls.config()).await;
            let Some(config) = config.flatten() else {
                let outcome = Outcome::HandshakeFailed;
                return Err(Failed::told(outcome, tcp, Alert::INTERNAL_ERROR));
            };
            let slow = offered.offer.signs_slowly.then_some(&*shared.clients);
            let shaking = shake_hands(tcp, &hello, config, slow, ReadAhead::new);
            let io = tokio::select! {
                io = shaking => io?,
                () = shared.gives_up() => return Err(Outcome::Timeout.into()),
            };
            let protocol = io.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            (AcceptedIo::Tls(Box::new(io)), protocol)
        }
    };
    let ready = Ready {
        accepted: Accepted {
            io,
            peer,
            server_name: name.as_str().into(),
            guard: Box::new(offered.alone),
        },
        is_tls: offered.offer.tls.is_some(),
        attested: offered.offer.attested,
        protocol,
        only,
    };
    // Not while the client is waited for: its connections would keep others out.
    let Some(_of_app) = kin.wait() else {
        part(ready).await;
        return Err(Outcome::Full.into());
    };
    let _work = place.activity().work();
    let _ready = shared.edge.figures.enter(At::Ready);
    hand_over(&offered.serving, ready, shared).await
}

/// Who serves a connection, waiting for an app that is about to.
async fn who_serves(
    shared: &Shared,
    place: &Place,
    name: &ServerName,
    found: Found,
) -> Result<Offered, Outcome> {
    if let Some(offered) = parking::at_once(&found) {
        return Ok(offered);
    }
    let kin = Arc::clone(&found.kin);
    let _of_app = kin.wait().ok_or(Outcome::Full)?;
    // It keeps its place: the daemon waits for the app, not for the client.
    let _work = place.activity().work();
    let _parked = shared.edge.figures.enter(At::Parked);
    let waited = tokio::select! {
        waited = parking::wait(&shared.edge, &shared.worker, name, found) => waited,
        () = shared.gives_up() => Err(NoOne::Nobody),
    };
    waited.map_err(|why| match why {
        NoOne::Nobody => Outcome::Nobody,
        NoOne::Full => Outcome::Full,
    })
}

/// Lets the gateway serve a connection, to its end.
async fn serve_left(
    tcp: TcpStream,
    hello: &ClientHello,
    left: Left,
    arrival: Arrival,
    shared: &Shared,
) -> Result<(), Failed> {
    let stream = {
        let _handshake = shared.edge.figures.enter(At::Handshake);
        let slow = left.signs_slowly.then_some(&*shared.clients);
        shake_hands(tcp, hello, left.config, slow, Tally::new).await?
    };
    shared.edge.figures.count(Outcome::Gateway);
    let (service, stage) = (Arc::clone(&shared.gateway), shared.stage.clone());
    // Boxed: it is larger than what comes to guests.
    Box::pin(service.arrive(Box::new(stream), arrival, stage)).await;
    Ok(())
}

/// Waits until a guest has taken a connection.
async fn hand_over(serving: &Serving, ready: Ready, shared: &Shared) -> Result<(), Failed> {
    let mut waiting = match serving.push(ready) {
        Ok(waiting) => waiting,
        Err(ready) => {
            part(*ready).await;
            return Err(Outcome::Full.into());
        }
    };
    // Also when this connection has to leave for another one at this moment.
    let _reclaim = serving.reclaim(waiting.number);
    let taking = async {
        match timeout(SNI_TAKE_TIMEOUT, &mut waiting.taken).await {
            Ok(outcome) => Ok(outcome),
            Err(_) => {
                serving.offer_to_all(waiting.number);
                tokio::select! {
                    outcome = timeout(ACCEPT_WAIT, &mut waiting.taken) => outcome,
                    never = parking::bring_back(&shared.worker, serving) => match never {},
                }
            }
        }
    };
    let outcome = tokio::select! {
        outcome = taking => outcome.ok(),
        () = shared.gives_up() => None,
    };
    match outcome {
        Some(Ok(())) => Ok(()),
        // The name is free again.
        Some(Err(_)) => Err(Outcome::Nobody.into()),
        None => match serving.take_out(waiting.number) {
            // Taken at the last moment.
            None => Ok(()),
            Some(ready) => {
                part(ready).await;
                Err(Outcome::NotTaken.into())
            }
        },
    }
}

/// Ends a connection politely.
async fn part(ready: Ready) {
    if let AcceptedIo::Tls(mut io) = ready.accepted.io {
        // How the client takes it is its own business.
        let _ = timeout(GOODBYE_TIMEOUT, io.shutdown()).await;
    }
}

/// Reads what a client says first.
async fn first_words(tcp: TcpStream, shared: &Shared) -> Result<(TcpStream, ClientHello), Failed> {
    let read = shared.in_time(CLIENT_HELLO_TIMEOUT, handshake::read_hello(&tcp));
    match read.await {
        None => Err(Outcome::Timeout.into()),
        Some(Err(None)) => Err(Outcome::BadHello.into()),
        Some(Err(Some(alert))) => Err(Failed::told(Outcome::BadHello, tcp, alert)),
        Some(Ok(hello)) => Ok((tcp, hello)),
    }
}
