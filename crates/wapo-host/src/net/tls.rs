//! TLS that the host ends, for guests that do not want to.
//!
//! A stream is handed to the guest before its handshake, which a task of its
//! own makes, under a deadline; reads and writes wait for it. A guest may read
//! from one task and write from another, while TLS reads may need to write and
//! the other way round: every I/O event therefore wakes both ([`Both`]). The socket
//! of a stream that moves many bytes is read ahead (`read_ahead`). Trust roots and
//! protocol versions are the engine's (`tls_settings`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::descriptors::DescriptorPermit;
use crate::host_memory::MemoryCharge;
use crate::limits::{
    LINGER_TIMEOUT, TLS_AHEAD_BYTES, TLS_AHEAD_FROM_BYTES, TLS_UNSENT_BYTES, TLS_UNSENT_FREE_BYTES,
};
use crate::net::dialer::Dialer;
use crate::net::port::SocketOption;
use crate::net::read_ahead::ReadAhead;
use crate::net::task::OwnedTask;
use crate::net::tls_server::ServerIdentity;

/// Why a stream has no socket to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoSocket {
    /// It is none that has one.
    Never,
    /// The peers still agree on TLS.
    Early,
    /// It was given back: the handshake has failed.
    Gone,
}

/// What was agreed on when a stream began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TlsFacts {
    /// The name that the client has asked for.
    pub(crate) server_name: Option<String>,
    /// The protocol that both ends have chosen (ALPN).
    pub(crate) protocol: Option<Vec<u8>>,
}

/// Wakes the reader, the writer and the flusher of one stream.
#[derive(Default)]
struct Both {
    wakers: Mutex<[Option<Waker>; 3]>,
}

const READER: usize = 0;
const WRITER: usize = 1;
const FLUSHER: usize = 2;

impl Both {
    fn set(&self, who: usize, waker: &Waker) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut wakers[who] {
            Some(old) => old.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    fn clear(&self, who: usize) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let old = wakers[who].take();
        drop(wakers);
        drop(old);
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        let taken = {
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            // The flusher stays: it belongs to the stream, not to one wait.
            [
                wakers[READER].take(),
                wakers[WRITER].take(),
                wakers[FLUSHER].clone(),
            ]
        };
        for waker in taken.into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What a stream has of its instance's descriptors and memory.
pub(crate) struct Held {
    #[expect(dead_code, reason = "held until the stream is gone")]
    pub(crate) permit: DescriptorPermit,
    pub(crate) memory: MemoryCharge,
    /// What the embedder counts the connection by.
    #[expect(dead_code, reason = "held until the stream is gone")]
    pub(crate) guard: Option<Box<dyn Send>>,
}

/// Memory for what moves through a stream, as long as some of it waits there.
#[derive(Default)]
struct Moving {
    /// For all that may wait for the socket.
    unsent: Option<MemoryCharge>,
    /// For all that may be read ahead of the guest.
    ahead: Option<MemoryCharge>,
}

/// Takes memory of a stream's instance unless it is taken; false if there is none.
fn take(charge: &mut Option<MemoryCharge>, held: &Held, bytes: u64) -> bool {
    if charge.is_none() {
        *charge = held.memory.another(bytes).ok();
    }
    charge.is_some()
}

/// A stream whose handshake is done, and what it holds.
type Opened = (Box<Io>, Held);

/// A stream after its handshake.
type Io = tokio_rustls::TlsStream<ReadAhead>;

enum State {
    /// The peers agree on keys, in a task that ends at its deadline whether or
    /// not the guest asks; socket and descriptor are free again then.
    Handshaking(OwnedTask<io::Result<Opened>>),
    /// Bytes move.
    Open(Opened),
    /// The handshake failed; every use is an error.
    Failed,
}

/// How much comes with a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inflow {
    Little,
    /// So much that the next read may be ahead of the guest.
    Much,
    /// There was no memory for that. One refusal is enough for a stream: it goes on as
    /// well without.
    Unforeseen,
}

/// A TLS stream of a guest.
pub(crate) struct TlsStream {
    state: State,
    both: Arc<Both>,
    waker: Waker,
    /// Plaintext was taken that the socket has not.
    unsent: bool,
    /// Options that were chosen during the handshake, the last of each kind.
    chosen: [Option<SocketOption>; 2],
    inflow: Inflow,
    moving: Moving,
    _identity: Option<Arc<ServerIdentity>>,
}

impl TlsStream {
    fn new(state: State) -> Self {
        let both = Arc::new(Both::default());
        Self {
            state,
            waker: Waker::from(Arc::clone(&both)),
            both,
            unsent: false,
            chosen: [None; 2],
            inflow: Inflow::Little,
            moving: Moving::default(),
            _identity: None,
        }
    }

    /// The client's side of a connection that stands.
    pub(crate) fn connect(
        dialer: &Dialer,
        (name, config): (ServerName<'static>, Arc<ClientConfig>),
        tcp: TcpStream,
        held: Held,
    ) -> Self {
        let connector = tokio_rustls::TlsConnector::from(config);
        let handshake = connector.connect(name, ReadAhead::new(tcp));
        Self::handshake(dialer, handshake, held)
    }

    /// The server's side of a connection that was accepted.
    pub(crate) fn accept(
        dialer: &Dialer,
        identity: Arc<ServerIdentity>,
        tcp: TcpStream,
        held: Held,
    ) -> Self {
        let speaks = Arc::clone(&identity);
        let handshake = async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(speaks.config().await?);
            acceptor.accept(ReadAhead::new(tcp)).await
        };
        let mut stream = Self::handshake(dialer, handshake, held);
        // Its connections use it also when the listener is gone.
        stream._identity = Some(identity);
        stream
    }

    /// The server's side of a connection whose handshake the embedder has made.
    pub(crate) fn opened(io: Box<tokio_rustls::server::TlsStream<ReadAhead>>, held: Held) -> Self {
        let io = Box::new(tokio_rustls::TlsStream::Server(*io));
        Self::new(State::Open((io, held)))
    }

    fn handshake<T: Into<Io>>(
        dialer: &Dialer,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
        held: Held,
    ) -> Self {
        let time = dialer.deadlines.handshake;
        Self::new(State::Handshaking(OwnedTask::spawn(
            &dialer.runtime,
            async move {
                let done = tokio::time::timeout(time, handshake).await;
                let io = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
                Ok((Box::new(io.into()), held))
            },
        )))
    }

    pub(crate) fn set_flush_waker(&mut self, waker: Waker) {
        self.both.set(FLUSHER, &waker);
    }

    /// Sets an option of the socket; during the handshake it is set when that is over.
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::NotConnected`] when the handshake failed.
    pub(crate) fn set_option(&mut self, option: SocketOption) -> io::Result<()> {
        match &self.state {
            State::Open((io, _)) => option.set(io.get_ref().0.socket()),
            State::Handshaking(_) => {
                let [nodelay, keepalive] = &mut self.chosen;
                let chosen = match option {
                    SocketOption::Nodelay(_) => nodelay,
                    SocketOption::Keepalive(_) => keepalive,
                };
                *chosen = Some(option);
                Ok(())
            }
            State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket below, once the handshake is over.
    ///
    /// # Errors
    ///
    /// [`NoSocket`] before, and when it has failed.
    pub(crate) fn socket(&self) -> Result<&TcpStream, NoSocket> {
        match &self.state {
            State::Open((io, _)) => Ok(io.get_ref().0.socket()),
            State::Handshaking(_) => Err(NoSocket::Early),
            State::Failed => Err(NoSocket::Gone),
        }
    }

    /// What both ends have agreed on; nothing before the handshake is over.
    pub(crate) fn facts(&self) -> TlsFacts {
        let State::Open((io, _)) = &self.state else {
            return TlsFacts::default();
        };
        let (_, common) = io.get_ref();
        let server_name = match &**io {
            tokio_rustls::TlsStream::Server(server) => server.get_ref().1.server_name(),
            tokio_rustls::TlsStream::Client(_) => None,
        };
        TlsFacts {
            server_name: server_name.map(str::to_owned),
            protocol: common.alpn_protocol().map(<[u8]>::to_vec),
        }
    }

    /// Sends what is buffered, as far as the socket takes it.
    pub(crate) fn push_out(&mut self) {
        if !self.unsent {
            return;
        }
        let waker = self.waker.clone();
        if let State::Open((io, _)) = &mut self.state
            && Pin::new(io)
                .poll_flush(&mut Context::from_waker(&waker))
                .is_ready()
        {
            self.nothing_unsent();
        }
    }

    /// How many of so many bytes the stream may take: memory for what the socket
    /// does not take is charged before.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let few = wanted.min(TLS_UNSENT_FREE_BYTES);
        if !self.unsent && wanted == few {
            return Poll::Ready(Ok(wanted));
        }
        if let State::Open((_, held)) = &self.state
            && take(&mut self.moving.unsent, held, TLS_UNSENT_BYTES)
        {
            return Poll::Ready(Ok(wanted));
        }
        // What waits already goes first.
        if self.unsent {
            ready!(Pin::new(self).poll_flush(cx))?;
        }
        Poll::Ready(Ok(few))
    }

    fn nothing_unsent(&mut self) {
        self.unsent = false;
        self.moving.unsent = None;
    }

    /// Lets the socket be read ahead for a guest that asks for so many bytes, while
    /// many come and there is memory for it.
    fn allow_ahead(&mut self, wanted: usize) {
        let State::Open((io, held)) = &mut self.state else {
            return;
        };
        if self.inflow != Inflow::Much || wanted <= TLS_AHEAD_FROM_BYTES {
            return;
        }
        match take(&mut self.moving.ahead, held, TLS_AHEAD_BYTES as u64) {
            // With what TLS adds to records of full size.
            true => io.get_mut().0.allow(wanted + wanted / 256),
            false => self.inflow = Inflow::Unforeseen,
        }
    }

    /// Keeps memory only for what waits for the guest's next read.
    fn settle_ahead(&mut self, has_read: bool) {
        let State::Open((io, _)) = &mut self.state else {
            return;
        };
        let socket = io.get_mut().0;
        let came = socket.settle();
        if has_read && self.inflow != Inflow::Unforeseen {
            self.inflow = match came >= TLS_AHEAD_FROM_BYTES || socket.is_ahead() {
                true => Inflow::Much,
                false => Inflow::Little,
            };
        }
        if !socket.is_ahead() {
            self.moving.ahead = None;
        }
    }

    /// Drops the stream after what it had buffered is sent.
    pub(crate) fn close(self) {
        if let (true, State::Open((mut io, held))) = (self.unsent, self.state) {
            tokio::spawn(async move {
                use tokio::io::AsyncWriteExt as _;
                // Counted for the instance until then, so it cannot use up another one's.
                let _held = (held, self.moving);
                // The guest is no longer interested in how this ends.
                let _ = tokio::time::timeout(LINGER_TIMEOUT, io.shutdown()).await;
            });
        }
    }

    /// Waits for the end of the handshake, then gives the open stream.
    fn poll_open(&mut self) -> Poll<io::Result<&mut Io>> {
        if let State::Handshaking(task) = &mut self.state {
            let waker = self.waker.clone();
            let outcome = ready!(task.poll_outcome(&mut Context::from_waker(&waker)));
            match outcome.flatten() {
                Ok(opened) => {
                    for option in self.chosen.into_iter().flatten() {
                        // A failure shows at the first read.
                        let _ = option.set(opened.0.get_ref().0.socket());
                    }
                    self.state = State::Open(opened);
                }
                Err(error) => {
                    self.state = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match &mut self.state {
            State::Open((io, _)) => Poll::Ready(Ok(io)),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Runs one operation with a waker that wakes all waiters, for one of them.
    fn poll_as<T>(
        &mut self,
        who: usize,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.both.set(who, cx.waker());
        let waker = self.waker.clone();
        let outcome = match self.poll_open() {
            Poll::Ready(Ok(io)) => operation(Pin::new(io), &mut Context::from_waker(&waker)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        if outcome.is_ready() {
            self.both.clear(who);
        }
        outcome
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.allow_ahead(buffer.remaining());
        let read = self.poll_as(READER, cx, |io, cx| io.poll_read(cx, buffer));
        self.settle_ahead(read.is_ready());
        // What the library answers by itself (an alert, other keys) is not left to the next
        // write, which may never come.
        if let State::Open((io, _)) = &self.state
            && !self.unsent
            && io.get_ref().1.wants_write()
        {
            self.unsent = true;
            self.push_out();
        }
        read
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(cx, data.len()))?;
        let written = ready!(self.poll_as(WRITER, cx, |io, cx| io.poll_write(cx, &data[..room])))?;
        // Guests of Wapo 0.x have no call to flush with, so every write is.
        self.unsent = true;
        self.push_out();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_as(WRITER, cx, |io, cx| io.poll_flush(cx)))?;
        self.nothing_unsent();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.state, State::Handshaking(_)) {
            // Nothing was said yet, so there is nothing to end politely.
            self.state = State::Failed;
            return Poll::Ready(Ok(()));
        }
        self.poll_as(WRITER, cx, |io, cx| io.poll_shutdown(cx))
    }
}
