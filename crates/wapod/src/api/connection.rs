//! Accepting connections on either port, and letting go of them.
//!
//! One task per connection, a bounded number of them (`places`). [`Frontend::drain`] ends
//! them in two stages: first no new requests, and after a grace period no
//! connection at all. The version of HTTP is told by the first bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::body::Body;
use super::clients::Clients;
use super::places::{Activity, Place, Places, Wait, Work};
use super::watched_body::WatchedBody;
use super::wire::{Presence, Wire};
use crate::limits::{
    ACCEPT_WARNING_INTERVAL, FIRST_BYTES_TIMEOUT, GOODBYE_TIMEOUT, HEAD_BYTES_MAX, KEEPALIVE_TIME,
    STREAMS_MAX,
};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pause after a failed accept, for instance without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Pause before looking again at a preface that has not arrived completely.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// How far the way out the gateway is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Serving. Goes to `Draining`.
    Open,
    /// Finishing what was begun. Goes to `Closed`.
    Draining,
    /// Nothing is served any more.
    Closed,
}

/// The gateway's listener and its connections. Dropping it closes them all.
pub(crate) struct Frontend {
    stage: watch::Sender<Stage>,
    places: Arc<Places>,
    grace: Duration,
}

impl Frontend {
    /// Starts to accept.
    pub(crate) fn start(listener: TcpListener, surface: impl Surface, grace: Duration) -> Self {
        keep_alive(&listener);
        let (stage, watching) = watch::channel(Stage::Open);
        let places = Arc::clone(&surface.clients().places);
        tokio::spawn(accept(listener, Arc::new(surface), watching));
        Self {
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
pub(crate) trait Surface: Send + Sync + 'static {
    /// Answers one request. Failures have become answers when this returns.
    fn answer(
        &self,
        request: Request<Incoming>,
        client: Client,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// What it spends on its clients.
    fn clients(&self) -> &Arc<Clients>;
}

/// Who is at the other end; counts with whatever was made of the connection.
#[derive(Clone)]
pub(crate) struct Client {
    /// Address of the other end, as the kernel says.
    pub(super) peer: SocketAddr,
    stage: watch::Receiver<Stage>,
    link: Arc<Link>,
    /// The request that this belongs to: it is worked on as long as that.
    _work: Option<Arc<Work>>,
}

/// What all requests of a connection share.
struct Link {
    presence: Arc<Presence>,
    /// Requests whose answers are not complete; counted for HTTP/2.
    requests: AtomicUsize,
    /// Requests that have been begun; counted for HTTP/2.
    begun: AtomicUsize,
    place: Place,
}

impl Client {
    /// What can be told about the other end.
    pub(super) fn presence(&self) -> &Arc<Presence> {
        &self.link.presence
    }

    /// What the connection is doing.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        self.link.place.activity()
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
    async fn idle(&self, time: Duration) {
        loop {
            let begun = self.link.begun.load(Ordering::Relaxed);
            sleep(time).await;
            let is_idle = self.link.requests.load(Ordering::Relaxed) == 0;
            if is_idle && self.link.begun.load(Ordering::Relaxed) == begun {
                return;
            }
        }
    }

    /// Waits until requests are not taken any more.
    pub(super) async fn draining(&mut self) {
        // An error means that the frontend is gone, which is the same.
        let _ = self.stage.wait_for(|stage| *stage >= Stage::Draining).await;
    }

    /// Waits until nothing is served any more.
    pub(super) async fn closed(&mut self) {
        let _ = self.stage.wait_for(|stage| *stage == Stage::Closed).await;
    }
}

async fn accept(listener: TcpListener, surface: Arc<impl Surface>, stage: watch::Receiver<Stage>) {
    let clients = Arc::clone(surface.clients());
    let mut draining = stage.clone();
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
            let Some(place) = clients.places.take(clients.who(peer.ip())).await else {
                tracing::debug!(client = %peer.ip(), "a client has too many connections");
                continue;
            };
            let client = Client {
                peer,
                stage: stage.clone(),
                link: Arc::new(Link {
                    presence: Arc::default(),
                    requests: AtomicUsize::new(0),
                    begun: AtomicUsize::new(0),
                    place,
                }),
                _work: None,
            };
            let surface = Arc::clone(&surface);
            tokio::spawn(async move {
                let activity = Arc::clone(client.activity());
                tokio::select! {
                    () = serve(stream, surface, client) => {}
                    () = activity.displaced() => {}
                }
            });
        }
    };
    tokio::select! {
        biased;
        // An error means that the frontend is gone, which is the same.
        _ = draining.wait_for(|stage| *stage >= Stage::Draining) => {}
        () = accepting => {}
    }
}

async fn serve(stream: TcpStream, surface: Arc<impl Surface>, mut client: Client) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let is_http2 = tokio::select! {
        is_http2 = timeout(FIRST_BYTES_TIMEOUT, speaks_http2(&stream)) => match is_http2 {
            Ok(Some(is_http2)) => is_http2,
            _ => return,
        },
        () = client.draining() => return,
    };
    let patience = surface.clients().patience;
    let presence = Arc::clone(client.presence());
    let io = TokioIo::new(Wire::new(stream, presence, patience.write));
    if is_http2 {
        let for_requests = client.clone();
        let service = service_fn(move |request| {
            let surface = Arc::clone(&surface);
            let client = for_requests.with_request();
            async move {
                let counted = Counted::new(&client);
                let response = surface.answer(request, client).await;
                Ok::<_, Infallible>(
                    response.map(|body| WatchedBody::new(body, patience.write, counted)),
                )
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .serve_connection(io, service);
        drive(connection, client, Some(patience.idle)).await;
    } else {
        let for_requests = client.clone();
        let service = service_fn(move |request| {
            let surface = Arc::clone(&surface);
            let client = for_requests.with_request();
            async move { Ok::<_, Infallible>(surface.answer(request, client).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.head)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .half_close(true)
            .serve_connection(io, service)
            .with_upgrades();
        drive(connection, client, None).await;
    }
}

/// Lets the kernel find out about clients that vanished. What it accepts from
/// then on inherits the setting.
fn keep_alive(listener: &TcpListener) {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_TIME / 4)
        .with_retries(4);
    let socket = socket2::SockRef::from(listener);
    if let Err(error) = socket.set_tcp_keepalive(&keepalive) {
        tracing::warn!(%error, "clients that vanish will not be noticed");
    }
}

/// A request of an HTTP/2 connection, until its answer is complete.
struct Counted(Arc<Link>);

impl Counted {
    fn new(client: &Client) -> Self {
        client.link.requests.fetch_add(1, Ordering::Relaxed);
        client.link.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&client.link))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection of either version, as far as draining is concerned.
trait Drainable: Future<Output = hyper::Result<()>> {
    /// Finishes the requests that were begun and takes no other.
    fn finish(self: Pin<&mut Self>);
}

impl<S> Drainable for http1::UpgradeableConnection<TokioIo<Wire>, S>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Drainable for http2::Connection<TokioIo<Wire>, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = WatchedBody<Counted>, Error = Infallible>,
    S::Future: Send + 'static,
    TokioExecutor: Executor<S::Future>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs a connection to its end, or to the end that the stage demands. `idle` is
/// the time without a request after which it ends, too.
async fn drive(connection: impl Drainable, mut client: Client, idle: Option<Duration>) {
    let mut connection = pin!(connection);
    let for_idle = client.clone();
    let is_idle = async {
        match idle {
            Some(time) => for_idle.idle(time).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = client.draining() => None,
        () = is_idle => {
            connection.as_mut().finish();
            // Whoever does not agree by then is left, unless a request came.
            tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = client.draining() => None,
                () = for_idle.idle(GOODBYE_TIMEOUT) => return,
            }
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().finish();
            tokio::select! {
                ended = connection => ended,
                () = client.closed() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

/// Looks at the first bytes without taking them; `None` when the client left.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await.ok()?;
        match preface(&first[..length]) {
            Preface::No if length == 0 => return None,
            Preface::No => return Some(false),
            Preface::Yes => return Some(true),
            // Peeking again succeeds at once, so there is nothing to wait for.
            Preface::Maybe => sleep(PREFACE_PAUSE).await,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Preface {
    Yes,
    No,
    Maybe,
}

fn preface(first: &[u8]) -> Preface {
    if first.starts_with(HTTP2_PREFACE) {
        Preface::Yes
    } else if !first.is_empty() && HTTP2_PREFACE.starts_with(first) {
        Preface::Maybe
    } else {
        Preface::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Patience;

    #[test]
    fn the_first_bytes_tell_the_version() {
        assert_eq!(preface(HTTP2_PREFACE), Preface::Yes);
        assert_eq!(preface(b"PRI * HT"), Preface::Maybe);
        assert_eq!(preface(b"P"), Preface::Maybe);
        assert_eq!(preface(b"PUT / HTTP/1.1"), Preface::No);
        assert_eq!(preface(b"GET /"), Preface::No);
        assert_eq!(preface(b""), Preface::No);
    }

    /// Hears requests and answers none.
    struct Silent {
        clients: Arc<Clients>,
        asked: Arc<tokio::sync::Notify>,
    }

    impl Surface for Silent {
        async fn answer(&self, _: Request<Incoming>, _: Client) -> Response<Body> {
            self.asked.notify_one();
            std::future::pending().await
        }

        fn clients(&self) -> &Arc<Clients> {
            &self.clients
        }
    }

    #[tokio::test]
    async fn stages_go_one_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::<tokio::sync::Notify>::default();
        let silent = Silent {
            clients: Clients::of_admin(8, Patience::default()),
            asked: Arc::clone(&asked),
        };
        let frontend = Frontend::start(listener, silent, Duration::from_millis(50));
        let mut stage = frontend.stage.subscribe();
        let mut seen = vec![*stage.borrow_and_update()];
        // A request without an answer takes the whole grace.
        let mut client = TcpStream::connect(address).await.expect("accepted");
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let written = tokio::io::AsyncWriteExt::write_all(&mut client, request).await;
        written.expect("sent");
        asked.notified().await;
        let draining = tokio::spawn(frontend.drain());
        while stage.changed().await.is_ok() {
            seen.push(*stage.borrow_and_update());
            let refused = TcpStream::connect(address).await.is_err();
            assert!(refused || seen.len() == 2, "open again after {seen:?}");
        }
        draining.await.expect("drained");
        assert_eq!(seen, [Stage::Open, Stage::Draining, Stage::Closed]);
    }
}
