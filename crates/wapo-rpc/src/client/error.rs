//! What can go wrong between a person and a worker, in their words.

use std::error::Error;
use std::io;

use http::StatusCode;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No URL of a worker.
    #[error("`{url}` is no URL of a worker: {reason}; write it like http://127.0.0.1:8001")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The library does not take how TLS is to be spoken.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// A token that no header can carry.
    #[error("the token has characters that a token cannot have: line breaks, or beyond ASCII")]
    BadToken,
    /// No socket listens there.
    #[error(
        "cannot reach {url}: {reason}; is wapod running there? Start it, or name another worker with --worker URL"
    )]
    Unreachable {
        /// The worker's URL.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// No token, and one is needed.
    #[error("the worker at {url} asks for a token: give it with --token")]
    TokenMissing {
        /// The worker's URL.
        url: String,
    },
    /// A token, and not the right one.
    #[error("the worker at {url} refused the token: give the right one with --token")]
    TokenRefused {
        /// The worker's URL.
        url: String,
    },
    /// The worker's own words.
    #[error("{message}")]
    Refused {
        /// What kind of refusal.
        status: StatusCode,
        /// What the worker says.
        message: String,
    },
    /// It began and did not end.
    #[error("the connection to {url} broke: {reason}")]
    Broken {
        /// The worker's URL.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// No answer.
    #[error("{url} did not answer within {seconds} seconds")]
    Timeout {
        /// The worker's URL.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// An answer that no worker gives.
    #[error("{url} answers, but not like a worker ({reason}); is it the worker's admin port?")]
    BadAnswer {
        /// The worker's URL.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// What is to be sent cannot be read, or what was received cannot be written.
    #[error("cannot copy the blob: {0}")]
    Copy(#[source] io::Error),
}

impl ClientError {
    /// Whether the worker is there and cannot do it at the moment.
    pub fn is_for_now(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::SERVICE_UNAVAILABLE)
    }

    /// Whether it is the connection's fault, so that another one may help.
    pub fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Timeout { .. }
        )
    }
}

/// What is said of a connection that the other side has closed half-way. Clients
/// see it as an end where something was to come, or as a reset.
const CUT_OFF: &str =
    "the worker ended it before its answer was complete; it may have been stopped or restarted";

/// The last cause of an error, which says most.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if is_cut_off(cause) {
            return CUT_OFF.to_owned();
        }
        match inner(cause) {
            Some(next) => cause = next,
            None => break,
        }
    }
    match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidMessage(_)) => {
            return "it does not speak TLS, try http://".to_owned();
        }
        Some(rustls::Error::InvalidCertificate(reason)) => {
            return format!(
                "its certificate is not to be trusted ({reason}); if it is one of your own, or of your own authority, name the file of it with --ca"
            );
        }
        _ => {}
    }
    match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        _ => cause.to_string(),
    }
}

/// Whether an error says that the other side has closed the connection.
fn is_cut_off(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message();
    }
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(
        kind,
        Some(
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
    )
}

/// The cause of an error. What an I/O error wraps is not its source: it is left
/// out of the chain.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// What was given to be sent and could not be read, when that is the cause.
pub(super) fn source_failure(error: &(dyn Error + 'static)) -> Option<io::Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(failure) = current.downcast_ref::<SourceFailure>() {
            return Some(io::Error::new(failure.0.kind(), failure.0.to_string()));
        }
        cause = inner(current);
    }
    None
}

/// Tells a failure of what is sent from one of the connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct SourceFailure(pub(super) io::Error);
