//! Datagrams: a UDP socket, and many datagrams in one call.
//!
//! The host moves datagrams in the form of [`wapo_abi::datagram`]. A socket keeps
//! memory for one of them; [`Datagrams`] holds as many as the caller likes.

use std::collections::TryReserveError;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use wapo_abi::DatagramHeader;
use wapo_abi::caps::UDP_BATCH_BYTES_MAX;
use wapo_abi::datagram::{HEADER_BYTES, PAYLOAD_BYTES_MAX};

use crate::error::Error;
use crate::handle::Handle;
use crate::net::failure;
use crate::sys::calls;
use crate::task::poll_call;

/// A UDP socket, by the names that the standard library has.
///
/// On a port of the app's range it receives from every address. All instances of the app
/// that bind the same address share one socket: each datagram goes to the instance
/// that takes it first, also while an instance is replaced by another. With port 0
/// it is a client's socket: it has any free port and hears only from addresses that
/// it has sent to, the last 64 of them.
///
/// Where datagrams may go is the operator's choice (`--allow-egress`), also for
/// answers: by default to public addresses. `PermissionDenied` is the error for all
/// others, and its text names the rule.
///
/// One task at a time can wait to receive, and one to send: the host wakes the one that
/// has asked last.
///
/// ```no_run
/// # async fn demo() -> std::io::Result<()> {
/// use wapo::net::UdpSocket;
///
/// // A server that sends everything back.
/// let socket = UdpSocket::bind("0.0.0.0:3000").await?;
/// let mut buffer = [0; 2048];
/// loop {
///     let (count, peer) = socket.recv_from(&mut buffer).await?;
///     // The answer to one client that may not have it is no reason to end.
///     if let Err(error) = socket.send_to(&buffer[..count], peer).await {
///         log::warn!("{peer}: {error}");
///     }
/// }
/// # }
/// ```
///
/// ```no_run
/// # async fn demo() -> std::io::Result<()> {
/// use wapo::net::UdpSocket;
///
/// // A client, which connects by name.
/// let socket = UdpSocket::bind("0.0.0.0:0").await?;
/// socket.connect("time.example.com:37").await?;
/// socket.send(&[]).await?;
/// let mut time = [0; 4];
/// socket.recv(&mut time).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    handle: Handle,
    /// For one datagram on its way out, with its header, and for one on its way in.
    outgoing: Mutex<Vec<u8>>,
    incoming: Mutex<Vec<u8>>,
}

impl UdpSocket {
    fn new(handle: Handle) -> Self {
        Self {
            handle,
            outgoing: Mutex::default(),
            incoming: Mutex::default(),
        }
    }

    /// Opens a socket on a literal address and port.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `addr` is not `ip:port`, `PermissionDenied` for a port
    /// that is not this app's, `AddrInUse` when it is taken, `QuotaExceeded` with too
    /// many sockets.
    pub async fn bind(addr: impl AsRef<str>) -> io::Result<Self> {
        let addr = addr.as_ref();
        if addr.parse::<SocketAddr>().is_err() {
            let text = format!("cannot listen on {addr}: no address and port");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let number = calls::udp_bind(addr);
        let number = number.map_err(|error| failure::io_error(failure::NO_HANDLE, error))?;
        Ok(Self::new(number.into()))
    }

    /// The address and port that it is bound to.
    ///
    /// # Errors
    ///
    /// None that a bound socket has.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.handle)
    }

    /// Makes `host:port` its peer: [`send`](Self::send) sends there, and only what
    /// comes from there is received. The host may be a name; nothing is sent.
    ///
    /// This is for a client's socket. One on a port of the range takes datagrams from
    /// the queue that it shares with the app's other instances, and those that are not
    /// from the peer are lost for all.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when it is no `host:port`, `PermissionDenied` when the
    /// operator's policy says no, `NotFound` for a name that does not exist.
    ///
    /// # Cancel safety
    ///
    /// The socket keeps the peer that it had, or gets the new one with a later call.
    pub async fn connect(&self, target: impl AsRef<str>) -> io::Result<()> {
        let target = target.as_ref();
        if target.len() > wapo_abi::caps::TARGET_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let connect = |cx: &mut Context<'_>| {
            poll_call(cx, |waker| {
                calls::udp_connect(waker, self.handle.get(), target)
            })
        };
        let connected = poll_fn(connect).await;
        connected.map_err(|error| self.io_error(error))
    }

    /// Sends a datagram to the peer.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to); also when there is no peer.
    ///
    /// # Cancel safety
    ///
    /// The datagram is sent as a whole or not at all.
    pub async fn send(&self, data: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, None, data)).await
    }

    /// Sends a datagram to an address.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` when the operator's policy says no, `InvalidInput` for more
    /// than 65,507 bytes.
    ///
    /// # Cancel safety
    ///
    /// The datagram is sent as a whole or not at all.
    pub async fn send_to(&self, data: &[u8], target: SocketAddr) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, Some(target), data)).await
    }

    /// As [`send_to`](Self::send_to), or [`send`](Self::send) without an address, for
    /// hand-written futures.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll_send(
        &self,
        cx: &Context<'_>,
        target: Option<SocketAddr>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        outgoing.clear();
        append(&mut outgoing, target, data)?;
        ready!(self.poll_send_batch(cx, &outgoing))?;
        Poll::Ready(Ok(data.len()))
    }

    /// Receives a datagram from any sender. What does not fit into the buffer is
    /// lost.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Cancel safety
    ///
    /// No datagram is lost when the future is dropped.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    /// Receives a datagram: its length and where it comes from, as the sender says.
    /// What does not fit into the buffer is lost.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` on a connected client's socket when no socket listens
    /// there.
    ///
    /// # Cancel safety
    ///
    /// No datagram is lost when the future is dropped.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_recv_from(cx, buffer)).await
    }

    /// As [`recv_from`](Self::recv_from), for hand-written futures.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll_recv_from(
        &self,
        cx: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        // With this much room the host receives one datagram and no more.
        let room = HEADER_BYTES + buffer.len().min(PAYLOAD_BYTES_MAX);
        if incoming.len() < room {
            incoming.resize(room, 0);
        }
        let filled = ready!(self.poll_receive(cx, &mut incoming[..room]))?;
        let (from, payload, _) = split(&incoming[..filled]).ok_or_else(broken)?;
        let from = from.ok_or_else(broken)?;
        buffer
            .get_mut(..payload.len())
            .ok_or_else(broken)?
            .copy_from_slice(payload);
        Poll::Ready(Ok((payload.len(), from)))
    }

    /// Sends all datagrams of a batch, and takes those that were sent out of it.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), of the datagram that is then the first of the
    /// batch; [`Datagrams::skip`] goes on without it.
    ///
    /// # Cancel safety
    ///
    /// What is still in the batch was not sent.
    pub async fn send_batch(&self, batch: &mut Datagrams) -> io::Result<()> {
        while !batch.is_empty() {
            let part = batch.part();
            let sent = poll_fn(|cx| self.poll_send_batch(cx, part)).await?;
            for _ in 0..sent {
                batch.skip();
            }
        }
        Ok(())
    }

    /// Receives what is there into an empty batch, and waits for a first datagram.
    /// Answers how many there are: as many as fit, up to 32.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Cancel safety
    ///
    /// No datagram is lost when the future is dropped.
    pub async fn recv_batch(&self, batch: &mut Datagrams) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv_batch(cx, batch)).await
    }

    fn poll_recv_batch(&self, cx: &Context<'_>, batch: &mut Datagrams) -> Poll<io::Result<usize>> {
        batch.clear();
        batch.bytes.resize(batch.room, 0);
        let received = self.poll_receive(cx, &mut batch.bytes);
        // A caller that goes away while it waits must not find the room as datagrams.
        let filled = match &received {
            Poll::Ready(Ok(filled)) => *filled,
            _ => 0,
        };
        batch.bytes.truncate(filled);
        ready!(received)?;
        Poll::Ready(Ok(batch.iter().count()))
    }

    fn poll_send_batch(&self, cx: &Context<'_>, datagrams: &[u8]) -> Poll<io::Result<usize>> {
        poll_call(cx, |waker| {
            calls::udp_send(waker, self.handle.get(), datagrams)
        })
        .map_err(|error| self.io_error(error))
    }

    fn poll_receive(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        let received = poll_call(cx, |waker| {
            calls::udp_recv(waker, self.handle.get(), buffer)
        });
        let filled = ready!(received).map_err(|error| self.io_error(error))?;
        Poll::Ready(match filled <= room {
            true => Ok(filled),
            false => Err(broken()),
        })
    }

    /// The error of a call on this socket that has just failed.
    fn io_error(&self, error: Error) -> io::Error {
        failure::io_error(self.handle.get(), error)
    }
}

/// The address that a listener or socket is bound to.
pub(super) fn local_addr(handle: &Handle) -> io::Result<SocketAddr> {
    let text = calls::local_addr(handle.get());
    let text = text.map_err(|error| failure::io_error(handle.get(), error))?;
    text.parse().map_err(|_| broken())
}

/// Datagrams side by side, to be moved in one call.
///
/// ```no_run
/// # async fn demo(socket: wapo::net::UdpSocket) -> std::io::Result<()> {
/// use wapo::net::Datagrams;
///
/// // Sends back whatever has come, up to 32 datagrams at a time.
/// let mut batch = Datagrams::with_room(128 * 1024);
/// loop {
///     socket.recv_batch(&mut batch).await?;
///     while let Err(error) = socket.send_batch(&mut batch).await {
///         log::warn!("an answer was not sent: {error}");
///         batch.skip();
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Datagrams {
    bytes: Vec<u8>,
    /// Where the first one begins.
    begin: usize,
    /// Bytes that `recv_batch` offers to the host.
    room: usize,
}

impl Datagrams {
    /// An empty batch, with room for so many bytes to receive.
    ///
    /// Datagrams take 28 bytes more than their payload. There are several in a batch
    /// only while 64 KiB are left for the next one, so 128 KiB are a good room; less
    /// than 64 KiB is room for one, and more than 256 KiB is of no use.
    pub fn with_room(bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            begin: 0,
            room: bytes.clamp(HEADER_BYTES, UDP_BATCH_BYTES_MAX),
        }
    }

    /// Adds a datagram to be sent; without an address it goes to the socket's peer.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more than 65,507 bytes, `OutOfMemory`.
    pub fn push(&mut self, target: Option<SocketAddr>, data: &[u8]) -> io::Result<()> {
        append(&mut self.bytes, target, data)
    }

    /// Each datagram: where it comes from or goes to, and its payload.
    pub fn iter(&self) -> impl Iterator<Item = (Option<SocketAddr>, &[u8])> {
        let mut rest = &self.bytes[self.begin..];
        std::iter::from_fn(move || {
            let (peer, payload, behind) = split(rest)?;
            rest = behind;
            Some((peer, payload))
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.begin >= self.bytes.len()
    }

    /// Takes the first one out.
    pub fn skip(&mut self) {
        let payload_bytes = self.iter().next().map(|(_, payload)| payload.len());
        match payload_bytes {
            Some(count) => self.begin += HEADER_BYTES + count,
            None => self.begin = self.bytes.len(),
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.begin = 0;
    }

    /// As many of the first ones as one call takes.
    fn part(&self) -> &[u8] {
        let rest = &self.bytes[self.begin..];
        let mut end = 0;
        for (_, payload) in self.iter() {
            let next = end + HEADER_BYTES + payload.len();
            if next > UDP_BATCH_BYTES_MAX {
                break;
            }
            end = next;
        }
        &rest[..end]
    }
}

fn append(bytes: &mut Vec<u8>, target: Option<SocketAddr>, data: &[u8]) -> io::Result<()> {
    let payload_bytes = u32::try_from(data.len()).ok();
    let payload_bytes = payload_bytes.filter(|_| data.len() <= PAYLOAD_BYTES_MAX);
    let Some(payload_bytes) = payload_bytes else {
        let text = format!(
            "a datagram has at most {PAYLOAD_BYTES_MAX} bytes, not {}",
            data.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let no_memory = |_: TryReserveError| io::Error::from(io::ErrorKind::OutOfMemory);
    bytes
        .try_reserve(HEADER_BYTES + data.len())
        .map_err(no_memory)?;
    let header = DatagramHeader {
        payload_bytes,
        peer: target,
    };
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(data);
    Ok(())
}

/// The first datagram: its address, its payload, and what lies behind it.
type First<'a> = (Option<SocketAddr>, &'a [u8], &'a [u8]);

fn split(bytes: &[u8]) -> Option<First<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let header = DatagramHeader::from_bytes(header)?;
    let (payload, rest) = rest.split_at_checked(header.payload_bytes as usize)?;
    Some((header.peer, payload, rest))
}

/// The host has answered with something that is not of the contract.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Error::INVALID_ENCODING)
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::Waker;

    use wapo_abi::Errno;

    use super::*;
    use crate::sys::fake::{self, Answer};

    fn peer() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 53))
    }

    #[test]
    fn a_batch_gives_its_datagrams_in_order_and_lets_go_of_them() {
        let mut batch = Datagrams::with_room(0);
        batch.push(Some(peer()), b"one").expect("short");
        batch.push(None, b"").expect("empty");
        batch
            .push(Some(peer()), &[7; PAYLOAD_BYTES_MAX])
            .expect("the longest");
        let too_long = batch.push(None, &[7; PAYLOAD_BYTES_MAX + 1]);
        assert_eq!(
            too_long.expect_err("too long").kind(),
            io::ErrorKind::InvalidInput
        );
        let lengths = |batch: &Datagrams| -> Vec<_> {
            batch
                .iter()
                .map(|(peer, data)| (peer, data.len()))
                .collect()
        };
        let all = [
            (Some(peer()), 3),
            (None, 0),
            (Some(peer()), PAYLOAD_BYTES_MAX),
        ];
        assert_eq!(lengths(&batch), all);
        batch.skip();
        assert_eq!(lengths(&batch), all[1..]);
        batch.skip();
        batch.skip();
        assert!(batch.is_empty());
        batch.skip();
        assert!(batch.is_empty());
    }

    #[test]
    fn a_call_gets_no_more_than_it_takes() {
        let mut batch = Datagrams::with_room(0);
        for _ in 0..10 {
            batch
                .push(None, &[7; PAYLOAD_BYTES_MAX])
                .expect("the longest");
        }
        assert_eq!(batch.part().len(), 4 * (HEADER_BYTES + PAYLOAD_BYTES_MAX));
    }

    #[test]
    fn a_batch_that_nobody_waits_for_any_more_is_empty() {
        fake::install();
        let socket = UdpSocket::new(3.into());
        let mut batch = Datagrams::with_room(100);
        fake::answer("udp_recv", Answer::Fails(Errno::PENDING));
        {
            let mut receiving = pin!(socket.recv_batch(&mut batch));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(receiving.as_mut().poll(&mut cx).is_pending());
        }
        assert!(batch.is_empty());
        assert_eq!(batch.iter().count(), 0);
    }

    #[test]
    fn a_claim_of_more_bytes_than_there_is_room_is_an_error() {
        fake::install();
        let socket = UdpSocket::new(3.into());
        fake::answer("udp_recv", Answer::Value(100));
        let mut buffer = [0; 4];
        let cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = socket.poll_recv_from(&cx, &mut buffer) else {
            panic!("no error");
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
