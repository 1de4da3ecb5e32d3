//! Types that Wapo 0.x had in a crate of their own, re-exported as `wapo::env`.

pub use wapo_abi::message::{InputChannel, MetricsToken};

/// Errors under their old name.
pub type OcallError = crate::error::Error;

/// A result with [`OcallError`].
pub type Result<T, E = OcallError> = std::result::Result<T, E>;

/// Configuration of TLS.
pub mod tls {
    pub use wapo_abi::message::{TlsClientConfig, TlsServerConfig};
}

/// Tasks under their old path.
pub mod tasks {
    pub use crate::task::{Canceled, JoinHandle, intern_waker, spawn, spawn_named, wapo_poll};
}

/// Host calls under their old path.
pub mod ocall_funcs_guest {
    pub use crate::compat::ocall::*;
}

/// Messages between guest and host.
#[allow(
    clippy::cast_possible_truncation,
    reason = "in the codec's derive: a variant's index is a u8"
)]
pub mod messages {
    use parity_scale_codec::{Decode, Encode};
    pub use wapo_abi::message::{HttpHead, HttpRequest, HttpResponseHead, QueryRequest};

    /// An account on a chain.
    pub type AccountId = [u8; 32];
    /// A hash.
    pub type H256 = [u8; 32];

    /// Why a query failed. No host sends it; programs may.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    #[allow(missing_docs, reason = "names only; nothing here gives them a meaning")]
    pub enum QueryError {
        OcallError(u8),
        BadOrigin,
        RuntimeError(String),
        InstanceNotFound,
        NoResponse,
        ServiceUnavailable,
        Timeout,
        InvalidSignature,
        ContractNotFound,
        DecodeError,
        OtherError(String),
        Unsupported,
        InvalidContractExecResult,
        DispatchError(String),
    }

    /// The answer to a query. No host sends it; programs may.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    pub enum QueryResponse {
        /// An output with what it cost.
        OutputWithGasEstimation {
            /// The output.
            output: Vec<u8>,
            /// Gas that was used.
            gas_consumed: u64,
            /// Gas that was needed.
            gas_required: u64,
            /// Amount of the deposit.
            storage_deposit_value: u128,
            /// Whether the deposit is charged or given back.
            storage_deposit_is_charge: bool,
        },
        /// An output.
        SimpleOutput(Vec<u8>),
    }
}
