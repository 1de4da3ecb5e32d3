//! A request that an instance works on, and what its app's log hears of it.
//!
//! Made by `gateway`; goes with the answer (`guest_body`) or with the other protocol
//! (`switch`) to the end.

use std::time::Duration;

use hyper::{Method, Uri};
use wapo_host::InstanceId;

use crate::api::client::Client;
use crate::api::error::ApiError;
use crate::error::WorkerError;
use crate::limits::FAILURE_PATH_BYTES_MAX;
use crate::worker::{App, Lease};

/// A request that an instance works on.
pub(super) struct Exchange {
    pub(super) lease: Lease,
    pub(super) what: What,
    pub(super) client: Client,
    pub(super) is_http_1_0: bool,
    /// Timeout for a client that sends no more and hears nothing.
    pub(super) half_closed: Duration,
}

/// What was asked for, for the app's log.
pub(super) struct What {
    pub(super) method: Method,
    pub(super) uri: Uri,
}

impl What {
    /// Says in the app's log what became of the request. The query stays out,
    /// like everything else that may be a secret.
    fn log_failure(&self, app: &App, instance: Option<InstanceId>, text: &str) {
        let path = self.uri.path();
        let end = path.floor_char_boundary(FAILURE_PATH_BYTES_MAX);
        let dots = if end < path.len() { "…" } else { "" };
        let path = &path[..end];
        app.log_failure(instance, &format!("{} {path}{dots} {text}", self.method));
    }

    /// The same about an error, unless the client made it. Returns what the
    /// client is told.
    pub(super) fn attribute(
        &self,
        app: &App,
        instance: Option<InstanceId>,
        error: ApiError,
    ) -> ApiError {
        let status = error.status();
        if status.is_server_error() {
            let text = format!("was answered with {}: {error}", status.as_u16());
            self.log_failure(app, instance, &text);
        }
        match error {
            // What a guest says went wrong in HTTP is for its log.
            ApiError::Worker(WorkerError::App(_)) => WorkerError::NoAnswer.into(),
            error => error,
        }
    }
}

impl Exchange {
    pub(super) fn log_failure(&self, text: &str) {
        let instance = self.lease.instance().handle().id();
        self.what
            .log_failure(self.lease.app(), Some(instance), text);
    }

    pub(super) fn attribute(&self, error: impl Into<ApiError>) -> ApiError {
        let instance = self.lease.instance().handle().id();
        let app = self.lease.app();
        self.what.attribute(app, Some(instance), error.into())
    }
}
