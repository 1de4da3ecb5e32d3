//! Heads of requests in HTTP/1.1 that have not come to their end.
//!
//! Each has a time, and what it takes of memory beyond a free part is on a budget of
//! the port. A head that comes at once is never counted. Used by `wire`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::api::budget::Full;
use crate::api::presence::Presence;

/// Why a head is not waited for any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GivenUp {
    TooSlow,
    NoRoom(Full),
}

/// Watches over the head of the next request.
pub(super) struct HeadWatch {
    patience: Duration,
    running: Option<Running>,
}

struct Running {
    /// Runs from the first byte.
    sleep: Pin<Box<Sleep>>,
    /// The number of requests before it.
    of: usize,
    bytes: usize,
}

impl HeadWatch {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            running: None,
        }
    }

    /// Some bytes came.
    pub(super) fn received(&mut self, bytes: usize, presence: &Presence) {
        let begun = presence.begun();
        if presence.is_inside_request() {
            self.running = None;
            return;
        }
        match &mut self.running {
            Some(running) if running.of == begun => running.bytes += bytes,
            other => {
                *other = Some(Running {
                    sleep: Box::pin(sleep(self.patience)),
                    of: begun,
                    bytes,
                });
            }
        }
    }

    /// Nothing more is there at the moment. Ready when a head that has begun is not
    /// waited for any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, presence: &Presence) -> Poll<GivenUp> {
        let Some(running) = &mut self.running else {
            return Poll::Pending;
        };
        if running.of != presence.begun() {
            return Poll::Pending;
        }
        if let Err(full) = presence.keep_head(running.bytes) {
            return Poll::Ready(GivenUp::NoRoom(full));
        }
        running.sleep.as_mut().poll(cx).map(|()| GivenUp::TooSlow)
    }
}
