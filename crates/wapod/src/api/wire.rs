//! A client's socket, and what can be told from it about the client.
//!
//! hyper owns the socket and, while it waits for an answer to a request, asks it
//! nothing: a client may close its own side and still listen. Whoever wants to
//! know whether there is still somebody asks through [`Presence`]; the socket
//! looks when hyper comes by the next time, which is in the same step. Called by
//! `connection`, asked by `gateway`.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

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

/// What is known about the client of one connection.
#[derive(Default, Debug)]
pub(super) struct Presence(AtomicU8);

impl Presence {
    /// Wants to know. With `may_probe`, a client of HTTP/1.1 that waits for the
    /// head of an answer gets a word that it has to skip.
    fn ask(&self, may_probe: bool) {
        let bits = if may_probe { ASKED | MAY_PROBE } else { ASKED };
        self.0.fetch_or(bits, Ordering::Relaxed);
    }

    /// Takes back what was asked.
    fn hush(&self) {
        self.0.fetch_and(!(ASKED | MAY_PROBE), Ordering::Relaxed);
    }

    fn has(&self, bit: u8) -> bool {
        self.0.load(Ordering::Relaxed) & bit != 0
    }

    /// Lets the connection end with a reset, which no client takes for an end.
    pub(super) fn reset(&self) {
        self.0.fetch_or(RESET, Ordering::Relaxed);
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
    presence: Arc<Presence>,
    /// Time in which a client takes something.
    patience: Duration,
    /// Runs while the client takes nothing.
    watchdog: Option<Pin<Box<Sleep>>>,
    /// The client has taken something since the watchdog was set.
    has_moved: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, presence: Arc<Presence>, patience: Duration) -> Self {
        Self {
            stream,
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
        self.presence.0.fetch_or(found, Ordering::Relaxed);
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
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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
