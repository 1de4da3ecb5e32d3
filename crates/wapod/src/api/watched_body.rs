//! Answers on the streams of an HTTP/2 connection.
//!
//! A client may leave the window of one stream closed while the others go on, and
//! hyper does not ask for more of a body until it opens. So a body that waits for
//! its client is looked after here, and what it holds of an app is let go when the
//! client takes nothing. In HTTP/1.1 the socket (`wire`) tells. Made by
//! `connection`, driven by hyper.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::body::Body;

/// The body of an answer on one stream. `C` lives as long as it does.
pub(super) struct WatchedBody<C> {
    turn: Arc<Mutex<Turn>>,
    /// Looks after a body that holds something of an app.
    watchdog: Option<AbortHandle>,
    _companion: C,
}

/// A body, and whose turn it is.
struct Turn {
    /// `None` once the client was given up.
    body: Option<Body>,
    /// Since when the client has to take something; `None` while it waits.
    clients_since: Option<Instant>,
}

impl<C> WatchedBody<C> {
    /// `patience` is how long a client may take nothing.
    pub(super) fn new(body: Body, patience: Duration, companion: C) -> Self {
        let is_of_an_app = matches!(body, Body::Guest(_));
        let turn = Arc::new(Mutex::new(Turn {
            body: Some(body),
            clients_since: Some(Instant::now()),
        }));
        let watchdog = is_of_an_app.then(|| {
            let watching = watch(Arc::downgrade(&turn), patience);
            tokio::spawn(watching).abort_handle()
        });
        Self {
            turn,
            watchdog,
            _companion: companion,
        }
    }
}

impl<C> Drop for WatchedBody<C> {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
    }
}

/// Lets go of a body whose client takes nothing.
async fn watch(turn: Weak<Mutex<Turn>>, patience: Duration) {
    loop {
        sleep(patience / 2).await;
        let Some(turn) = turn.upgrade() else {
            return;
        };
        let mut state = lock(&turn);
        let since = state.clients_since;
        if since.is_some_and(|since| since.elapsed() >= patience) {
            let given_up = state.body.take();
            drop(state);
            drop(given_up);
            tracing::debug!("a client took nothing of an answer in HTTP/2");
            return;
        }
    }
}

fn lock(turn: &Mutex<Turn>) -> MutexGuard<'_, Turn> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Unpin> HttpBody for WatchedBody<C> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut turn = lock(&self.turn);
        let Some(body) = &mut turn.body else {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        let frame = Pin::new(body).poll_frame(cx);
        turn.clients_since = frame.is_ready().then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        let turn = lock(&self.turn);
        turn.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let turn = lock(&self.turn);
        turn.body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default()
    }
}
