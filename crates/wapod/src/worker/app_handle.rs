//! An app as an embedding program sees it, which has deployed it through `server`.

use std::sync::Arc;

use tokio::sync::watch;
use wapo_host::{EgressRefusals, ExitReason, Status, Usage};
use wapo_rpc::AppAddress;

use super::app::App;
use super::instance::Instance;
use crate::logs::LogReader;

/// An app as the program that deployed it sees it. Clones are the same app.
#[derive(Clone)]
pub struct AppHandle {
    pub(super) app: Arc<App>,
    /// The instance that the deployment started.
    pub(super) instance: Arc<Instance>,
}

impl AppHandle {
    pub(crate) fn new(app: Arc<App>, instance: Arc<Instance>) -> Self {
        Self { app, instance }
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Address of the app.
    pub fn address(&self) -> AppAddress {
        self.app.address
    }

    /// Follows the state of the app's first instance.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.instance.status.clone()
    }

    /// What the app has used since the daemon was started.
    pub fn usage(&self) -> Usage {
        self.app.ledger.live()
    }

    /// What the egress policy refused it since the daemon was started.
    pub fn egress_refusals(&self) -> EgressRefusals {
        self.app.ledger.egress_refusals()
    }

    /// Reads the app's log, from the oldest line that is kept.
    pub fn logs(&self) -> LogReader {
        self.app.logs()
    }

    /// Takes the output that the app emitted since the last time.
    pub fn take_output(&self) -> Vec<u8> {
        self.app.embedder().take_output()
    }

    /// Requests that the app is working on or that wait for it.
    pub fn requests(&self) -> usize {
        self.app.requests()
    }

    /// Waits until the app's first instance has ended and will not start again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn exited(&self) -> ExitReason {
        self.instance.handle.ended().await
    }
}
