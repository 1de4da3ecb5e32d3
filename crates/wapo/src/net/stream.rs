//! A byte stream, and the I/O traits of others on it.
//!
//! Reads go straight into the caller's buffer. There is no buffer here to
//! flush; the host may have one for TLS, so flushing asks it then.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::net::failure;
#[cfg(any(feature = "tokio", feature = "hyper"))]
use crate::sys;
use crate::sys::calls;
use crate::task::poll_call;

/// A connection, plain or with TLS by the host.
///
/// Read and write it with the `AsyncRead` and `AsyncWrite` traits of futures
/// or tokio, and use their helpers to split it. Dropping it closes it.
#[derive(Debug)]
pub struct TcpStream {
    /// Shared by the two directions of an HTTP exchange, else ours alone.
    handle: Arc<Handle>,
    /// Whether the host may hold back what was written until it is flushed.
    is_buffered: bool,
    needs_flush: bool,
}

impl TcpStream {
    pub(crate) fn from_handle(handle: Handle, is_buffered: bool) -> Self {
        Self {
            handle: Arc::new(handle),
            is_buffered,
            needs_flush: false,
        }
    }

    /// A second owner of the same stream; it closes with the last one.
    pub(crate) fn share(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            ..*self
        }
    }

    /// The server name that the client has asked for (SNI): on streams that a
    /// listener has accepted, once TLS by the host is agreed on.
    pub fn server_name(&self) -> Option<String> {
        calls::stream_tls(self.handle.get()).ok()?.0
    }

    /// The protocol that both ends have chosen (ALPN), such as `h2`, once TLS by the
    /// host is agreed on.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        calls::stream_tls(self.handle.get()).ok()?.1
    }

    /// The owner of the host's stream, without keeping it open.
    pub(crate) fn downgrade(&self) -> Weak<Handle> {
        Arc::downgrade(&self.handle)
    }

    /// The number the host knows the stream by.
    pub(crate) fn handle(&self) -> i32 {
        self.handle.get()
    }

    /// The error of a call on this stream that has just failed.
    fn io_error(&self, error: Error) -> io::Error {
        failure::io_error(self.handle.get(), error)
    }

    pub(crate) fn do_read(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        poll_call(cx, |waker| {
            calls::poll_read(waker, self.handle.get(), buffer)
        })
    }

    pub(crate) fn do_write(&mut self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize>> {
        self.needs_flush = self.is_buffered;
        poll_call(cx, |waker| {
            calls::poll_write(waker, self.handle.get(), data)
        })
    }

    pub(crate) fn do_flush(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        if !self.needs_flush {
            return Poll::Ready(Ok(()));
        }
        let outcome = ready!(poll_call(cx, |waker| calls::poll_flush(
            waker,
            self.handle.get()
        )));
        self.needs_flush = false;
        Poll::Ready(match outcome {
            // A host without the call, or a stream without a buffer.
            Err(Error::UNKNOWN_CALL_NUMBER | Error::UNSUPPORTED_OPERATION) => Ok(()),
            outcome => outcome,
        })
    }

    pub(crate) fn do_shutdown(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        ready!(self.do_flush(cx))?;
        poll_call(cx, |waker| calls::poll_shutdown(waker, self.handle.get()))
    }
}

impl futures_io::AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.do_read(cx, buffer)
            .map_err(|error| self.io_error(error))
    }
}

impl futures_io::AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.do_write(cx, data)
            .map_err(|error| self.io_error(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.do_flush(cx).map_err(|error| self.io_error(error))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.do_shutdown(cx).map_err(|error| self.io_error(error))
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        poll_call(cx, |waker| {
            sys::read_tokio(waker, self.handle.get(), buffer)
        })
        .map_ok(|_| ())
        .map_err(|error| self.io_error(error))
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.do_write(cx, data)
            .map_err(|error| self.io_error(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.do_flush(cx).map_err(|error| self.io_error(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.do_shutdown(cx).map_err(|error| self.io_error(error))
    }
}

#[cfg(feature = "hyper")]
impl hyper::rt::Read for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        poll_call(cx, |waker| {
            sys::read_hyper(waker, self.handle.get(), buffer)
        })
        .map_ok(|_| ())
        .map_err(|error| self.io_error(error))
    }
}

#[cfg(feature = "hyper")]
impl hyper::rt::Write for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.do_write(cx, data)
            .map_err(|error| self.io_error(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.do_flush(cx).map_err(|error| self.io_error(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.do_shutdown(cx).map_err(|error| self.io_error(error))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use wapo_abi::Errno;

    use super::*;
    use crate::sys::fake::{self, Answer};

    fn flushes_after_a_write(is_buffered: bool) -> usize {
        let mut stream = TcpStream::from_handle(3.into(), is_buffered);
        let cx = Context::from_waker(Waker::noop());
        fake::answer("poll_write", Answer::Value(2));
        assert_eq!(stream.do_write(&cx, b"hi"), Poll::Ready(Ok(2)));
        assert_eq!(stream.do_flush(&cx), Poll::Ready(Ok(())));
        assert_eq!(
            stream.do_flush(&cx),
            Poll::Ready(Ok(())),
            "nothing new to flush"
        );
        fake::calls("poll_flush").len()
    }

    #[test]
    fn flushing_asks_the_host_only_when_it_may_hold_something_back() {
        fake::install();
        assert_eq!(flushes_after_a_write(false), 0);
        fake::answer("poll_flush", Answer::Value(0));
        assert_eq!(flushes_after_a_write(true), 1);
        fake::answer("poll_flush", Answer::Fails(Errno::UNKNOWN_CALL_NUMBER));
        assert_eq!(
            flushes_after_a_write(true),
            1,
            "a host without the call is no error"
        );
    }

    #[test]
    fn a_stream_closes_with_its_last_owner() {
        fake::install();
        let stream = TcpStream::from_handle(3.into(), false);
        let other = stream.share();
        drop(stream);
        assert_eq!(fake::calls("close").len(), 0);
        drop(other);
        assert_eq!(fake::calls("close").len(), 1);
    }
}
