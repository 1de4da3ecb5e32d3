//! Names that apps have asked for at the shared TLS port, over the life of the daemon.
//!
//! An app keeps a name that it was the first to ask for, whether or not it runs. Guests ask
//! within a call that cannot wait for the disk: what has changed is written down with the
//! app's record a moment later, a few times a minute however often it changes, and when the
//! daemon ends. Whose a name is, is in `edge`. Run by the worker beside the books.

use tokio::time::sleep;

use super::Worker;
use super::app::App;
use super::lifecycle::already_deployed;
use crate::error::AppError;
use crate::limits::CLAIMS_PAUSE;

impl Worker {
    /// Writes down what changes, until it is dropped.
    pub(super) async fn keep_claims(&self) {
        loop {
            self.edge.until_claims_change().await;
            self.write_claims().await;
            sleep(CLAIMS_PAUSE).await;
        }
    }

    /// Writes down what has changed; what cannot be written now is tried again.
    pub(super) async fn write_claims(&self) {
        for app in self.edge.take_changed_claims() {
            let written = match already_deployed(&app) {
                Ok(()) => self.write_record(&app, Vec::new()).await,
                Err(error) => Err(error),
            };
            match written {
                // One that is gone has no names any more.
                Ok(()) | Err(AppError::NotFound(_)) => {}
                Err(_) => self.edge.claims_changed(app.family()),
            }
        }
    }

    /// Lets an app have the names again that it has asked for.
    pub(super) fn restore_claims(&self, app: &App, names: &[String]) {
        for name in self.edge.restore_claims(app, names) {
            tracing::error!(app = %app.address, name, "the app does not have its name at the TLS port any more");
        }
    }
}
