//! The TCP socket below TLS, read in larger pieces than the library asks for.
//!
//! The library asks for 4 KiB at a time, so that a message of 64 KiB takes nine calls of
//! the system. The owner of a stream that moves many bytes allows more for a while
//! ([`ReadAhead::allow`]), and has memory for it; what the library does not take at once
//! waits here. Without that the socket is read as the library says. Knows nothing of TLS.
//! Used by `tls`; embedders make it of connections whose handshake is theirs.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::TLS_AHEAD_BYTES;

thread_local! {
    /// Room for one read, of each thread that reads ahead.
    static ROOM: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// A TCP socket that may be read ahead of who reads from it.
#[derive(Debug)]
pub struct ReadAhead {
    tcp: TcpStream,
    /// Bytes that may still be read ahead.
    allowed: usize,
    /// Bytes that have come since the owner looked.
    came: usize,
    ahead: Option<Ahead>,
}

/// What was read and not taken yet.
#[derive(Debug)]
struct Ahead {
    room: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Ahead {
    fn new() -> Self {
        let room = ROOM.take();
        Self {
            room: room.unwrap_or_else(|| vec![0; TLS_AHEAD_BYTES].into_boxed_slice()),
            from: 0,
            to: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Gives as much as there is room for.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = buffer.remaining().min(self.to - self.from);
        buffer.put_slice(&self.room[self.from..self.from + count]);
        self.from += count;
    }
}

impl ReadAhead {
    /// Reads nothing ahead until that is allowed.
    pub fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            allowed: 0,
            came: 0,
            ahead: None,
        }
    }

    /// The socket, for its options.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// Lets so many bytes be read ahead, at most [`TLS_AHEAD_BYTES`] at a time.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
    }

    /// Whether something waits here.
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| !ahead.is_empty())
    }

    /// Ends the permission, keeps memory only for what waits here, and says how many
    /// bytes have come since the last time.
    pub(crate) fn settle(&mut self) -> usize {
        self.allowed = 0;
        if !self.is_ahead()
            && let Some(ahead) = self.ahead.take()
        {
            ROOM.set(Some(ahead.room));
        }
        std::mem::take(&mut self.came)
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(ahead) = this.ahead.as_mut().filter(|ahead| !ahead.is_empty()) {
            ahead.give(buffer);
            return Poll::Ready(Ok(()));
        }
        let most = this.allowed.min(TLS_AHEAD_BYTES);
        if most <= buffer.remaining() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.tcp).poll_read(cx, buffer))?;
            this.came += buffer.filled().len() - before;
            return Poll::Ready(Ok(()));
        }
        let ahead = this.ahead.get_or_insert_with(Ahead::new);
        let mut room = ReadBuf::new(&mut ahead.room[..most]);
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        (ahead.from, ahead.to) = (0, count);
        ahead.give(buffer);
        this.allowed -= count;
        this.came += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Bytes that the library asks for.
    const ASKED: usize = 4096;

    async fn pair() -> (ReadAhead, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let peer = TcpStream::connect(address).await.expect("connected");
        let (tcp, _) = listener.accept().await.expect("accepted");
        (ReadAhead::new(tcp), peer)
    }

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..=250).cycle().take(bytes).collect()
    }

    async fn read_some(socket: &mut ReadAhead, room: usize) -> Vec<u8> {
        let mut some = vec![0; room];
        let count = socket.read(&mut some).await.expect("read");
        some.truncate(count);
        some
    }

    #[tokio::test]
    async fn nothing_is_read_ahead_without_permission() {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(&pattern(3 * ASKED)).await.expect("sent");
        assert_eq!(read_some(&mut socket, ASKED).await.len(), ASKED);
        assert!(!socket.is_ahead());
        assert_eq!(socket.settle(), ASKED);
        // Nor when the reader has as much room itself.
        socket.allow(ASKED);
        assert_eq!(read_some(&mut socket, ASKED).await.len(), ASKED);
        assert!(!socket.is_ahead());
    }

    #[tokio::test]
    async fn what_is_read_ahead_comes_in_order_and_is_no_more_than_was_allowed() {
        let (mut socket, mut peer) = pair().await;
        let sent = pattern(8 * ASKED);
        peer.write_all(&sent).await.expect("sent");
        // All of it is there.
        let mut all = vec![0; sent.len()];
        let peeked = poll_fn(|cx| socket.tcp.poll_peek(cx, &mut ReadBuf::new(&mut all))).await;
        assert_eq!(peeked.expect("peeked"), sent.len());
        socket.allow(5 * ASKED);
        let mut received = read_some(&mut socket, ASKED).await;
        assert_eq!(socket.settle(), 5 * ASKED);
        assert!(socket.is_ahead(), "it waits for its reader");
        while socket.is_ahead() {
            received.extend(read_some(&mut socket, ASKED - 1).await);
        }
        assert_eq!(received.len(), 5 * ASKED);
        socket.settle();
        assert!(socket.ahead.is_none(), "no memory for nothing");
        while received.len() < sent.len() {
            received.extend(read_some(&mut socket, ASKED).await);
        }
        assert_eq!(received, sent);
        drop(peer);
        socket.allow(TLS_AHEAD_BYTES);
        assert_eq!(read_some(&mut socket, ASKED).await, []);
    }
}
