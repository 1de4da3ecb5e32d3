//! What all connections of the admin port share.
//!
//! Answers nothing itself: `admin` does, with what `blob`, `log_stream` and `figures` take
//! from here. Made by `admin`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::all_budgets::AllBudgets;
use super::auth::Gate;
use crate::acme::Acme;
use crate::worker::Worker;

/// What all connections of the admin port share.
pub(crate) struct AdminService {
    pub(super) worker: Arc<Worker>,
    pub(super) gate: Gate,
    pub(super) budgets: Arc<AllBudgets>,
    /// Descriptors that one instance may hold.
    pub(super) instance_descriptors: u64,
    pub(super) user_address: SocketAddr,
    /// Where apps are reached by server name.
    pub(super) tls_address: Option<SocketAddr>,
    /// How URLs of the user port begin.
    pub(super) user_scheme: &'static str,
    /// Certificates that are got, if any.
    pub(super) acme: Option<Arc<Acme>>,
    pub(super) base_domain: String,
    /// A request to end the daemon.
    pub(super) exit: Arc<Notify>,
}
