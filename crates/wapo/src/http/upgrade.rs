//! Changing protocols in the middle of a connection.
//!
//! A request that asks for it carries a place where the stream is put once 101
//! has been answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http::Request;
use http::header::UPGRADE;

use super::Responder;
use crate::error::{Error, Result};
use crate::net::TcpStream;

/// The raw stream of a request, after it was answered with 101.
///
/// ```no_run
/// # use wapo::http::{Body, Request, Response, StatusCode};
/// async fn shout(mut request: Request<Body>) -> Response<Body> {
///     let upgrade = wapo::http::on_upgrade(&mut request);
///     wapo::spawn(async move {
///         if let Ok(stream) = upgrade.await {
///             // speak the new protocol
///             # drop(stream);
///         }
///     });
///     let mut response = Response::new(Body::empty());
///     *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
///     response.headers_mut().insert("connection", "upgrade".parse().unwrap());
///     response.headers_mut().insert("upgrade", "shout".parse().unwrap());
///     response
/// }
/// ```
pub fn on_upgrade<B>(request: &mut Request<B>) -> OnUpgrade {
    let slot = request
        .extensions_mut()
        .remove::<Offer>()
        .map(|offer| offer.0);
    OnUpgrade { slot }
}

/// The future of [`on_upgrade`].
///
/// Gives [`Error::UNSUPPORTED_OPERATION`] when the request did not ask for an
/// upgrade, [`Error::END_OF_FILE`] when it was answered otherwise.
#[derive(Debug)]
pub struct OnUpgrade {
    slot: Option<Shared>,
}

type Shared = Arc<Mutex<Slot>>;

#[derive(Debug)]
enum Slot {
    /// Not answered yet; goes to `There` or `Broken`.
    Waiting(Option<Waker>),
    /// Answered with 101; goes to `Broken` when it is taken.
    There(TcpStream),
    /// Answered otherwise, or taken.
    Broken,
}

/// In the extensions of a request that asks for an upgrade.
#[derive(Clone)]
struct Offer(Shared);

/// Where the responder puts the stream; dropping it breaks the promise.
#[derive(Debug)]
pub(super) struct Promise(Shared);

pub(super) fn offer<B>(request: &mut Request<B>, responder: Responder) -> Responder {
    if !request.headers().contains_key(UPGRADE) {
        return responder;
    }
    let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
    request.extensions_mut().insert(Offer(Arc::clone(&slot)));
    responder.with_upgrade(Promise(slot))
}

fn lock(slot: &Shared) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Promise {
    pub(super) fn keep(self, stream: TcpStream) {
        self.settle(Slot::There(stream));
    }

    fn settle(&self, outcome: Slot) {
        let mut slot = lock(&self.0);
        if let Slot::Waiting(waker) = &mut *slot {
            let waker = waker.take();
            *slot = outcome;
            drop(slot);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.settle(Slot::Broken);
    }
}

impl Future for OnUpgrade {
    type Output = Result<TcpStream>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(slot) = &self.slot else {
            return Poll::Ready(Err(Error::UNSUPPORTED_OPERATION));
        };
        let mut slot = lock(slot);
        match std::mem::replace(&mut *slot, Slot::Broken) {
            Slot::Waiting(_) => {
                *slot = Slot::Waiting(Some(cx.waker().clone()));
                Poll::Pending
            }
            Slot::There(stream) => Poll::Ready(Ok(stream)),
            Slot::Broken => Poll::Ready(Err(Error::END_OF_FILE)),
        }
    }
}
