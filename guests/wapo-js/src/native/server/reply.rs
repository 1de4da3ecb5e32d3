//! The way of an answer from the program to its connection, and of the news that
//! nobody waits for it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use wapo::http::{Body, HeaderValue, Response, StatusCode};

use crate::engine::Signal;
use crate::native::exchange::Gone;

/// Where the program puts its answer.
pub(in crate::native) struct Sender(Rc<State>);

/// Where the connection waits for it.
pub(super) struct Receiver(Rc<State>);

#[derive(Default)]
struct State {
    answer: RefCell<Option<Response<Sent>>>,
    is_left: Cell<bool>,
    /// The request is for a head only.
    is_head: bool,
    there: Signal,
}

pub(super) fn pair(is_head: bool) -> (Sender, Receiver) {
    let state = Rc::new(State {
        is_head,
        ..State::default()
    });
    (Sender(Rc::clone(&state)), Receiver(state))
}

impl Sender {
    /// Hands the answer over; how it ends is told.
    pub(in crate::native) fn send(self, mut response: Response<Body>, gone: Gone) {
        if self.0.is_left.get() {
            return gone.settle(true);
        }
        // Where an answer ends is not the program's to say: the next one would begin in
        // the middle of this one.
        let length = http_body::Body::size_hint(response.body()).exact();
        let is_described = self.0.is_head || response.status() == StatusCode::NOT_MODIFIED;
        let fields = response.headers_mut();
        fields.remove(TRANSFER_ENCODING);
        if let (false, Some(length)) = (is_described, length)
            && let Some(said) = fields.get_mut(CONTENT_LENGTH)
        {
            *said = HeaderValue::from(length);
        }
        let response = response.map(|body| Sent {
            body,
            gone: Some(gone),
        });
        self.0.answer.replace(Some(response));
        self.0.there.notify();
    }
}

impl Receiver {
    /// Waits for the answer. Dropping the future says that the client has left.
    pub(super) async fn answer(self, gone: Gone) -> Response<Sent> {
        let mut pending = PendingReply {
            state: self.0,
            gone,
            has_answer: false,
        };
        let state = &pending.state;
        let answer = state.there.wait_for(|| state.answer.take()).await;
        pending.has_answer = true;
        answer
    }
}

/// A connection that waits.
struct PendingReply {
    state: Rc<State>,
    gone: Gone,
    has_answer: bool,
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        // Once there is an answer, its body knows how it ends.
        if self.has_answer {
            return;
        }
        self.state.is_left.set(true);
        self.gone.settle(true);
    }
}

/// The body of an answer, which knows whether it was taken to its end.
pub(super) struct Sent {
    body: Body,
    gone: Option<Gone>,
}

impl Sent {
    /// Of an answer that is not the program's.
    pub(super) fn unwatched(body: Body) -> Self {
        Self { body, gone: None }
    }

    fn end(&mut self, is_early: bool) {
        if let Some(gone) = self.gone.take() {
            gone.settle(is_early);
        }
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = std::task::ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), cx));
        match &frame {
            None => self.end(false),
            Some(Err(_)) => self.end(true),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let is_early = !http_body::Body::is_end_stream(&self.body);
        self.end(is_early);
    }
}
