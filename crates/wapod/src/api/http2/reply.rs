//! The place for the answer of one stream of HTTP/2.
//!
//! Shared by the task of the stream and the reader of its body, for which a client may
//! wait to be told to go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use hyper::{Response, StatusCode};

/// The place for a stream's answer, until it is used.
#[derive(Clone)]
pub(super) struct Reply(Arc<Mutex<Option<SendResponse<Bytes>>>>);

impl Reply {
    pub(super) fn new(reply: SendResponse<Bytes>) -> Self {
        Self(Arc::new(Mutex::new(Some(reply))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<SendResponse<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a client that asked first send its body; not when it has an answer.
    pub(super) fn go_on(&self) {
        if let Some(reply) = &mut *self.lock() {
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            if let Err(error) = reply.send_informational(go_on) {
                tracing::debug!(%error, "a client was not told to go on");
            }
        }
    }

    pub(super) fn take(&self) -> Option<SendResponse<Bytes>> {
        self.lock().take()
    }

    /// Ready when the client does not want an answer any more.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.lock() {
            Some(reply) => reply.poll_reset(cx).map(drop),
            None => Poll::Pending,
        }
    }
}
