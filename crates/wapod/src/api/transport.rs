//! A client's socket, and what it shows about the client.
//!
//! hyper, or h2, owns the socket. hyper asks it nothing while it waits for an answer
//! to a request: a client may close its own side and still read. A task that wants to
//! know whether the client is still there asks through [`ClientLiveness`]; the socket
//! looks when its owner comes by the next time, which is in the same step. Incoming
//! bytes are counted here, too: unfinished heads, frames of HTTP/2 that do no work,
//! unread bodies. Called by `connection` and `http2`.

mod heads;
mod socket;
mod stall;
mod turn;

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
use socket::Said;
pub(super) use socket::Socket;
pub(crate) use socket::Tally;
use stall::Stall;
use turn::Turn;

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Every client of HTTP/1.1 has to skip this before an answer (RFC 9110, section
/// 15.2). A client that is gone refuses the packet, and the kernel tells us.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The socket.
pub(super) struct Transport {
    socket: Socket,
    /// Bytes that were read to find out the version, and not taken yet.
    first: Vec<u8>,
    limits: Limits,
    liveness: Arc<ClientLiveness>,
    activity: Arc<Activity>,
    stall: Stall,
    turn: Turn,
    /// Runs while there is no room for what has come.
    pause: Option<Pin<Box<Sleep>>>,
}

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
        self.stall.follow(outcome, cx)
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
            return Poll::Ready(Ok(()));
        }
        if matches!(this.limits, Limits::Flooded) {
            return Poll::Pending;
        }
        ready!(this.poll_room(cx))?;
        ready!(this.turn.poll_goes_on(cx));
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.socket).poll_read(cx, buffer);
        match outcome {
            Poll::Ready(Ok(())) => {
                let received = &buffer.filled()[before..];
                this.turn.moved(received.len());
                this.received(received);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                this.turn.ended();
                return this.nothing_more(cx);
            }
        }
        outcome
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.turn.poll_goes_on(cx));
        let outcome = Pin::new(&mut self.socket).poll_write(cx, data);
        self.written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.turn.poll_goes_on(cx));
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::api::budget::{Bounds, Budget};
    use crate::api::liveness::LivenessWatch;
    use crate::limits::HEAD_FREE_BYTES;

    const TIMEOUT: Duration = Duration::from_secs(30);

    async fn pair(write_timeout: Duration) -> (Transport, Arc<ClientLiveness>, TcpStream) {
        pair_with(ClientLiveness::default(), write_timeout).await
    }

    async fn pair_with(
        liveness: ClientLiveness,
        write_timeout: Duration,
    ) -> (Transport, Arc<ClientLiveness>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let address = listener.local_addr().expect("address");
        let client = TcpStream::connect(address).await.expect("client");
        let (stream, _) = listener.accept().await.expect("accepted");
        let liveness = Arc::new(liveness);
        let activity = Arc::<Activity>::default();
        let transport = Transport::new(
            Socket::Tcp(stream),
            Arc::clone(&liveness),
            activity,
            write_timeout,
        );
        (transport, liveness, client)
    }

    /// Looks, as hyper makes the socket look, until `done`.
    async fn until(transport: &mut Transport, watch: &LivenessWatch, done: impl Fn() -> bool) {
        let looking = async {
            while !done() {
                watch.probe();
                transport.flush().await.expect("flush");
                sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(TIMEOUT, looking).await;
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
            let (mut transport, _, mut client) = pair(TIMEOUT).await;
            // Byte by byte, as a slow client does.
            let sending = tokio::spawn(async move {
                for byte in sent {
                    client.write_all(&[*byte]).await.expect("sent");
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(transport.speaks_http2(TIMEOUT).await, expected);
            sending.await.expect("sent");
            if expected.is_some() {
                let mut all = Vec::new();
                transport.read_to_end(&mut all).await.expect("the rest");
                assert_eq!(all, sent);
            }
        }
    }

    #[tokio::test]
    async fn a_head_has_to_come_to_its_end_and_nothing_else_has() {
        let moment = Duration::from_millis(50);
        let (mut transport, liveness, mut client) = pair(TIMEOUT).await;
        client.write_all(b"GET /").await.expect("sent");
        assert_eq!(transport.speaks_http2(moment).await, Some(false));
        let mut buffer = [0; 5];
        transport
            .read_exact(&mut buffer)
            .await
            .expect("the beginning");
        let kind = transport.read_u8().await.expect_err("too slow").kind();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        // The body of a request, and silence between two of them.
        liveness.begin_request();
        for is_over in [false, true] {
            if is_over {
                liveness.end_request();
            }
            let silence = tokio::time::timeout(4 * moment, transport.read_u8()).await;
            assert!(silence.is_err(), "{silence:?}");
        }
    }

    #[tokio::test]
    async fn a_head_for_which_there_is_no_room_is_refused_with_the_reason() {
        let budget: Arc<Budget> = Budget::new(Bounds {
            total: 1000,
            each: 1000,
            for_small: 0,
        });
        // So much of a head comes, and not its end.
        let begin = async |bytes: usize| {
            let liveness = ClientLiveness::new(budget.share(None), budget.share(None));
            let (mut transport, liveness, mut client) = pair_with(liveness, TIMEOUT).await;
            client.write_all(&vec![b'x'; bytes]).await.expect("sent");
            assert_eq!(transport.speaks_http2(TIMEOUT).await, Some(false));
            let reading = async {
                let mut left = vec![0; bytes];
                transport.read_exact(&mut left).await?;
                transport.read_u8().await
            };
            let read = tokio::time::timeout(Duration::from_millis(100), reading).await;
            (
                read.ok().map(|read| read.map(drop)),
                liveness,
                transport,
                client,
            )
        };
        let (read, first, _wire, _client) = begin(HEAD_FREE_BYTES + 600).await;
        assert!(read.is_none(), "it is waited for");
        assert_eq!(budget.reading().used, 600);
        let (read, ..) = begin(HEAD_FREE_BYTES).await;
        assert!(read.is_none(), "most heads are not counted");
        let (read, _, transport, mut client) = begin(HEAD_FREE_BYTES + 401).await;
        let error = read.expect("no wait").expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        drop(transport);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        assert!(answer.ends_with("try again later\n"), "{answer}");
        first.begin_request();
        assert_eq!(budget.reading().used, 0, "it came to its end");
    }

    #[tokio::test]
    async fn a_client_that_left_is_told_from_one_that_listens() {
        let (mut transport, liveness, mut client) = pair(TIMEOUT).await;
        let watch = LivenessWatch::new(&liveness);
        watch.probe();
        transport.flush().await.expect("flush");
        assert!(!watch.is_half_closed() && !watch.is_gone());

        client.shutdown().await.expect("half closed");
        until(&mut transport, &watch, || watch.is_half_closed()).await;
        assert!(!watch.is_gone());
        let mut heard = vec![0; PROBE.len()];
        client.read_exact(&mut heard).await.expect("the probe");
        assert_eq!(heard, PROBE);
        drop(client);
        until(&mut transport, &watch, || watch.is_gone()).await;
    }

    #[tokio::test]
    async fn nothing_is_sent_when_nobody_asks_any_more() {
        let (mut transport, liveness, mut client) = pair(TIMEOUT).await;
        client.shutdown().await.expect("half closed");
        let watch = LivenessWatch::new(&liveness);
        watch.probe();
        drop(watch);
        transport.flush().await.expect("flush");
        transport.write_all(b"answer").await.expect("written");
        drop(transport);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("the end");
        assert_eq!(heard, b"answer");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut transport, _, mut client) = pair(Duration::from_millis(100)).await;
        let endless = vec![0; 1 << 20];
        let writing = async {
            loop {
                transport.write_all(&endless).await?;
            }
        };
        let failed: io::Result<()> = tokio::time::timeout(TIMEOUT, writing)
            .await
            .expect("no end");
        let kind = failed.expect_err("given up").kind();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        let mut some = [0; 16];
        client.read_exact(&mut some).await.expect("was sent");
    }

    #[tokio::test]
    async fn a_reset_is_no_end() {
        let (transport, liveness, mut client) = pair(TIMEOUT).await;
        liveness.reset();
        drop(transport);
        let error = client.read(&mut [0; 1]).await.expect_err("no end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
