//! A client's socket, and what it shows about the client.
//!
//! hyper, or h2, owns the socket. hyper asks it nothing while it waits for an answer
//! to a request: a client may close its own side and still read. A task that wants to
//! know whether the client is still there asks through [`ClientLiveness`]; the socket
//! looks when its owner comes by the next time, which is in the same step. Incoming
//! bytes are counted here, too: unfinished heads, frames of HTTP/2 that do no work,
//! unread bodies. Called by `connection`, `http1` and `http2`.

mod heads;
mod preface;
mod socket;
mod stall;
#[cfg(test)]
mod tests;
mod turn;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::budget::Full;
use super::frames::FrameMeter;
use super::liveness::{ClientLiveness, MayProbe};
use super::places::Activity;
use crate::limits::RETRY_AFTER_SECS;
use heads::{HeadFailure, HeadWatch};
use preface::{HTTP2_PREFACE, Preface, preface};
use socket::Said;
pub(super) use socket::Socket;
pub(crate) use socket::Tally;
use stall::Stall;
use turn::Turn;

/// Every client of HTTP/1.1 has to skip this before an answer (RFC 9110, section
/// 15.2). A client that is gone refuses the packet, and the kernel tells us.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The socket.
pub(super) struct Transport {
    socket: Socket,
    /// Bytes that were read and not taken yet: to find out the version, or by hyper before
    /// the connection rested.
    first: Vec<u8>,
    limits: Limits,
    liveness: Arc<ClientLiveness>,
    activity: Arc<Activity>,
    stall: Stall,
    turn: Turn,
    /// Whether the last write, or what follows it, waits for the client.
    is_blocked: bool,
    /// Runs while there is no room for what has come.
    pause: Option<Pin<Box<Sleep>>>,
}

/// Bytes that are read at once of a client that was silent.
///
/// A head has room for the rest when HTTP is served again.
const MORE_BYTES: usize = 64;

/// Time after which a connection that found no room is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is watched while reading.
enum Limits {
    /// Nothing; the version is not known.
    None,
    /// The head of a request, once it has begun.
    Http1(HeadWatch),
    /// Frames that do no work.
    Http2(FrameMeter),
    /// The client sent too many of them; it is not read any more.
    Flooded,
}

impl Transport {
    /// Reads what tells the version; `None` when the client left, or speaks another
    /// version than it has agreed to. The bytes are kept for the server of that
    /// version. `head` is the time for a head of HTTP/1.1.
    ///
    /// # Cancel safety
    ///
    /// No byte is lost when the future is dropped.
    pub(super) async fn speaks_http2(&mut self, head: Duration) -> Option<bool> {
        let is_http2 = loop {
            match preface(&self.first) {
                Preface::No => break false,
                Preface::Yes => break true,
                Preface::Maybe => {}
            }
            let room = HTTP2_PREFACE.len() - self.first.len();
            let mut some = (&mut self.socket).take(room as u64);
            if some.read_buf(&mut self.first).await.ok()? == 0 {
                return None;
            }
        };
        if self
            .socket
            .agreed()
            .is_some_and(|agreed| agreed != is_http2)
        {
            return None;
        }
        self.limits = match is_http2 {
            true => Limits::Http2(FrameMeter::new(0)),
            false => {
                self.stall.tell(Arc::clone(&self.activity));
                let mut watch = HeadWatch::new(head);
                watch.received(self.first.len(), &self.liveness);
                Limits::Http1(watch)
            }
        };
        Some(is_http2)
    }

    /// Looks at what came.
    fn received(&mut self, bytes: &[u8]) {
        let is_flood = match &mut self.limits {
            Limits::Http1(watch) => {
                watch.received(bytes.len(), &self.liveness);
                false
            }
            Limits::Http2(meter) => {
                let liveness = &self.liveness;
                !meter.count(bytes, &liveness.budget, &liveness.unread)
            }
            Limits::None | Limits::Flooded => false,
        };
        if is_flood {
            tracing::debug!("a client sent too many frames that do no work");
            self.accuse();
        }
    }

    /// Looks at what became of a write.
    fn written(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Ready(Ok(count)) => self.turn.moved(*count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.turn.ended(),
        }
        self.follow(outcome, cx)
    }

    /// Gives up a client that takes nothing.
    fn follow<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if self.socket.has_moved() {
            self.stall.moved();
        }
        self.set_blocked(outcome.is_pending());
        self.stall.follow(outcome, cx)
    }

    fn set_blocked(&mut self, is_blocked: bool) {
        if self.is_blocked != is_blocked {
            self.is_blocked = is_blocked;
            self.liveness.set_blocked(is_blocked);
        }
    }

    /// Whether the turn goes on.
    fn poll_goes_on(&mut self, cx: &Context<'_>) -> Poll<()> {
        let goes_on = self.turn.poll_goes_on(cx);
        if goes_on.is_pending() {
            self.liveness.note_turn_over();
        }
        goes_on
    }

    /// Whether the turn of a writer goes on; if not, something is left to write.
    fn poll_goes_on_writing(&mut self, cx: &Context<'_>) -> Poll<()> {
        let goes_on = self.poll_goes_on(cx);
        if goes_on.is_pending() {
            self.set_blocked(true);
        }
        goes_on
    }

    /// Waits until the client has sent more, and keeps it; false at its end.
    ///
    /// # Errors
    ///
    /// As a read.
    ///
    /// # Cancel safety
    ///
    /// No byte is lost when the future is dropped.
    pub(super) async fn more(&mut self) -> io::Result<bool> {
        let mut space = [0; MORE_BYTES];
        let mut more = ReadBuf::new(&mut space);
        poll_fn(|cx| self.poll_receive(cx, &mut more)).await?;
        self.first.reserve_exact(more.filled().len());
        self.first.extend_from_slice(more.filled());
        Ok(!more.filled().is_empty())
    }

    /// Takes back what was read and not used: it comes first again.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.first = [bytes, self.first.as_slice()].concat();
        if let Limits::Http1(watch) = &mut self.limits {
            watch.put_back(bytes.len(), &self.liveness);
        }
    }

    /// Reads what comes from the client now.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.limits, Limits::Flooded) {
            return Poll::Pending;
        }
        ready!(self.poll_room(cx))?;
        ready!(self.poll_goes_on(cx));
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buffer);
        match outcome {
            Poll::Ready(Ok(())) => {
                let received = &buffer.filled()[before..];
                self.turn.moved(received.len());
                self.received(received);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.turn.ended();
                return self.nothing_more(cx);
            }
        }
        outcome
    }

    /// Lets the connection end, and reads no more of it.
    fn accuse(&mut self) {
        self.limits = Limits::Flooded;
        self.liveness.accuse();
    }

    /// Nothing more has come at the moment.
    fn nothing_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.limits {
            Limits::Http1(watch) => match ready!(watch.poll(cx, &self.liveness)) {
                HeadFailure::TooSlow => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                HeadFailure::NoRoom(full) => {
                    self.refuse(full, cx);
                    Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()))
                }
            },
            Limits::Http2(meter) => {
                if let Err(full) = self.liveness.keep_head(meter.unfinished_head_bytes()) {
                    tracing::debug!(%full, "a head in HTTP/2 is refused");
                    self.accuse();
                }
                Poll::Pending
            }
            Limits::None | Limits::Flooded => Poll::Pending,
        }
    }

    /// Says why the head of a request of HTTP/1.1 is not read to its end. No answer
    /// is on its way, so this stands between two messages.
    fn refuse(&mut self, full: Full, cx: &mut Context<'_>) {
        let text = format!("{full}; try again later\n");
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
             content-type: text/plain; charset=utf-8\r\nretry-after: {RETRY_AFTER_SECS}\r\n\
             content-length: {}\r\n\r\n{text}",
            text.len()
        );
        tracing::debug!(%full, "a head is refused");
        // A client that does not take it now does not get it.
        let _ = self.socket.say(answer.as_bytes(), cx);
    }

    pub(super) fn new(
        socket: Socket,
        liveness: Arc<ClientLiveness>,
        activity: Arc<Activity>,
        write_timeout: Duration,
    ) -> Self {
        Self {
            socket,
            first: Vec::new(),
            limits: Limits::None,
            liveness,
            activity,
            stall: Stall::new(write_timeout),
            turn: Turn::default(),
            is_blocked: false,
            pause: None,
        }
    }

    /// Ready when there is room for more of the bodies that come in HTTP/2.
    ///
    /// # Errors
    ///
    /// When the client has left meanwhile, as far as that can be seen: an end behind
    /// more than the kernel keeps cannot.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.limits, Limits::Http2(_)) {
            return Poll::Ready(Ok(()));
        }
        while !self.liveness.unread.has_room(cx) {
            if let Poll::Ready(Ok(ready)) =
                pin!(self.socket.tcp().ready(Interest::READABLE)).poll(cx)
                && ready.is_read_closed()
            {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            // Others may give something back, and do not tell.
            let pause = self
                .pause
                .get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        self.pause = None;
        Poll::Ready(Ok(()))
    }

    /// Answers the watchers. Everything that hyper had to send is said at this
    /// point, so a probe stands between two messages.
    fn look(&mut self, cx: &mut Context<'_>) {
        let Some(MayProbe(may_probe)) = self.liveness.asked() else {
            return;
        };
        self.liveness.hush();
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
        let Poll::Ready(Ok(ready)) = pin!(self.socket.tcp().ready(interest)).poll(cx) else {
            return;
        };
        let is_half_closed = ready.is_read_closed();
        let mut is_gone = ready.is_write_closed() || ready.is_error();
        if is_half_closed && !is_gone && may_probe {
            is_gone = self.socket.say(PROBE, cx) == Said::Broken;
        }
        self.liveness.found(is_half_closed, is_gone);
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if self.liveness.wants_reset() {
            // Without it the client sees an orderly end.
            let _ = self.socket.tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let count = this.first.len().min(buffer.remaining());
            buffer.put_slice(&this.first[..count]);
            this.first.drain(..count);
            if this.first.is_empty() {
                // It may have been a long head.
                this.first = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        this.poll_receive(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_goes_on_writing(cx));
        let outcome = Pin::new(&mut self.socket).poll_write(cx, data);
        self.written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_goes_on_writing(cx));
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
        self.written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look(cx);
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        match self.socket.is_buffered() {
            true => self.follow(outcome, cx),
            false => outcome,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.liveness.wants_reset() {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.follow(outcome, cx)
    }
}
