//! What one port spends on its clients: connections, bytes of bodies and of
//! answers, and time of threads for large messages.
//!
//! Each port has its own, so that strangers at the user port cannot use up what
//! the operator needs at the other one. Made by `server`, shown by `figures`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ipnet::IpNet;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::budget::{Bounds, Budget, Full, Reading, Share, Who};
use super::connection::Client;
use super::places::Places;
use crate::limits::{
    ADMIN_BODIES_BYTES_MAX, ANSWERS_BYTES_MAX, ANSWERS_CLIENT_BYTES_MAX, BODIES_BYTES_MAX,
    BODIES_CLIENT_BYTES_MAX, BODIES_SMALL_BYTES, CLIENT_CONNECTIONS_MAX, HEAVY_NICENESS,
    HEAVY_WAIT, HEAVY_WORK_MAX, Patience,
};

/// The clients of one port.
pub(crate) struct Clients {
    port: &'static str,
    trusted: Vec<IpNet>,
    pub(super) patience: Patience,
    pub(super) places: Arc<Places>,
    pub(super) bodies: Arc<Budget>,
    pub(super) answers: Arc<Budget>,
    pub(super) heavy: Heavy,
}

impl Clients {
    /// Those of the user port.
    pub(crate) fn of_users(
        connections_max: u32,
        trusted: Vec<IpNet>,
        patience: Patience,
    ) -> Arc<Self> {
        Self::new("user", connections_max, BODIES_BYTES_MAX, trusted, patience)
    }

    /// Those of the admin port.
    pub(crate) fn of_admin(connections_max: u32, patience: Patience) -> Arc<Self> {
        let bodies = ADMIN_BODIES_BYTES_MAX;
        Self::new("admin", connections_max, bodies, Vec::new(), patience)
    }

    fn new(
        port: &'static str,
        connections_max: u32,
        bodies_bytes: u64,
        trusted: Vec<IpNet>,
        patience: Patience,
    ) -> Arc<Self> {
        let connections_max = connections_max as usize;
        let is_public = port == "user";
        Arc::new(Self {
            port,
            trusted,
            patience,
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
            heavy: Heavy::default(),
        })
    }

    /// Whom a connection is counted for.
    pub(super) fn who(&self, client: IpAddr) -> Who {
        Who::new(client, &self.trusted)
    }

    /// Networks of proxies whose word counts.
    pub(super) fn trusted(&self) -> &[IpNet] {
        &self.trusted
    }

    /// Whoever makes a call. `address` is the client's after forwarding.
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
    pub(super) fn readings(&self) -> [(&'static str, &'static str, Reading); 4] {
        [
            (self.port, "connections", self.places.reading()),
            (self.port, "body_bytes", self.bodies.reading()),
            (self.port, "answer_bytes", self.answers.reading()),
            (self.port, "large_messages", self.heavy.reading()),
        ]
    }

    /// Connections that had to leave for others.
    pub(super) fn displaced(&self) -> (&'static str, u64) {
        (self.port, self.places.displaced())
    }
}

/// Somebody whose request is being read and answered.
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
#[error("other large messages are being worked on; try again later")]
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
        let place = timeout(HEAVY_WAIT, Arc::clone(&self.places).acquire_owned()).await;
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

    fn reading(&self) -> Reading {
        Reading {
            used: (HEAVY_WORK_MAX - self.places.available_permits()) as u64,
            total: HEAVY_WORK_MAX as u64,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// Lets whoever has little to do go first.
fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), HEAVY_NICENESS) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}
