//! A byte stream, and the I/O traits of others on it.
//!
//! Reads go straight into the caller's buffer. There is no buffer here to
//! flush; the host may have one for TLS, so flushing asks it then.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::net::{TlsOptions, bare, failure};
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

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` before TLS by the host is agreed on; when the connection is
    /// broken, or is none of TCP; on a host that cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addrs()?.0)
    }

    /// The address of the other end of the socket: of the proxy, where one is between.
    ///
    /// # Errors
    ///
    /// As [`local_addr`](Self::local_addr).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addrs()?.1)
    }

    fn addrs(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let addrs = calls::stream_addrs(self.handle());
        let (local, peer) = addrs.map_err(|error| self.io_error(error))?;
        match (local.parse(), peer.parse()) {
            (Ok(local), Ok(peer)) => Ok((local, peer)),
            _ => Err(Error::INVALID_ENCODING.into()),
        }
    }

    /// Waits until TLS by the host is agreed on, which is else done with the first read
    /// or write; a plain stream has nothing to wait for.
    ///
    /// # Errors
    ///
    /// `InvalidData` when there is no agreement, `TimedOut` when the peer is too slow.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn handshake(&self) -> io::Result<()> {
        if !self.is_buffered {
            return Ok(());
        }
        let flushed = poll_fn(|cx| poll_call(cx, |waker| calls::poll_flush(waker, self.handle())));
        match flushed.await {
            Err(Error::UNKNOWN_CALL_NUMBER) => Ok(()),
            outcome => outcome.map_err(|error| self.io_error(error)),
        }
    }

    /// Speaks TLS by the host from now on, as a client (STARTTLS): for protocols that
    /// begin in plain text. The server's certificate is checked against the name.
    ///
    /// The handshake happens with the first read or write, or with
    /// [`handshake`](Self::handshake).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no name, or options that cannot be used; `Unsupported`
    /// for streams that were accepted or speak TLS, and on a host of Wapo 0.x. The
    /// connection is closed then.
    pub fn start_tls(mut self, name: &str, options: TlsOptions) -> io::Result<Self> {
        let started = calls::stream_start_tls(self.handle(), bare(name).to_owned(), options.into());
        started.map_err(|error| self.io_error(error))?;
        self.is_buffered = true;
        Ok(self)
    }

    /// Whether the stream has another owner.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.handle) > 1
    }

    /// Lets go of a stream that the host has closed, and nobody shares.
    pub(crate) fn forget(self) {
        if let Some(handle) = Arc::into_inner(self.handle) {
            std::mem::forget(handle);
        }
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
    fn tls_that_begins_later_is_flushed_as_other_tls() {
        fake::install();
        let plain = TcpStream::from_handle(3.into(), false);
        let stream = plain.start_tls("[::1]", TlsOptions::new()).expect("TLS");
        assert_eq!(fake::calls("stream_start_tls").len(), 1);
        let mut shaking = std::pin::pin!(stream.handshake());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(shaking.as_mut().poll(&mut cx).is_pending());
        fake::answer("poll_flush", Answer::Fails(Errno::UNKNOWN_CALL_NUMBER));
        let outcome = shaking.as_mut().poll(&mut cx);
        assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
    }

    #[test]
    fn tls_that_does_not_begin_closes_the_stream() {
        fake::install();
        let plain = TcpStream::from_handle(3.into(), false);
        fake::answer("stream_start_tls", Answer::Fails(Errno::INVALID_PARAMETER));
        let error = plain.start_tls("", TlsOptions::new()).expect_err("no name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(fake::calls("close").len(), 1);
    }

    #[test]
    fn addresses_are_those_that_the_host_tells() {
        use parity_scale_codec::Encode as _;
        fake::install();
        let stream = TcpStream::from_handle(3.into(), false);
        for (told, is_right) in [(("127.0.0.1:1", "[::1]:2"), true), (("a", "b"), false)] {
            fake::answer("stream_addrs", Answer::Bytes(told.encode()));
            assert_eq!(stream.peer_addr().is_ok(), is_right);
        }
        fake::answer("stream_addrs", Answer::Fails(Errno::CONDITION_ERROR));
        let error = stream.local_addr().expect_err("too early");
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
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
