//! What can go wrong in the worker, without a word about HTTP.
//!
//! [`StartError`] and [`AppError`] speak to whoever starts a server or an app.
//! [`WorkerError`] is about one request; `api::error` maps it to answers, and
//! nothing in it tells a remote client about the inside of a guest.

use std::net::SocketAddr;

use wapo_host::{LoadError, RequestError};
use wapo_rpc::AppAddress;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The gateway's address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The engine cannot be set up with these limits.
    #[error("cannot set up the engine: {0}")]
    Engine(String),
    /// A root app was asked for and there is none.
    #[error("there is no app to serve at `/`")]
    NoRootApp,
    /// One of the apps.
    #[error(transparent)]
    App(#[from] AppError),
}

/// Why an app did not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Its code cannot be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The same app runs already.
    #[error("app {0} is there already: another label makes it a different app")]
    AlreadyExists(AppAddress),
    /// More memory than any instance may have.
    #[error("the app asks for {asked} bytes of memory, instances may have {max}")]
    TooMuchMemory {
        /// What the app asks for.
        asked: u64,
        /// What the server allows.
        max: u64,
    },
    /// There is no such app.
    #[error("there is no app {0}")]
    NotFound(AppAddress),
}

/// Why a request to an app failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("App not found")]
    AppNotFound,
    #[error("the app is not running")]
    AppNotRunning,
    #[error("the app does not take such requests now")]
    NotTaken,
    #[error("the app is busy")]
    Busy,
    #[error("the app did not answer in time")]
    Timeout,
    #[error("the app gave no answer")]
    NoAnswer,
    #[error("the app gave an invalid answer")]
    InvalidAnswer,
    #[error("{0}")]
    App(String),
    #[error("query size exceeds the limit of {max} bytes")]
    QueryTooLarge { max: u32 },
    #[error(transparent)]
    BadAddress(#[from] wapo_rpc::AddressError),
    #[error("signed queries are not supported by this version of the daemon")]
    SignedQuery,
}

impl From<RequestError> for WorkerError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Busy => Self::Busy,
            RequestError::NotListening => Self::NotTaken,
            RequestError::Ended => Self::AppNotRunning,
            RequestError::NoAnswer => Self::NoAnswer,
            RequestError::App(text) => Self::App(text),
            RequestError::InvalidAnswer => Self::InvalidAnswer,
        }
    }
}
