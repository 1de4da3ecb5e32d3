//! The sockets of the resolver.
//!
//! Each socket of a question is a descriptor of the instance that asks, and a question
//! has few of them, however long its servers are silent. Connections to name servers are
//! shared by all questions; they are the daemon's, and few. Used by `dns`, called by the
//! resolver; knows nothing of names.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::descriptors::{DescriptorPermit, DescriptorShare};
use crate::limits::{DNS_TIMEOUT, LOOKUP_SOCKETS_MAX, NAME_SERVER_STREAMS_MAX};

tokio::task_local! {
    /// Whose question is asked. The resolver opens sockets in the task that waits for
    /// the answer.
    static ASKER: Arc<Asker>;
}

/// What a question may open sockets with.
#[derive(Debug)]
pub(crate) struct Asker {
    share: Arc<DescriptorShare>,
    state: Mutex<State>,
    /// A socket is closed.
    closed: Notify,
}

#[derive(Debug)]
struct State {
    /// What the first socket has.
    spare: Option<Right>,
    open: usize,
}

/// Why a socket may be open.
#[derive(Debug)]
enum Right {
    Permit(DescriptorPermit),
    /// Of a descriptor that is kept elsewhere, for as long as the question lasts.
    Lent,
}

impl Asker {
    /// With a descriptor for the first socket, if there is one.
    pub(crate) fn new(share: &Arc<DescriptorShare>, permit: Option<DescriptorPermit>) -> Arc<Self> {
        Self::with(share, permit.map(Right::Permit))
    }

    /// For a question during which its instance has a descriptor that it does not
    /// use.
    pub(crate) fn with_lent(share: &Arc<DescriptorShare>) -> Arc<Self> {
        Self::with(share, Some(Right::Lent))
    }

    fn with(share: &Arc<DescriptorShare>, spare: Option<Right>) -> Arc<Self> {
        Arc::new(Self {
            share: Arc::clone(share),
            state: Mutex::new(State { spare, open: 0 }),
            closed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor that it was given, when no socket has it.
    pub(crate) fn take_back(&self) -> Option<DescriptorPermit> {
        match self.state().spare.take() {
            Some(Right::Permit(permit)) => Some(permit),
            Some(Right::Lent) | None => None,
        }
    }

    /// Asks a question, whose sockets are this asker's.
    ///
    /// # Cancel safety
    ///
    /// As the question.
    pub(crate) async fn ask<F: Future>(self: &Arc<Self>, question: F) -> F::Output {
        ASKER.scope(Arc::clone(self), question).await
    }

    fn try_open(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state();
        if state.open >= LOOKUP_SOCKETS_MAX {
            return None;
        }
        let more = || self.share.take(1).ok().map(Right::Permit);
        let right = state.spare.take().or_else(more)?;
        state.open += 1;
        Some(Place {
            asker: Arc::clone(self),
            right: Some(right),
        })
    }

    /// Waits until another socket may be open. To fail would end the question, whose
    /// other sockets may still hear an answer.
    async fn open(self: &Arc<Self>) -> Place {
        loop {
            let mut closed = pin!(self.closed.notified());
            closed.as_mut().enable();
            if let Some(place) = self.try_open() {
                return place;
            }
            closed.await;
        }
    }
}

/// The place of an open socket.
#[derive(Debug)]
struct Place {
    asker: Arc<Asker>,
    right: Option<Right>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let right = self.right.take();
        let mut state = self.asker.state();
        state.open -= 1;
        let spare = match state.spare {
            None => {
                state.spare = right;
                None
            }
            Some(_) => right,
        };
        drop(state);
        drop(spare);
        self.asker.closed.notify_one();
    }
}

/// Opens the resolver's sockets.
#[derive(Clone)]
pub(crate) struct DnsSockets {
    tokio: TokioRuntimeProvider,
    streams: Arc<Semaphore>,
}

impl Default for DnsSockets {
    fn default() -> Self {
        Self {
            tokio: TokioRuntimeProvider::default(),
            streams: Arc::new(Semaphore::new(NAME_SERVER_STREAMS_MAX)),
        }
    }
}

/// A socket of a question.
pub(crate) struct QuestionSocket {
    socket: UdpSocket,
    _place: Place,
}

/// A connection to a name server.
pub(crate) struct ServerStream {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl RuntimeProvider for DnsSockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = QuestionSocket;
    type Tcp = AsyncIoTokioAsStd<ServerStream>;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        own: Option<SocketAddr>,
        time: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        let connecting = self.tokio.connect_tcp(server, own, time);
        let room = Arc::clone(&self.streams).acquire_owned();
        Box::pin(async move {
            // What is asked again takes a connection that others have opened by then.
            let place = tokio::time::timeout(time.unwrap_or(DNS_TIMEOUT), room).await;
            let place = place.map_err(|_| io::ErrorKind::TimedOut)?;
            let place = place.map_err(io::Error::other)?;
            Ok(AsyncIoTokioAsStd(ServerStream {
                stream: connecting.await?.0,
                _place: place,
            }))
        })
    }

    fn bind_udp(&self, own: SocketAddr, _server: SocketAddr) -> Opening<QuestionSocket> {
        let asker = ASKER.try_with(Arc::clone);
        Box::pin(async move {
            let place = asker.map_err(io::Error::other)?.open().await;
            Ok(QuestionSocket {
                socket: UdpSocket::bind(own).await?,
                _place: place,
            })
        })
    }
}

impl DnsUdpSocket for QuestionSocket {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        DnsUdpSocket::poll_recv_from(&self.socket, cx, bytes)
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        DnsUdpSocket::poll_send_to(&self.socket, cx, bytes, target)
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, bytes)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
