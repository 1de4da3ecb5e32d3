//! The only mapping from an error to an HTTP answer.
//!
//! Clients learn what was wrong with their request, or that the app failed, and
//! nothing about the inside of either.

use hyper::header::{ALLOW, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode};
use wapo_rpc::{AddressError, Encoding};

use super::auth::Denied;
use super::body::{self, Body};
use super::clients::TooBusy;
use super::signing::Signed;
use crate::blobs::BlobError;
use crate::error::WorkerError;
use crate::limits::RETRY_AFTER_SECS;

/// Why a request got no better answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("not found")]
    NotFound,
    #[error("{0}")]
    NoAppHere(String),
    #[error("moved to {0}")]
    Moved(String),
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("method not allowed; use {0}")]
    MethodNotAllowed(&'static str),
    #[error("no app has the host name `{0}` here")]
    UnknownHost(String),
    #[error(
        "the name `{0}` belongs to another app than this connection was made for: use a new connection"
    )]
    Misdirected(String),
    #[error("the worker cannot do what the Expect header asks for")]
    ExpectationFailed,
    #[error("the body came too slowly")]
    BodyTooSlow,
    #[error("the client has left")]
    ClientLeft,
    #[error("the URL is too long")]
    UrlTooLong,
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("too many clients follow logs; try again later")]
    TooManyFollowers,
    #[error("the call was carried out, but its answer could not be sent: {0}")]
    NotSent(#[from] TooBusy),
    #[error("too many uploads and downloads of blobs at a time; try again later")]
    TooManyTransfers,
    #[error("{1}")]
    Blob(StatusCode, String),
    #[error("{}", match .0 {
        Denied::Token => "this needs the worker's admin token, as `Authorization: Bearer <token>`",
        Denied::Host => "this port is not known under that name",
        Denied::Origin => "pages of other origins may not use this port",
    })]
    Denied(Denied),
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        let status = match error {
            BlobError::NotFound => StatusCode::NOT_FOUND,
            BlobError::BadName(_) | BlobError::Mismatch { .. } => StatusCode::BAD_REQUEST,
            BlobError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BlobError::Damaged(_) | BlobError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::Blob(status, error.to_string())
    }
}

impl From<AddressError> for ApiError {
    fn from(error: AddressError) -> Self {
        Self::Worker(WorkerError::BadAddress(error))
    }
}

impl ApiError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoAppHere(_) | Self::UnknownHost(_) => StatusCode::NOT_FOUND,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::BodyTooSlow | Self::ClientLeft => StatusCode::REQUEST_TIMEOUT,
            Self::Moved(_) => StatusCode::PERMANENT_REDIRECT,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UrlTooLong => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyFollowers | Self::TooManyTransfers => StatusCode::SERVICE_UNAVAILABLE,
            // A client that tried again would have it done twice.
            Self::NotSent(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Blob(status, _) => *status,
            Self::Denied(denied) => (*denied).into(),
            Self::Worker(error) => gateway_status(error),
        }
    }

    /// The answer, with a text for people.
    pub(super) fn into_response(self, is_head: bool) -> Response<Body> {
        let text = if is_head {
            String::new()
        } else {
            format!("{self}\n")
        };
        let mut response = body::text(self.status(), text);
        let headers = response.headers_mut();
        if response_is_busy(self.status()) {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
        }
        match self {
            Self::MethodNotAllowed(allowed) => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Moved(target) => {
                if let Ok(target) = HeaderValue::try_from(target) {
                    headers.insert(LOCATION, target);
                }
            }
            _ => {}
        }
        response
    }
}

fn response_is_busy(status: StatusCode) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE
}

/// Status of a failed request through the gateway.
fn gateway_status(error: &WorkerError) -> StatusCode {
    match error {
        WorkerError::AppNotFound => StatusCode::NOT_FOUND,
        WorkerError::AppNotRunning
        | WorkerError::NotTaken
        | WorkerError::Busy
        | WorkerError::NotStarted
        | WorkerError::NoSlot
        | WorkerError::GasUsedUp(_)
        | WorkerError::SafeMode => StatusCode::SERVICE_UNAVAILABLE,
        WorkerError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        WorkerError::NoAnswer
        | WorkerError::InvalidAnswer
        | WorkerError::App(_)
        | WorkerError::Code(_) => StatusCode::BAD_GATEWAY,
        WorkerError::QueryTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        WorkerError::BadAddress(_) | WorkerError::BadSignature(_) | WorkerError::BadEnvelope(_) => {
            StatusCode::BAD_REQUEST
        }
    }
}

/// Answer to a failed call. Existing clients read the message of status 400
/// only, so everything a caller has to understand has that status.
pub(super) fn call_failed(encoding: Encoding, error: &WorkerError) -> Response<Body> {
    let status = match gateway_status(error) {
        busy @ (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => busy,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = call_error(encoding, status, &error.to_string());
    match error {
        // What an app says is an answer.
        WorkerError::App(_) => Signed::Each.mark(&mut response),
        // As many texts as there are requests.
        WorkerError::BadEnvelope(_) | WorkerError::BadAddress(_) | WorkerError::Code(_) => {}
        _ => Signed::Once.mark(&mut response),
    }
    if response_is_busy(status) {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    }
    response
}

/// Answer to a call that could not be made.
pub(super) fn call_error(encoding: Encoding, status: StatusCode, message: &str) -> Response<Body> {
    let content = encoding.encode_error(message);
    body::full(status, encoding.content_type(), content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queues_ask_to_come_back() {
        let busy = ApiError::from(WorkerError::Busy).into_response(false);
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
        let gone = ApiError::from(WorkerError::AppNotFound).into_response(false);
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
        assert!(!gone.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn failed_calls_have_the_status_that_clients_read() {
        let status = |error| call_failed(Encoding::Json, &error).status();
        assert_eq!(status(WorkerError::AppNotFound), StatusCode::BAD_REQUEST);
        let app = WorkerError::App("no such path".into());
        assert_eq!(status(app), StatusCode::BAD_REQUEST);
        assert_eq!(status(WorkerError::Timeout), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(status(WorkerError::Busy), StatusCode::SERVICE_UNAVAILABLE);
    }
}
