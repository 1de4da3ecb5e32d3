//! Calls to a worker, typed.
//!
//! [`Client`] speaks to the admin port and has a function for every method of
//! `Operation`, [`UserClient`] to the user port. Used by the `wapo` command and
//! by tests. Errors are sentences for the person at the keyboard.
//!
//! # Cancel safety
//!
//! Dropping the future of a call abandons the answer. The worker may have done,
//! or may still do, what it was asked for.

mod blob;
mod error;
mod fetch;
mod logs;
mod signed;
mod sse;
mod transport;
mod trust;

use http::Method as Verb;
use http::header::CONTENT_TYPE;
use prost::Message;

pub use blob::Upload;
pub use error::ClientError;
pub use fetch::{Fetched, Fetcher};
pub use logs::{LogEvent, LogStream, Tail};

use crate::limits::CALL_TIMEOUT;
use crate::log::Health;
use crate::message::*;
use crate::method::{OperationMethod, UserMethod};
use transport::Transport;
pub use transport::message_of;
pub use trust::TrustedCertificates;

/// The admin port of a worker.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

/// The user port of a worker.
#[derive(Clone, Debug)]
pub struct UserClient {
    transport: Transport,
}

impl Client {
    /// Prepares to call the worker at a URL such as `http://127.0.0.1:8001`.
    /// Connects when something is asked.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadUrl`], [`ClientError::BadToken`]
    pub fn new(base_url: &str, token: Option<&str>) -> Result<Self, ClientError> {
        Self::with_trust(base_url, token, None)
    }

    /// The same for a worker whose certificate no public authority has signed.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_trust(
        base_url: &str,
        token: Option<&str>,
        trusted: Option<&TrustedCertificates>,
    ) -> Result<Self, ClientError> {
        Transport::new(base_url, token, trusted).map(|transport| Self { transport })
    }

    /// The URL, as it was given but for a slash at the end.
    pub fn base_url(&self) -> &str {
        self.transport.base_url()
    }

    /// Whether the worker works. Needs no token.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.transport.health().await
    }
}

impl UserClient {
    /// Prepares to call the worker at a URL such as `http://127.0.0.1:8002`.
    /// Connects when something is asked.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadUrl`]
    pub fn new(base_url: &str) -> Result<Self, ClientError> {
        Self::with_trust(base_url, None)
    }

    /// The same for a worker whose certificate no public authority has signed.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_trust(
        base_url: &str,
        trusted: Option<&TrustedCertificates>,
    ) -> Result<Self, ClientError> {
        Transport::new(base_url, None, trusted).map(|transport| Self { transport })
    }
}

impl Transport {
    /// Calls a method in protobuf.
    async fn call<A, R>(&self, method: impl ToString, argument: A) -> Result<R, ClientError>
    where
        A: Message,
        R: Message + Default,
    {
        let path = format!("/prpc/{}", method.to_string());
        let request = self
            .request(Verb::POST, &path)
            .header(CONTENT_TYPE, "application/octet-stream");
        let body = transport::full(argument.encode_to_vec());
        let bytes = self.ask(request, body, CALL_TIMEOUT).await?;
        R::decode(bytes).map_err(|error| self.bad_answer(error))
    }
}

/// Turns rows into functions.
macro_rules! calls {
    (
        $service:ident
        $(
            $(#[doc = $doc:literal])*
            $name:ident: $function:ident($argument:ident) -> $answer:ident, $verb:ident, $size:ident;
        )*
    ) => {
        impl calls!(@client $service) {
            $(
                $(#[doc = $doc])*
                ///
                /// # Errors
                ///
                /// [`ClientError`]
                pub async fn $function(&self, argument: $argument) -> Result<$answer, ClientError> {
                    self.transport.call(<calls!(@method $service)>::$name, argument).await
                }
            )*
        }
    };
    (@client User) => { UserClient };
    (@client Operation) => { Client };
    (@method User) => { UserMethod };
    (@method Operation) => { OperationMethod };
}

crate::for_each_user_method!(calls);
crate::for_each_operation_method!(calls);
