//! The two ends of a body that is sent in pieces.
//!
//! Holds one piece at a time: a sender that is faster than the client waits.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, io};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// Sends the pieces of a body made by [`super::Body::channel`].
///
/// Dropping it ends the body; [`finish`](Self::finish) does so with trailers,
/// [`abort`](Self::abort) breaks it off.
pub struct BodySender(Arc<Mutex<State>>);

pub(super) struct BodyReceiver(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    piece: Option<Bytes>,
    last: Option<Last>,
    is_sender_gone: bool,
    is_receiver_gone: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

/// What comes behind the pieces instead of a plain end.
enum Last {
    Trailers(HeaderMap),
    Loss,
}

pub(super) fn channel() -> (BodySender, BodyReceiver) {
    let state = Arc::new(Mutex::new(State::default()));
    (BodySender(Arc::clone(&state)), BodyReceiver(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl BodySender {
    /// Waits until the piece before is on its way, then takes the next one.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::BrokenPipe`] when the body is not read any more.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the piece is not sent.
    pub async fn send(&mut self, piece: impl Into<Bytes>) -> io::Result<()> {
        let mut piece = Some(piece.into());
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.is_receiver_gone {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if state.piece.is_some() {
                state.sender = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.piece = piece.take();
            let receiver = state.receiver.take();
            drop(state);
            wake(receiver);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends the body with trailers.
    ///
    /// HTTP/1.1 can send them only behind a body without `content-length`, and
    /// many clients ignore them.
    pub fn finish(self, trailers: HeaderMap) {
        lock(&self.0).last = Some(Last::Trailers(trailers));
    }

    /// Breaks the body off: the client sees a failed answer, not a short one.
    pub fn abort(self) {
        lock(&self.0).last = Some(Last::Loss);
    }
}

impl BodyReceiver {
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut state = lock(&self.0);
        if let Some(piece) = state.piece.take() {
            let sender = state.sender.take();
            drop(state);
            wake(sender);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if state.is_sender_gone {
            return Poll::Ready(state.last.take().map(|last| match last {
                Last::Trailers(trailers) => Ok(Frame::trailers(trailers)),
                Last::Loss => Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the sender of the body has aborted it",
                )),
            }));
        }
        state.receiver = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.is_sender_gone = true;
        let receiver = state.receiver.take();
        drop(state);
        wake(receiver);
    }
}

impl Drop for BodyReceiver {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.is_receiver_gone = true;
        let sender = state.sender.take();
        drop(state);
        wake(sender);
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodySender")
    }
}
