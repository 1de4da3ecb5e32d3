//! What all parties know of a request: its answer, why there is none, and who has it in
//! hand.
//!
//! Used by `intake` and by what a guest's handles stand for.

use std::sync::Arc;

use bytes::Bytes;

use crate::http_head::HttpAnswer;

/// Why a request to a guest failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// Too many requests wait already.
    #[error("the instance is busy: its queue is full")]
    Busy,
    /// The guest has not opened a channel for this kind of request.
    #[error("the app does not take such requests")]
    NotListening,
    /// The instance is gone.
    #[error("the instance has ended")]
    Ended,
    /// The guest dropped the request without an answer.
    #[error("the app gave no answer")]
    NoAnswer,
    /// The guest answered with an error text.
    #[error("{0}")]
    App(String),
    /// The guest's answer cannot be decoded.
    #[error("the app gave an invalid answer")]
    InvalidAnswer,
}

/// The answer to a query, or the reason why there is none.
pub(crate) type Reply = Result<Bytes, RequestError>;

/// The same of an HTTP request.
pub(crate) type HttpReply = Result<HttpAnswer, RequestError>;

/// Where requests are counted that a guest has in hand.
pub(crate) trait HoldsRequests: Send + Sync {
    /// The guest has one less.
    fn let_go(&self);
}

/// A request that a guest has in hand; it lets go of it by dropping this.
pub(crate) struct InHand(Arc<dyn HoldsRequests>);

impl InHand {
    /// One that was counted there.
    pub(crate) fn new(counted: Arc<dyn HoldsRequests>) -> Self {
        Self(counted)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.let_go();
    }
}
