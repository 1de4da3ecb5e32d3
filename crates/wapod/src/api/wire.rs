//! A client's socket, and what can be told from it about the client.
//!
//! hyper, or h2, owns the socket. hyper asks it nothing while it waits for an answer
//! to a request: a client may close its own side and still listen. Whoever wants to
//! know whether there is still somebody asks through [`Presence`]; the socket looks
//! when its owner comes by the next time, which is in the same step. What comes is
//! watched here, too: the time for a head of HTTP/1.1, and frames of HTTP/2 that do
//! no work. Called by `connection` and `http2`, asked by `gateway` and `log_stream`.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

use super::frames::{FrameBudget, FrameMeter};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Every client of HTTP/1.1 has to skip this before an answer (RFC 9110, section
/// 15.2). A client that is gone refuses the packet, and the kernel tells us.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Somebody wants to know.
const ASKED: u8 = 1;
/// A [`PROBE`] may be sent to find out.
const MAY_PROBE: u8 = 2;
/// The client sends no more.
const HALF_CLOSED: u8 = 4;
/// The client is not there any more.
const GONE: u8 = 8;
/// The connection shall end with a reset.
const RESET: u8 = 16;
/// HTTP is not spoken any more.
const TUNNEL: u8 = 32;

/// What is known about the client of one connection, and what it has going on.
#[derive(Default, Debug)]
pub(super) struct Presence {
    bits: AtomicU8,
    /// Requests whose answers are not complete.
    requests: AtomicUsize,
    /// Requests that have been begun.
    begun: AtomicUsize,
    /// Pieces of answers that streams of HTTP/2 took.
    taken: AtomicU64,
    /// Streams that were given up since something was taken.
    given_up: AtomicUsize,
    /// Frames of HTTP/2 that do no work.
    pub(super) budget: FrameBudget,
    /// The client only makes work.
    accusation: Notify,
}

impl Presence {
    pub(super) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests whose answers are not complete.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that have been begun.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn took_something(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.given_up.store(0, Ordering::Relaxed);
    }

    /// A stream was given up because nothing of it was taken. So is the connection,
    /// when this is all that there is to say of it: `taken_before` is what was taken
    /// when the wait began.
    pub(super) fn give_up(&self, taken_before: u64) {
        let streams = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        let took_nothing = self.taken() == taken_before;
        // Nobody waits for an app, and it is not one download that was forgotten.
        if took_nothing && self.requests() == 0 && (streams > 1 || taken_before == 0) {
            self.accuse();
        }
    }

    /// Pieces of answers that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The connection has to end.
    pub(super) fn accuse(&self) {
        self.accusation.notify_one();
    }

    /// Waits until the connection has to end.
    pub(super) async fn accused(&self) {
        self.accusation.notified().await;
    }

    /// What follows is not HTTP.
    pub(super) fn becomes_tunnel(&self) {
        self.bits.fetch_or(TUNNEL, Ordering::Relaxed);
    }

    /// Wants to know. With `may_probe`, a client of HTTP/1.1 that waits for the
    /// head of an answer gets a word that it has to skip.
    fn ask(&self, may_probe: bool) {
        let bits = if may_probe { ASKED | MAY_PROBE } else { ASKED };
        self.bits.fetch_or(bits, Ordering::Relaxed);
    }

    /// Takes back what was asked.
    fn hush(&self) {
        self.bits.fetch_and(!(ASKED | MAY_PROBE), Ordering::Relaxed);
    }

    fn has(&self, bit: u8) -> bool {
        self.bits.load(Ordering::Relaxed) & bit != 0
    }

    /// Lets the connection end with a reset, which no client takes for an end.
    pub(super) fn reset(&self) {
        self.bits.fetch_or(RESET, Ordering::Relaxed);
    }
}

/// Somebody who looks after the client from time to time. Nothing is asked any
/// more when this is gone: a probe must not get into an answer.
pub(super) struct Watch(Arc<Presence>);

impl Watch {
    pub(super) fn new(presence: &Arc<Presence>) -> Self {
        Self(Arc::clone(presence))
    }

    /// Asks for a look, with a probe where the client may have left.
    pub(super) fn probe(&self) {
        self.0.ask(true);
    }

    /// Asks for a look.
    pub(super) fn look(&self) {
        self.0.ask(false);
    }

    /// Whether the client closed its side, when it was looked at last.
    pub(super) fn is_half_closed(&self) -> bool {
        self.0.has(HALF_CLOSED)
    }

    /// Whether the client has left, when it was looked at last.
    pub(super) fn is_gone(&self) -> bool {
        self.0.has(GONE)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.hush();
    }
}

/// The socket.
pub(super) struct Wire {
    stream: TcpStream,
    /// Bytes that were read to find out the version, and not taken yet.
    first: Vec<u8>,
    limits: Limits,
    presence: Arc<Presence>,
    /// Time in which a client takes something.
    patience: Duration,
    /// Runs while the client takes nothing.
    watchdog: Option<Pin<Box<Sleep>>>,
    /// The client has taken something since the watchdog was set.
    has_moved: bool,
}

/// What is watched while reading.
enum Limits {
    /// Nothing; the version is not known.
    None,
    /// Time for the head of a request, once it has begun.
    Http1(HeadTimer),
    /// Frames that do no work.
    Http2(FrameMeter),
    /// The client sent too many of them; it is not read any more.
    Flooded,
}

/// The time for one head of HTTP/1.1.
struct HeadTimer {
    patience: Duration,
    /// Runs from the first byte, with the number of requests before it.
    running: Option<(Pin<Box<Sleep>>, usize)>,
}

impl HeadTimer {
    /// Some bytes came.
    fn received(&mut self, presence: &Presence) {
        let begun = presence.begun();
        let is_known = self.running.as_ref().is_some_and(|(_, of)| *of == begun);
        if presence.requests() > 0 || presence.has(TUNNEL) {
            self.running = None;
        } else if !is_known {
            self.running = Some((Box::pin(sleep(self.patience)), begun));
        }
    }

    /// Ready when the time for a head that has begun is over.
    fn poll(&mut self, cx: &mut Context<'_>, presence: &Presence) -> Poll<()> {
        match &mut self.running {
            Some((sleep, begun)) if *begun == presence.begun() => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Preface {
    Yes,
    No,
    Maybe,
}

fn preface(first: &[u8]) -> Preface {
    if first.starts_with(HTTP2_PREFACE) {
        Preface::Yes
    } else if HTTP2_PREFACE.starts_with(first) {
        Preface::Maybe
    } else {
        Preface::No
    }
}

impl Wire {
    /// Reads what tells the version; `None` when the client left. The bytes are
    /// kept for whoever serves it. `head` is the time for a head of HTTP/1.1.
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
            let mut some = (&mut self.stream).take(room as u64);
            if some.read_buf(&mut self.first).await.ok()? == 0 {
                return None;
            }
        };
        self.limits = match is_http2 {
            true => Limits::Http2(FrameMeter::new(0)),
            false => {
                let mut timer = HeadTimer {
                    patience: head,
                    running: None,
                };
                timer.received(&self.presence);
                Limits::Http1(timer)
            }
        };
        Some(is_http2)
    }

    /// Looks at what came.
    fn received(&mut self, bytes: &[u8]) {
        let is_flood = match &mut self.limits {
            Limits::Http1(timer) => {
                timer.received(&self.presence);
                false
            }
            Limits::Http2(meter) => !meter.count(bytes, &self.presence.budget),
            Limits::None | Limits::Flooded => false,
        };
        if is_flood {
            tracing::debug!("a client sent too many frames that do no work");
            self.limits = Limits::Flooded;
            self.presence.accuse();
        }
    }

    pub(super) fn new(stream: TcpStream, presence: Arc<Presence>, patience: Duration) -> Self {
        Self {
            stream,
            first: Vec::new(),
            limits: Limits::None,
            presence,
            patience,
            watchdog: None,
            has_moved: false,
        }
    }

    /// Answers whoever asked. Everything that hyper had to say is said at this
    /// point, so a probe stands between two messages.
    fn look(&self, cx: &mut Context<'_>) {
        let may_probe = self.presence.has(MAY_PROBE);
        self.presence.hush();
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
        let Poll::Ready(Ok(ready)) = pin!(self.stream.ready(interest)).poll(cx) else {
            return;
        };
        let mut found = 0;
        if ready.is_read_closed() {
            found |= HALF_CLOSED;
        }
        if ready.is_write_closed() || ready.is_error() {
            found |= GONE;
        }
        if found == HALF_CLOSED && may_probe {
            match self.stream.try_write(PROBE) {
                Ok(written) if written == PROBE.len() => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A part of it cannot be taken back.
                Ok(_) | Err(_) => found |= GONE,
            }
        }
        self.presence.bits.fetch_or(found, Ordering::Relaxed);
    }

    /// Follows a write up.
    fn written(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.has_moved = true;
            return outcome;
        }
        loop {
            let watchdog = match &mut self.watchdog {
                Some(watchdog) => watchdog,
                none => {
                    self.has_moved = false;
                    none.insert(Box::pin(sleep(self.patience)))
                }
            };
            if watchdog.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if !self.has_moved {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.has_moved = false;
            watchdog.as_mut().reset(Instant::now() + self.patience);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.presence.has(RESET) {
            // Without it the client sees an orderly end.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
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
            return Poll::Ready(Ok(()));
        }
        if matches!(this.limits, Limits::Flooded) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(cx, buffer);
        match outcome {
            Poll::Ready(Ok(())) => this.received(&buffer.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if let Limits::Http1(timer) = &mut this.limits
                    && timer.poll(cx, &this.presence).is_ready()
                {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        outcome
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, data);
        self.written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.presence.has(ASKED) {
            self.look(cx);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.presence.has(RESET) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn pair(patience: Duration) -> (Wire, Arc<Presence>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let address = listener.local_addr().expect("address");
        let client = TcpStream::connect(address).await.expect("client");
        let (stream, _) = listener.accept().await.expect("accepted");
        let presence = Arc::new(Presence::default());
        let wire = Wire::new(stream, Arc::clone(&presence), patience);
        (wire, presence, client)
    }

    /// Looks, as hyper makes the socket look, until `done`.
    async fn until(wire: &mut Wire, watch: &Watch, done: impl Fn() -> bool) {
        let looking = async {
            while !done() {
                watch.probe();
                wire.flush().await.expect("flush");
                sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, looking).await;
        seen.expect("noticed");
    }

    #[test]
    fn the_first_bytes_tell_the_version() {
        assert_eq!(preface(HTTP2_PREFACE), Preface::Yes);
        assert_eq!(preface(b"PRI * HT"), Preface::Maybe);
        assert_eq!(preface(b"P"), Preface::Maybe);
        assert_eq!(preface(b""), Preface::Maybe);
        assert_eq!(preface(b"PUT / HTTP/1.1"), Preface::No);
        assert_eq!(preface(b"GET /"), Preface::No);
    }

    #[tokio::test]
    async fn the_first_bytes_are_kept_for_whoever_serves() {
        for (sent, expected) in [
            (b"PUT / HTTP/1.1\r\n\r\n".as_slice(), Some(false)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Some(true)),
            (b"PRI * HTTP", None),
        ] {
            let (mut wire, _, mut client) = pair(PATIENCE).await;
            // Byte by byte, as a slow client does.
            let sending = tokio::spawn(async move {
                for byte in sent {
                    client.write_all(&[*byte]).await.expect("sent");
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(wire.speaks_http2(PATIENCE).await, expected);
            sending.await.expect("sent");
            if expected.is_some() {
                let mut all = Vec::new();
                wire.read_to_end(&mut all).await.expect("the rest");
                assert_eq!(all, sent);
            }
        }
    }

    #[tokio::test]
    async fn a_head_has_to_come_to_its_end_and_nothing_else_has() {
        let moment = Duration::from_millis(50);
        let (mut wire, presence, mut client) = pair(PATIENCE).await;
        client.write_all(b"GET /").await.expect("sent");
        assert_eq!(wire.speaks_http2(moment).await, Some(false));
        let mut buffer = [0; 5];
        wire.read_exact(&mut buffer).await.expect("the beginning");
        let kind = wire.read_u8().await.expect_err("too slow").kind();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        // The body of a request, and silence between two of them.
        presence.begin_request();
        for is_over in [false, true] {
            if is_over {
                presence.end_request();
            }
            let silence = tokio::time::timeout(4 * moment, wire.read_u8()).await;
            assert!(silence.is_err(), "{silence:?}");
        }
    }

    #[tokio::test]
    async fn a_client_that_left_is_told_from_one_that_listens() {
        let (mut wire, presence, mut client) = pair(PATIENCE).await;
        let watch = Watch::new(&presence);
        watch.probe();
        wire.flush().await.expect("flush");
        assert!(!watch.is_half_closed() && !watch.is_gone());

        client.shutdown().await.expect("half closed");
        until(&mut wire, &watch, || watch.is_half_closed()).await;
        assert!(!watch.is_gone());
        let mut heard = vec![0; PROBE.len()];
        client.read_exact(&mut heard).await.expect("the probe");
        assert_eq!(heard, PROBE);
        drop(client);
        until(&mut wire, &watch, || watch.is_gone()).await;
    }

    #[tokio::test]
    async fn nothing_is_sent_when_nobody_asks_any_more() {
        let (mut wire, presence, mut client) = pair(PATIENCE).await;
        client.shutdown().await.expect("half closed");
        let watch = Watch::new(&presence);
        watch.probe();
        drop(watch);
        wire.flush().await.expect("flush");
        wire.write_all(b"answer").await.expect("written");
        drop(wire);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("the end");
        assert_eq!(heard, b"answer");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut wire, _, mut client) = pair(Duration::from_millis(100)).await;
        let endless = vec![0; 1 << 20];
        let writing = async {
            loop {
                wire.write_all(&endless).await?;
            }
        };
        let failed: io::Result<()> = tokio::time::timeout(PATIENCE, writing)
            .await
            .expect("no end");
        let kind = failed.expect_err("given up").kind();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        let mut some = [0; 16];
        client.read_exact(&mut some).await.expect("was sent");
    }

    #[tokio::test]
    async fn a_reset_is_no_end() {
        let (wire, presence, mut client) = pair(PATIENCE).await;
        presence.reset();
        drop(wire);
        let error = client.read(&mut [0; 1]).await.expect_err("no end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
