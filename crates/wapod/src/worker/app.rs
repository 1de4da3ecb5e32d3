//! One app: its instance, and who is using it right now.
//!
//! [`App`] is the worker's side, [`AppHandle`] what an embedding program holds,
//! [`Lease`] the right to one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;
use wapo_host::{ExitReason, InstanceHandle, Phase, Status, Usage};
use wapo_rpc::AppAddress;

use crate::embedder::AppEmbedder;
use crate::limits::APP_REQUESTS_MAX;
use crate::logs::LogReader;

/// An app with its instance.
pub(crate) struct App {
    embedder: Arc<AppEmbedder>,
    instance: InstanceHandle,
    status: watch::Receiver<Status>,
    requests: AtomicUsize,
    pub(crate) started: Instant,
    pub(crate) query_max_bytes: u32,
}

impl App {
    pub(super) fn new(
        embedder: Arc<AppEmbedder>,
        instance: InstanceHandle,
        query_max_bytes: u32,
    ) -> Self {
        Self {
            embedder,
            status: instance.status(),
            instance,
            requests: AtomicUsize::new(0),
            started: Instant::now(),
            query_max_bytes,
        }
    }

    pub(crate) fn address(&self) -> AppAddress {
        self.embedder.address
    }

    pub(crate) fn instance(&self) -> &InstanceHandle {
        &self.instance
    }

    /// The state right now; a short lock of the status, not of the worker.
    pub(crate) fn status(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.status().phase, Phase::Running)
    }
}

/// Which kind of request somebody wants to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Channel {
    Http,
    Query,
}

impl Channel {
    /// Whether a guest in this state takes such requests.
    pub(crate) fn is_open(self, status: &Status) -> bool {
        match self {
            Self::Http => status.takes_http,
            Self::Query => status.takes_queries,
        }
    }
}

/// The right to one request; counted while it exists.
pub(crate) struct Lease(Arc<App>);

impl Lease {
    /// Counts a request; `None` when the app has too many.
    pub(super) fn new(app: Arc<App>) -> Option<Self> {
        // Counted before it is compared: the lease gives the count back.
        let before = app.requests.fetch_add(1, Ordering::Relaxed);
        let lease = Self(app);
        (before < APP_REQUESTS_MAX).then_some(lease)
    }

    pub(crate) fn app(&self) -> &App {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An app as the program that started it sees it. Clones are the same app.
#[derive(Clone)]
pub struct AppHandle(pub(crate) Arc<App>);

impl AppHandle {
    /// Address of the app.
    pub fn address(&self) -> AppAddress {
        self.0.address()
    }

    /// Follows the state of the app's instance.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.watch()
    }

    /// What the app has used so far.
    pub fn usage(&self) -> Usage {
        self.0.instance.meter().read()
    }

    /// Reads the app's log, from the oldest line that is kept.
    pub fn logs(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.0.embedder.log))
    }

    /// Takes the output that the app emitted since the last time.
    pub fn take_output(&self) -> Vec<u8> {
        self.0.embedder.take_output()
    }

    /// Requests that the app is working on or that wait for it.
    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Waits until the app has ended and will not start again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn exited(&self) -> ExitReason {
        self.0.instance.ended().await
    }
}
