//! The body of a guest's answer, on its way to the client.
//!
//! Reads from the guest only when the client has taken what came before, so a
//! slow client slows the guest down and memory stays flat. Says as many bytes as
//! the head announced or breaks the answer off: an answer never looks complete
//! when it is not. Made by `gateway`, driven by hyper
//! or, in HTTP/2, by `http2` with h2.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use wapo_host::{BodyReader, Trailers};

use super::body_pump::BodyPump;
use super::exchange::Exchange;
use super::head;
use crate::api::liveness::LivenessWatch;

/// Time between two looks at a client to which nothing is sent.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The response body of a guest, and the exchange that it belongs to. The
/// exchange ends with it, however it ends.
pub(super) struct GuestBody {
    content: Content,
    /// Bytes that were announced and have not come; `None` without a length.
    left: Option<u64>,
    is_over: bool,
    idle_watch: IdleWatch,
    exchange: Exchange,
    _pump: Option<BodyPump>,
}

/// Where the bytes come from.
pub(super) enum Content {
    /// They are there: all of the body, or nothing that is left.
    Whole(Bytes),
    /// As the guest writes them.
    Coming(BodyReader),
}

impl Content {
    /// What came with the head, or what comes.
    pub(super) fn of(whole: Option<Bytes>, reader: BodyReader) -> Self {
        whole.map_or(Self::Coming(reader), Self::Whole)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Coming(reader) => reader.poll_chunk(cx),
        }
    }

    fn is_at_end(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Coming(reader) => reader.is_at_end(),
        }
    }

    fn take_trailers(&mut self) -> Trailers {
        match self {
            Self::Whole(_) => Trailers::new(),
            Self::Coming(reader) => reader.take_trailers(),
        }
    }
}

impl GuestBody {
    pub(super) fn new(
        content: Content,
        announced: Option<u64>,
        pump: Option<BodyPump>,
        exchange: Exchange,
    ) -> Self {
        Self {
            content,
            left: announced,
            is_over: false,
            idle_watch: IdleWatch::new(&exchange),
            exchange,
            _pump: pump,
        }
    }

    fn data(&mut self, chunk: Bytes) -> io::Result<Frame<Bytes>> {
        if let Some(left) = &mut self.left {
            match left.checked_sub(chunk.len() as u64) {
                Some(still_left) => *left = still_left,
                None => return Err(self.break_off(Some("the app sent more than it announced"))),
            }
        }
        self.idle_watch.silent = Duration::ZERO;
        Ok(Frame::data(chunk))
    }

    fn end(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        if self.left.is_some_and(|left| left > 0) {
            let error = self.break_off(Some("the app sent less than it announced"));
            return Some(Err(error));
        }
        self.is_over = true;
        match head::response_trailers(self.content.take_trailers()) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(_) => Some(Err(self.break_off(Some("the app sent invalid trailers")))),
        }
    }

    /// Makes the client see that this is not the end.
    fn break_off(&mut self, reason: Option<&'static str>) -> io::Error {
        self.is_over = true;
        if let Some(reason) = reason {
            self.exchange.log_failure(&format!("broken off: {reason}"));
        }
        if self.left.is_none() && self.exchange.is_http_1_0 {
            // Nothing but the end of the connection marks the end of the body.
            self.exchange.client.liveness().reset();
        }
        io::ErrorKind::ConnectionAborted.into()
    }
}

impl hyper::body::Body for GuestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let frame = match this.content.poll_chunk(cx) {
            Poll::Pending => {
                std::task::ready!(this.idle_watch.poll(cx));
                Some(Err(this.break_off(None)))
            }
            Poll::Ready(Some(Ok(chunk))) => Some(this.data(chunk)),
            Poll::Ready(Some(Err(_))) => Some(Err(this.break_off(None))),
            Poll::Ready(None) => this.end(),
        };
        Poll::Ready(frame)
    }

    /// Whether nothing follows, as far as it is known.
    fn is_end_stream(&self) -> bool {
        self.is_over || (self.left.is_none_or(|left| left == 0) && self.content.is_at_end())
    }

    /// The length, where it is known although the head announces none.
    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) if self.left.is_none() => {
                SizeHint::with_exact(bytes.len() as u64)
            }
            _ => SizeHint::default(),
        }
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        // HTTP/1.1 has no use for what comes after the announced length.
        if self.left == Some(0) && !self.is_over {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(Some(Ok(_))) = self.content.poll_chunk(&mut cx) {
                let text = "cut off: the app sent more than it announced";
                self.exchange.log_failure(text);
            }
        }
    }
}

/// Looks after the client while there is nothing to send. Costs nothing as long
/// as the guest has something to say.
struct IdleWatch {
    sleep: Option<Pin<Box<Sleep>>>,
    watch: LivenessWatch,
    interval: Duration,
    /// How long to bear with a client that sends no more and hears nothing.
    half_closed: Duration,
    /// For how long nothing was sent.
    silent: Duration,
}

impl IdleWatch {
    fn new(exchange: &Exchange) -> Self {
        Self {
            sleep: None,
            watch: LivenessWatch::new(exchange.client.liveness()),
            interval: LOOK_INTERVAL.min(exchange.half_closed),
            half_closed: exchange.half_closed,
            silent: Duration::ZERO,
        }
    }

    /// Ready when nobody listens any more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let interval = self.interval;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(interval)));
            std::task::ready!(sleep.as_mut().poll(cx));
            self.silent += interval;
            let is_tired = self.watch.is_half_closed() && self.silent >= self.half_closed;
            if self.watch.is_gone() || is_tired {
                return Poll::Ready(());
            }
            self.watch.look();
            sleep.as_mut().reset(Instant::now() + interval);
        }
    }
}
