//! What one port spends on its clients: connections, bytes of heads, bodies and
//! answers, and time of threads for large messages.
//!
//! Each port has its own, so that clients of the user port cannot use up what the
//! operator needs at the other one. Made by `server`, shown by `all_budgets`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;
use wapo_host::net::proxied::{self, is_trusted};

use super::budget::{Bounds, Budget, BudgetReading, Full, Share, Who};
use super::client::{Client, Stage, Tls};
use super::liveness::ClientLiveness;
use super::places::{Place, Places};
use super::seen_queries::SeenQueries;
use crate::config::Config;
use crate::limits::{
    ADMIN_BODIES_BYTES_MAX, ANSWERS_BYTES_MAX, ANSWERS_CLIENT_BYTES_MAX, BODIES_BYTES_MAX,
    BODIES_CLIENT_BYTES_MAX, BODIES_SMALL_BYTES, CLIENT_CONNECTIONS_MAX, HEADS_BYTES_MAX,
    HEADS_CLIENT_BYTES_MAX, HEAVY_NICENESS, HEAVY_WAIT, HEAVY_WORK_MAX, Timeouts,
    UPLOADS_BYTES_MAX, UPLOADS_CLIENT_BYTES_MAX, UPLOADS_SMALL_BYTES,
};

/// Proxies that clients come through.
#[derive(Clone, Default)]
pub(crate) struct ForwardedBy {
    /// Networks of those whose word about clients counts.
    trusted: Vec<IpNet>,
    /// Whether they begin each connection with a PROXY header.
    with_header: bool,
}

impl ForwardedBy {
    /// Those in front of the user port.
    pub(crate) fn to_users(config: &Config) -> Self {
        Self {
            trusted: config.trusted_proxies.clone(),
            with_header: config.proxy_protocol.user,
        }
    }

    /// Those in front of the TLS port.
    pub(crate) fn to_tls(config: &Config) -> Self {
        Self {
            trusted: config.trusted_proxies.clone(),
            with_header: config.proxy_protocol.tls,
        }
    }
}

/// The clients of one port.
pub(crate) struct Clients {
    port: &'static str,
    proxies: ForwardedBy,
    pub(super) timeouts: Timeouts,
    pub(super) places: Arc<Places>,
    pub(super) bodies: Arc<Budget>,
    pub(super) answers: Arc<Budget>,
    /// Heads that have not come to their end.
    heads: Arc<Budget>,
    /// Bodies in HTTP/2 that nobody has taken.
    uploads: Arc<Budget>,
    pub(super) heavy: Heavy,
    pub(super) private_queries: SeenQueries,
}

impl Clients {
    /// Those of the user port.
    pub(crate) fn of_users(
        connections_max: u32,
        proxies: ForwardedBy,
        timeouts: Timeouts,
    ) -> Arc<Self> {
        Self::new("user", connections_max, BODIES_BYTES_MAX, proxies, timeouts)
    }

    /// Those of the admin port.
    pub(crate) fn of_admin(connections_max: u32, timeouts: Timeouts) -> Arc<Self> {
        let bodies = ADMIN_BODIES_BYTES_MAX;
        let nobody = ForwardedBy::default();
        Self::new("admin", connections_max, bodies, nobody, timeouts)
    }

    /// Those of the TLS port. What is counted there are connections that no guest
    /// has yet.
    pub(crate) fn of_tls(
        connections_max: u32,
        proxies: ForwardedBy,
        timeouts: Timeouts,
    ) -> Arc<Self> {
        Self::new("tls", connections_max, BODIES_BYTES_MAX, proxies, timeouts)
    }

    fn new(
        port: &'static str,
        connections_max: u32,
        bodies_bytes: u64,
        proxies: ForwardedBy,
        timeouts: Timeouts,
    ) -> Arc<Self> {
        let connections_max = connections_max as usize;
        let is_public = port != "admin";
        Arc::new(Self {
            port,
            proxies,
            timeouts,
            places: Places::new(connections_max, CLIENT_CONNECTIONS_MAX),
            bodies: Budget::new(Bounds {
                total: bodies_bytes,
                each: if is_public {
                    BODIES_CLIENT_BYTES_MAX
                } else {
                    bodies_bytes
                },
                for_small: BODIES_SMALL_BYTES,
            }),
            answers: Budget::new(Bounds {
                total: ANSWERS_BYTES_MAX,
                each: ANSWERS_CLIENT_BYTES_MAX,
                for_small: BODIES_SMALL_BYTES,
            }),
            heads: Budget::new(Bounds {
                total: HEADS_BYTES_MAX,
                each: HEADS_CLIENT_BYTES_MAX,
                for_small: 0,
            }),
            uploads: Budget::new(Bounds {
                total: UPLOADS_BYTES_MAX,
                each: UPLOADS_CLIENT_BYTES_MAX,
                for_small: UPLOADS_SMALL_BYTES,
            }),
            heavy: Heavy::default(),
            private_queries: SeenQueries::new(),
        })
    }

    /// The client of a connection that has come.
    pub(super) fn client(
        &self,
        peer: SocketAddr,
        place: Place,
        tls: Tls,
        stage: watch::Receiver<Stage>,
    ) -> Client {
        let liveness = self.liveness(self.who(peer.ip()));
        Client::new(liveness, peer, place, tls, stage)
    }

    /// What is known about a client that has connected.
    fn liveness(&self, who: Who) -> ClientLiveness {
        ClientLiveness::new(self.heads.share(who.key()), self.uploads.share(who.key()))
    }

    /// Whom a connection is counted for.
    pub(super) fn who(&self, client: IpAddr) -> Who {
        Who::new(client, &self.proxies.trusted)
    }

    /// A place for a client that has connected; `None` when it has all that it may.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn place(&self, client: IpAddr) -> Option<Place> {
        self.places.take(self.who(client)).await
    }

    /// Does work that keeps a thread busy, on a thread of its own and a few at a time;
    /// `None` when there was none in time.
    ///
    /// # Cancel safety
    ///
    /// What was begun is finished, and its outcome dropped.
    pub(crate) async fn do_heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.heavy.run(work).await.ok()
    }

    /// Waits until nobody has a place.
    pub(crate) async fn all_left(&self) {
        self.places.all_left().await;
    }

    /// Networks of proxies whose word counts.
    pub(super) fn trusted(&self) -> &[IpNet] {
        &self.proxies.trusted
    }

    /// Whether a connection of this peer begins with a PROXY header.
    pub(crate) fn sends_header(&self, peer: IpAddr) -> bool {
        self.proxies.with_header && is_trusted(&self.proxies.trusted, peer)
    }

    /// A place for a connection that begins with the header of this proxy.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn place_without_header(&self, proxy: IpAddr) -> Option<Place> {
        let proxy = proxy.to_canonical();
        self.places.take_headless(self.who(proxy), proxy).await
    }

    /// Reads who the client behind a proxy is, and gives it the place; `None` when the
    /// proxy does not say, the client has all that it may, or the place went to a newcomer.
    pub(crate) async fn behind_proxy(
        &self,
        tcp: &TcpStream,
        proxy: SocketAddr,
        place: &Place,
    ) -> Option<SocketAddr> {
        match proxied::read(tcp, proxy).await {
            Ok(peer) if place.pass_to(self.who(peer.ip())) => return Some(peer),
            Ok(peer) => {
                tracing::debug!(client = %peer.ip(), "a client has too many connections");
            }
            Err(error) => {
                tracing::debug!(%proxy, %error, "a proxy did not say who its client is");
            }
        }
        None
    }

    /// The client of a call. `address` is the client's after forwarding.
    pub(super) fn caller<'a>(
        self: &'a Arc<Self>,
        client: &'a Client,
        address: SocketAddr,
    ) -> Caller<'a> {
        Caller {
            clients: self,
            client,
            who: self.who(address.ip()),
        }
    }

    /// A share of the budget of answers.
    ///
    /// # Errors
    ///
    /// [`Full`].
    pub(super) fn answer_share(&self, who: Who, bytes: usize) -> Result<Share, Full> {
        let mut share = self.answers.share(who.key());
        share.grow(bytes)?;
        Ok(share)
    }

    /// Each budget under its name, for figures.
    pub(super) fn readings(&self) -> [(&'static str, &'static str, BudgetReading); 7] {
        [
            (self.port, "connections", self.places.reading()),
            (self.port, "body_bytes", self.bodies.reading()),
            (self.port, "answer_bytes", self.answers.reading()),
            (self.port, "head_bytes", self.heads.reading()),
            (self.port, "upload_bytes", self.uploads.reading()),
            (self.port, "large_messages", self.heavy.reading()),
            (self.port, "private_queries", self.private_queries.reading()),
        ]
    }

    /// Connections at this moment.
    pub(super) fn connections(&self) -> u64 {
        self.places.reading().used
    }

    /// Connections that had to leave for others.
    pub(super) fn displaced(&self) -> (&'static str, u64) {
        (self.port, self.places.displaced())
    }
}

#[cfg(test)]
impl Clients {
    /// Those of a port with so much room for bodies that nobody takes.
    pub(super) fn of_test(uploads: Arc<Budget>) -> Arc<Self> {
        let clients = Self::of_admin(8, Timeouts::default());
        let mut clients = Arc::into_inner(clients).expect("nobody else has it");
        clients.uploads = uploads;
        Arc::new(clients)
    }
}

/// A client whose request is being read and answered.
pub(super) struct Caller<'a> {
    pub(super) clients: &'a Arc<Clients>,
    pub(super) client: &'a Client,
    pub(super) who: Who,
}

impl Caller<'_> {
    /// An empty share of the budget of bodies.
    pub(super) fn body_share(&self) -> Share {
        self.clients.bodies.share(self.who.key())
    }
}

/// Threads for messages that take too long for a runtime's thread.
pub(super) struct Heavy {
    places: Arc<Semaphore>,
    refused: AtomicU64,
}

/// Other large messages come first, for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many large messages are in work at the same time")]
pub(super) struct TooBusy;

impl Default for Heavy {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(HEAVY_WORK_MAX)),
            refused: AtomicU64::new(0),
        }
    }
}

impl Heavy {
    /// Does work that keeps a thread busy, a few at a time.
    ///
    /// # Errors
    ///
    /// [`TooBusy`] when there was no thread for it in time.
    ///
    /// # Cancel safety
    ///
    /// What was begun is finished, and its outcome dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooBusy> {
        self.run_within(HEAVY_WAIT, work).await
    }

    /// The same with a longer wait.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub(super) async fn run_within<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooBusy> {
        let place = timeout(time, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(TooBusy);
        };
        let (done, outcome) = oneshot::channel();
        let working = move || {
            let _place = place;
            lower_priority();
            // Nobody may wait for it any more.
            let _ = done.send(work());
        };
        let thread = thread::Builder::new().name("wapod-large".to_owned());
        thread.spawn(working).map_err(|_| TooBusy)?;
        outcome.await.map_err(|_| TooBusy)
    }

    fn reading(&self) -> BudgetReading {
        BudgetReading {
            used: (HEAVY_WORK_MAX - self.places.available_permits()) as u64,
            total: HEAVY_WORK_MAX as u64,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// Lets clients with little work go first.
fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), HEAVY_NICENESS) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn large_messages_have_threads_of_their_own_and_no_more_than_they_may() {
        const WORKS: usize = 5 * HEAVY_WORK_MAX;
        let heavy = Arc::new(Heavy::default());
        let (begun, at_work) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let work = || {
            let (begun, at_work) = (Arc::clone(&begun), Arc::clone(&at_work));
            move || {
                let before = begun.fetch_add(1, Ordering::SeqCst);
                let beside = at_work.fetch_add(1, Ordering::SeqCst);
                // Long enough for another client to begin beside it.
                let since = Instant::now();
                while begun.load(Ordering::SeqCst) <= before + HEAVY_WORK_MAX
                    && since.elapsed() < Duration::from_millis(50)
                {
                    thread::yield_now();
                }
                at_work.fetch_sub(1, Ordering::SeqCst);
                (beside, thread::current().name().map(str::to_owned))
            }
        };
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..WORKS {
            let (heavy, work) = (Arc::clone(&heavy), work());
            all.spawn(async move { heavy.run(work).await });
        }
        for done in all.join_all().await {
            let (beside, name) = done.expect("its turn comes");
            assert!(beside < HEAVY_WORK_MAX, "{beside} were at work");
            assert_eq!(name.as_deref(), Some("wapod-large"));
        }
        assert_eq!(begun.load(Ordering::SeqCst), WORKS);
    }
}
