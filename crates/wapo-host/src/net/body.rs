//! The two bodies of an HTTP exchange, as one stream with two ends.
//!
//! A pipe in memory that knows an end from a loss: whoever finishes says so, by
//! shutting down or (for a guest) by closing its handle. An end that vanishes
//! without a word, because its guest crashed or its client left, is an error to
//! the other side and never looks like the end of a body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::limits::PIPE_BYTES;

/// One end of an HTTP exchange: what one side writes, the other reads.
pub struct BodyStream {
    pipe: DuplexStream,
    /// We have said that no more follows.
    finished: Arc<AtomicBool>,
    /// The other side has.
    other_finished: Arc<AtomicBool>,
}

impl BodyStream {
    /// Both ends of a new exchange.
    pub(crate) fn pair() -> (Self, Self) {
        let (left, right) = tokio::io::duplex(PIPE_BYTES);
        let (left_finished, right_finished) = (Arc::default(), Arc::default());
        let end = |pipe, finished: &Arc<AtomicBool>, other: &Arc<AtomicBool>| Self {
            pipe,
            finished: Arc::clone(finished),
            other_finished: Arc::clone(other),
        };
        (
            end(left, &left_finished, &right_finished),
            end(right, &right_finished, &left_finished),
        )
    }

    /// Says that no more follows. Dropping the stream then is an orderly end.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }
}

impl AsyncRead for BodyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer))?;
        let at_end = buffer.filled().len() == before && buffer.remaining() > 0;
        if at_end && !self.other_finished.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BodyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before the pipe, so that the other side never sees an end without it.
        self.finish();
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn an_end_and_a_loss_are_told_apart() {
        for orderly in [true, false] {
            let (mut left, mut right) = BodyStream::pair();
            left.write_all(b"some").await.expect("room");
            if orderly {
                left.finish();
            }
            drop(left);
            let mut read = Vec::new();
            let outcome = right.read_to_end(&mut read).await;
            assert_eq!(read, b"some");
            assert_eq!(outcome.is_ok(), orderly);
        }
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let (mut left, mut right) = BodyStream::pair();
        left.shutdown().await.expect("an open pipe");
        let mut read = Vec::new();
        assert_eq!(right.read_to_end(&mut read).await.ok(), Some(0));
        right.write_all(b"back").await.expect("still open");
        right.shutdown().await.expect("an open pipe");
        assert_eq!(left.read_to_end(&mut read).await.ok(), Some(4));
    }
}
