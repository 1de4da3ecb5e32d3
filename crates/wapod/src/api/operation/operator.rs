//! What the operator's calls are about, and why one has no better answer.
//!
//! The calls themselves are in `operation` and its parts, and in `visit` of the gateway.
//! Made by `admin` for each call.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use wapo_rpc::{AddressError, AppAddress};

use crate::api::all_budgets::AllBudgets;
use crate::api::evidence;
use crate::error::AppError;
use crate::worker::Worker;

/// What the operator's calls are about.
pub(in crate::api) struct Operator {
    pub(in crate::api) worker: Arc<Worker>,
    pub(in crate::api) budgets: Arc<AllBudgets>,
    pub(in crate::api) user_address: SocketAddr,
    /// Where apps are reached by server name.
    pub(in crate::api) tls_address: Option<SocketAddr>,
    /// How URLs of the user port begin.
    pub(in crate::api) user_scheme: &'static str,
    pub(in crate::api) base_domain: String,
    /// A request to end the daemon.
    pub(in crate::api) exit: Arc<Notify>,
}

/// Why a call has no better answer: something that the operator has to change.
pub(super) struct Fault(pub(super) String);

impl From<AppError> for Fault {
    fn from(error: AppError) -> Self {
        Self(error.to_string())
    }
}

impl From<evidence::NoEvidence> for Fault {
    fn from(error: evidence::NoEvidence) -> Self {
        Self(error.to_string())
    }
}

impl From<AddressError> for Fault {
    fn from(error: AddressError) -> Self {
        Self(error.to_string())
    }
}

/// An optional address as messages have it: nothing for none.
pub(super) fn address_or_none(bytes: &[u8]) -> Result<Option<AppAddress>, AddressError> {
    match bytes {
        [] => Ok(None),
        bytes => AppAddress::from_bytes(bytes).map(Some),
    }
}
