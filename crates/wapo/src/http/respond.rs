//! Answering: from what a handler returns to bytes on the stream.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::{fmt, io};

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use wapo_abi::message::HttpRest;

use super::exchange::Outgoing;
use super::upgrade::Promise;
use super::{Body, head};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::net::TcpStream;
use crate::sys::calls;

/// Bytes of a body that go to the host together with the head.
///
/// They are copied once more for it; a longer body is read by the client piece by piece
/// anyway.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// What a handler may return.
pub trait IntoResponse {
    /// Makes the response.
    fn into_response(self) -> Response<Body>;
}

impl<B: Into<Body>> IntoResponse for Response<B> {
    fn into_response(self) -> Response<Body> {
        self.map(Into::into)
    }
}

impl<B: Into<Body>> IntoResponse for (StatusCode, B) {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.1.into());
        *response.status_mut() = self.0;
        response
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response<Body> {
        (self, Body::empty()).into_response()
    }
}

impl<R: IntoResponse, E: fmt::Display> IntoResponse for Result<R, E> {
    /// An error is logged; the client learns only that there was one.
    fn into_response(self) -> Response<Body> {
        self.map_or_else(
            |error| {
                ::log::error!("a request failed: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
            },
            IntoResponse::into_response,
        )
    }
}

macro_rules! body_is_response {
    ($($body:ty),*) => {$(
        impl IntoResponse for $body {
            fn into_response(self) -> Response<Body> {
                Response::new(self.into())
            }
        }
    )*};
}
body_is_response!((), Body, Bytes, Vec<u8>, String, &'static str);

/// What is left to do of sending a response. Boxed: few responses have any, and the future of
/// every other one would be as large.
pub(super) type Rest = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Answers one request. Dropping it makes the request fail.
#[derive(Debug)]
pub struct Responder {
    /// Takes the head, on an older host; else the stream does.
    reply: Option<Handle>,
    stream: TcpStream,
    /// Answers to `HEAD` have no body.
    is_head: bool,
    upgrade: Option<Promise>,
}

impl Responder {
    pub(super) fn new(reply: Option<Handle>, stream: TcpStream, is_head: bool) -> Self {
        Self {
            reply,
            stream,
            is_head,
            upgrade: None,
        }
    }

    pub(super) fn with_upgrade(mut self, promise: Promise) -> Self {
        self.upgrade = Some(promise);
        self
    }

    /// Sends a response, head and body, and waits until all of it is taken.
    ///
    /// The request's body need not have been read. A `content-length` is added
    /// when the length is known. A status of 101 hands the stream to
    /// [`super::on_upgrade`].
    ///
    /// # Errors
    ///
    /// When the client is gone or the response's body fails. A body that fails
    /// breaks the answer off, and so does dropping the future half-way: the
    /// client never takes a part for the whole.
    pub async fn send(self, response: impl IntoResponse) -> io::Result<()> {
        match self.send_at_once(response.into_response())? {
            Some(rest) => rest.await,
            None => Ok(()),
        }
    }

    /// Sends what can be sent without a wait, which is all of most responses, and gives what
    /// is left to do. A host that takes head and body apart is sent nothing before that.
    pub(super) fn send_at_once(mut self, response: Response<Body>) -> io::Result<Option<Rest>> {
        let (parts, mut body) = response.into_parts();
        let has_body = may_have_body(parts.status);
        let length = body.known_len().filter(|_| has_body);
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            self.send_head(&parts, None)?;
            if let Some(promise) = self.upgrade.take() {
                promise.keep(self.stream.share());
            }
            return Ok(None);
        }
        let is_empty = !has_body || self.is_head || body.is_end_stream();
        if self.reply.is_none() {
            let whole = match is_empty {
                true => Some(Bytes::new()),
                false => body.take_whole(WHOLE_BYTES_MAX),
            };
            if let Some(whole) = whole {
                return self.send_whole(&parts, length, whole);
            }
        }
        Ok(Some(Box::pin(async move {
            match is_empty {
                true => self.send_empty(&parts, length).await,
                false => self.send_pieces(&parts, length, body).await,
            }
        })))
    }

    /// Sends a head without a body, to a host that takes them apart.
    async fn send_empty(self, parts: &Parts, length: Option<u64>) -> io::Result<()> {
        // The end comes before the head, so that the head can say that nothing
        // follows. Clients of gRPC tell an error by that.
        let mut to = Outgoing::new(self.stream.share());
        poll_fn(|cx| to.poll_finish(cx)).await?;
        self.send_head(parts, length)?;
        Ok(())
    }

    async fn send_pieces(self, parts: &Parts, length: Option<u64>, body: Body) -> io::Result<()> {
        // The head follows what there is of the body at once, so that the host wakes the
        // client's side once and sends both together.
        let mut sending = pin!(send_body(Outgoing::new(self.stream.share()), body));
        let at_once = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await;
        self.send_head(parts, length)?;
        match at_once {
            Poll::Ready(sent) => sent,
            Poll::Pending => sending.await,
        }
    }

    /// Sends only the head and gives the raw stream: what is written to it is
    /// the body, or the new protocol after a status of 101.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub fn start(self, head: Response<()>) -> Result<TcpStream> {
        self.send_head(&head.into_parts().0, None)?;
        Ok(self.stream)
    }

    fn send_head(&self, parts: &Parts, length: Option<u64>) -> Result<()> {
        head::with_message(parts, length, &[], |message| match &self.reply {
            Some(reply) => calls::oneshot_send(reply.get(), message),
            None => calls::http_respond(self.stream.handle(), HttpRest::Answer as i32, message)
                .map(drop),
        })
    }

    /// Sends the head and all of the body in one call, and ends the exchange with it unless
    /// the request's body is still read.
    fn send_whole(
        self,
        parts: &Parts,
        length: Option<u64>,
        body: Bytes,
    ) -> io::Result<Option<Rest>> {
        let rest = match self.stream.is_shared() {
            true => HttpRest::Request,
            false => HttpRest::Nothing,
        };
        let sent = head::with_message(parts, length, &body, |message| {
            calls::http_respond(self.stream.handle(), rest as i32, message)
        });
        let taken = match sent {
            Err(Error::RESOURCE_LIMITED) if !body.is_empty() => {
                // There may be room for the head, and for the body in smaller steps.
                self.send_head(parts, length)?;
                0
            }
            sent => sent?,
        };
        match body.get(taken..) {
            // What the app or its host has no room for goes when there is some.
            Some(left) if !left.is_empty() => {
                let left = Body::from(body.slice_ref(left));
                let rest = send_body(Outgoing::new(self.stream), left);
                Ok(Some(Box::pin(rest)))
            }
            _ => {
                if rest == HttpRest::Nothing {
                    self.stream.forget();
                }
                Ok(None)
            }
        }
    }
}

/// Sends a body to its end, trailers included.
async fn send_body(mut to: Outgoing, mut body: Body) -> io::Result<()> {
    let mut trailers = None;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => write_all(&mut to, &data).await?,
            // Trailers are the end; a body need not say so once more.
            Err(last) => {
                if let Ok(fields) = last.into_trailers() {
                    trailers = Some(fields);
                    break;
                }
            }
        }
    }
    match trailers {
        Some(trailers) => poll_fn(|cx| to.poll_finish_with(cx, &trailers)).await?,
        None => poll_fn(|cx| to.poll_finish(cx)).await?,
    }
    Ok(())
}

async fn write_all(to: &mut Outgoing, mut data: &[u8]) -> Result<()> {
    poll_fn(|cx| {
        while !data.is_empty() {
            let count = ready!(to.poll_write(cx, data))?;
            data = match data.get(count..) {
                Some(rest) if count > 0 => rest,
                _ => return Poll::Ready(Err(Error::IO_ERROR)),
            };
        }
        Poll::Ready(Ok(()))
    })
    .await
}

fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

#[cfg(test)]
mod tests;
