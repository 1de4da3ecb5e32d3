//! Heads of requests in HTTP/1.1 that have not come to their end.
//!
//! Each has a time, and what it takes of memory beyond a free part is on a budget of
//! the port. A head that comes at once is never counted. Used by `transport`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::api::budget::Full;
use crate::api::liveness::ClientLiveness;

/// Why a head is not waited for any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeadFailure {
    TooSlow,
    NoRoom(Full),
}

/// Watches over the head of the next request.
pub(super) struct HeadWatch {
    timeout: Duration,
    running: Option<Running>,
}

struct Running {
    /// Set when the client pauses within the head: nearly all heads come at once.
    sleep: Option<Pin<Box<Sleep>>>,
    /// The number of requests before it.
    of: usize,
    bytes: usize,
}

impl HeadWatch {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            running: None,
        }
    }

    /// Some bytes came.
    pub(super) fn received(&mut self, bytes: usize, liveness: &ClientLiveness) {
        let begun = liveness.begun();
        if liveness.is_inside_request() {
            self.running = None;
            return;
        }
        match &mut self.running {
            Some(running) if running.of == begun => running.bytes += bytes,
            other => {
                *other = Some(Running {
                    sleep: None,
                    of: begun,
                    bytes,
                });
            }
        }
    }

    /// Bytes that had come with the request before turn out to be a head that has begun.
    pub(super) fn put_back(&mut self, bytes: usize, liveness: &ClientLiveness) {
        let is_counted = |running: &Running| running.of == liveness.begun();
        if !self.running.as_ref().is_some_and(is_counted) {
            self.received(bytes, liveness);
        }
    }

    /// Nothing more is there at the moment. Ready when a head that has begun is not
    /// waited for any more.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        liveness: &ClientLiveness,
    ) -> Poll<HeadFailure> {
        let Some(running) = &mut self.running else {
            return Poll::Pending;
        };
        if running.of != liveness.begun() {
            return Poll::Pending;
        }
        if let Err(full) = liveness.keep_head(running.bytes) {
            return Poll::Ready(HeadFailure::NoRoom(full));
        }
        let time = self.timeout;
        let sleep = running.sleep.get_or_insert_with(|| Box::pin(sleep(time)));
        sleep.as_mut().poll(cx).map(|()| HeadFailure::TooSlow)
    }
}
