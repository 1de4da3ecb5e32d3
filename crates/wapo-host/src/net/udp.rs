//! UDP sockets of guests: to which addresses they send, and from which they receive.
//!
//! A socket on a port of the app's range receives from every address and is shared
//! with the app's other instances, as listeners are: each datagram goes to the
//! instance that takes it first. A *client* socket has any free port and receives
//! only from addresses that it has sent to, so that no port is open to unknown peers.
//!
//! The egress policy checks every address before a datagram goes there, also the one
//! that a datagram came from: a source address can be forged. Called by `calls/udp`;
//! nothing here waits, and nothing is answered by the host itself.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use wapo_abi::datagram::{DatagramHeader, HEADER_BYTES, PAYLOAD_BYTES_MAX};

use crate::connections::Activity;
use crate::descriptors::DescriptorPermit;
use crate::embedder::BoxFuture;
use crate::host_memory::MemoryCharge;
use crate::limits::{UDP_BATCH_DATAGRAMS_MAX, UDP_PEERS_MAX, UDP_VERDICT_TIME};
use crate::net::dialer::Dialer;
use crate::net::failure::Failure;
use crate::net::policy::Denied;
use crate::net::task::OwnedTask;

/// Bytes counted for each datagram beside its payload: the headers of IPv4 and UDP.
pub(crate) const DATAGRAM_BYTES: u64 = 28;

/// Room that any datagram fits into; with less, only a first one is received.
const ROOM_FOR_ANY: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;

/// Whom a socket hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Every address: it has a port of the app's range, with others.
    Port,
    /// Addresses that it has sent to.
    Client,
}

/// An address and a port, whatever way they are written.
type Endpoint = (IpAddr, u16);

fn endpoint(address: SocketAddr) -> Endpoint {
    (address.ip().to_canonical(), address.port())
}

/// What a socket has from the start.
pub(crate) struct Means {
    pub(crate) _permit: DescriptorPermit,
    pub(crate) _memory: MemoryCharge,
    /// Tells the drain of the instance that datagrams move.
    pub(crate) activity: Arc<Activity>,
}

/// A lookup for a peer that is under way.
pub(super) struct Attempt {
    pub(super) target: String,
    pub(super) lookup: OwnedTask<Result<Vec<IpAddr>, Failure>>,
}

/// A UDP socket of a guest.
pub(crate) struct Udp {
    io: Arc<UdpSocket>,
    reach: Reach,
    /// The peer of a connected socket, which the policy has allowed.
    peer: Option<SocketAddr>,
    pub(super) attempt: Option<Attempt>,
    peers: Peers,
    /// Resolves when the system has an error to tell, of a client with a peer.
    error_ready: Option<BoxFuture<()>>,
    /// An error that came behind datagrams; the next call answers with it.
    failed: Option<io::Error>,
    means: Means,
}

/// What a call has moved or tried to move, for the meter and the work of the slice.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    /// Datagrams that the kernel was asked to move.
    pub(crate) datagrams: u64,
    /// Bytes of their payloads, also of what the guest had no room for.
    pub(crate) payload_bytes: u64,
    /// Addresses that were put to the policy.
    pub(crate) checks: u64,
}

impl Tally {
    fn add(&mut self, payload_bytes: usize) {
        self.datagrams += 1;
        self.payload_bytes += payload_bytes as u64;
    }

    /// Bytes on the network.
    pub(crate) fn bytes(self) -> u64 {
        self.payload_bytes + DATAGRAM_BYTES * self.datagrams
    }
}

/// With what an address is put to the policy.
#[derive(Clone, Copy)]
struct Asking<'a> {
    dialer: &'a Dialer,
    now: Instant,
    /// Whether it is the first datagram of its call, with which the call fails.
    is_first: bool,
}

/// Why the first datagram of a batch was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// It has no whole header, or its payload is not all there.
    Malformed,
    /// More than [`PAYLOAD_BYTES_MAX`].
    TooLong,
    /// It names no address, and the socket has no peer.
    NoAddress,
    /// The policy forbids the address.
    Denied(Denied),
    /// What the system says.
    Io(io::Error),
}

impl Udp {
    /// Takes over a socket, or a clone of one that is shared.
    ///
    /// # Errors
    ///
    /// When the system refuses to watch it.
    pub(crate) fn new(socket: std::net::UdpSocket, reach: Reach, means: Means) -> io::Result<Self> {
        // An embedder may have forgotten to; the runtime would wait for ever.
        socket.set_nonblocking(true)?;
        Ok(Self {
            io: Arc::new(UdpSocket::from_std(socket)?),
            reach,
            peer: None,
            attempt: None,
            peers: Peers::default(),
            error_ready: None,
            failed: None,
            means,
        })
    }

    /// The bound address.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.io.local_addr().ok()
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Makes an address that was allowed the socket's peer.
    ///
    /// Others may hold the same socket, so the kernel is told of the peer of a client
    /// socket only. It then reports when no socket listens there.
    pub(super) fn set_peer(&mut self, peer: SocketAddr) -> io::Result<()> {
        if self.reach == Reach::Client {
            SockRef::from(&*self.io).connect(&peer.into())?;
            self.error_ready = Some(error_ready(&self.io));
        }
        self.peer = Some(peer);
        Ok(())
    }

    /// Whether the guest hears of a datagram from there.
    fn hears(&self, from: SocketAddr) -> bool {
        match (self.peer, self.reach) {
            (Some(peer), _) => endpoint(peer) == endpoint(from),
            (None, Reach::Port) => true,
            (None, Reach::Client) => self.peers.has_sent_to(endpoint(from)),
        }
    }

    /// Receives what is there, as much as fits, and answers how many bytes it is
    /// with the headers.
    ///
    /// # Errors
    ///
    /// What the system says; a peer that is not there, above all.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        tally: &mut Tally,
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let mut filled = 0;
        let mut taken = 0;
        while taken < UDP_BATCH_DATAGRAMS_MAX {
            let room = &mut buffer[filled..];
            if filled > 0 && room.len() < ROOM_FOR_ANY {
                break;
            }
            let (header, payload) = room.split_at_mut(HEADER_BYTES);
            match receive(&self.io, payload) {
                Ok(Received { sent, kept, from }) => {
                    taken += 1;
                    tally.add(sent);
                    if self.hears(from) {
                        header.copy_from_slice(&header_of(from, kept));
                        filled += HEADER_BYTES + kept;
                    }
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    if filled == 0 {
                        return Poll::Ready(Err(error));
                    }
                    self.failed = Some(error);
                    break;
                }
                Err(_) if filled > 0 => break,
                Err(_) => match self.io.poll_recv_ready(cx) {
                    Poll::Ready(ready) => ready?,
                    Poll::Pending => {
                        let error = ready!(self.poll_error(cx));
                        return Poll::Ready(Err(error));
                    }
                },
            }
        }
        if filled == 0 {
            // Only strangers so far; others get their turn first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.means.activity.note_written();
        Poll::Ready(Ok(filled))
    }

    /// What the system reports about datagrams that were sent: that no socket listens
    /// there, above all. Such a report makes a socket neither readable nor closed.
    fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(is_ready) = &mut self.error_ready else {
            return Poll::Pending;
        };
        loop {
            ready!(is_ready.as_mut().poll(cx));
            *is_ready = error_ready(&self.io);
            let taken = self.io.try_io(Interest::ERROR, || {
                let error = self.io.take_error()?;
                error.ok_or_else(|| ErrorKind::WouldBlock.into())
            });
            if let Ok(error) = taken {
                return Poll::Ready(error);
            }
        }
    }

    /// Sends datagrams and answers how many went.
    ///
    /// # Errors
    ///
    /// [`SendError`] of the first one; one further back ends the call before it.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut datagrams: &[u8],
        dialer: &Dialer,
        tally: &mut Tally,
    ) -> Poll<Result<usize, SendError>> {
        let now = Instant::now();
        let mut sent = 0;
        while sent < UDP_BATCH_DATAGRAMS_MAX && !datagrams.is_empty() {
            let outcome = match split(datagrams) {
                Ok((to, payload, rest)) => {
                    let asking = Asking {
                        dialer,
                        now,
                        is_first: sent == 0,
                    };
                    let outcome = self.send_one(to, payload, asking, tally);
                    outcome.map(|()| rest)
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(rest) => {
                    sent += 1;
                    datagrams = rest;
                }
                Err(_) if sent > 0 => break,
                Err(SendError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.io.poll_send_ready(cx)).map_err(SendError::Io)?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if sent > 0 {
            self.means.activity.note_written();
        }
        Poll::Ready(Ok(sent))
    }

    fn send_one(
        &mut self,
        to: Option<SocketAddr>,
        payload: &[u8],
        asking: Asking<'_>,
        tally: &mut Tally,
    ) -> Result<(), SendError> {
        let is_connected = self.reach == Reach::Client && self.peer.is_some();
        let to = match to {
            None if is_connected => None,
            None => Some(self.peer.ok_or(SendError::NoAddress)?),
            Some(to) => {
                self.check(to, asking, tally)?;
                Some(to)
            }
        };
        let sent = match to {
            None => self.io.try_send(payload),
            Some(to) => self.io.try_send_to(payload, self.in_own_family(to)),
        };
        sent.map_err(SendError::Io)?;
        tally.add(payload.len());
        Ok(())
    }

    /// Puts an address to the policy, unless that was done a moment ago.
    fn check(
        &mut self,
        to: SocketAddr,
        asking: Asking<'_>,
        tally: &mut Tally,
    ) -> Result<(), SendError> {
        let Asking {
            dialer,
            now,
            is_first,
        } = asking;
        let is_peer = self.peer.is_some_and(|peer| endpoint(peer) == endpoint(to));
        if is_peer || self.peers.are_allowed(endpoint(to), now) {
            return Ok(());
        }
        tally.checks += 1;
        let host = to.ip().to_string();
        let verdict = match is_first {
            true => dialer
                .check_name(&host, to.port())
                .and_then(|()| dialer.check_address(&host, to)),
            // What is refused here is asked about again, as the first of a call.
            false => dialer.judge_address(&host, to),
        };
        verdict.map_err(SendError::Denied)?;
        self.peers.note(endpoint(to), now);
        Ok(())
    }

    /// The address as a socket of this family takes it.
    pub(super) fn in_own_family(&self, address: SocketAddr) -> SocketAddr {
        let is_v6 = self.local_address().is_some_and(|own| own.is_ipv6());
        match address.ip() {
            IpAddr::V4(ip) if is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }
}

thread_local! {
    /// Room for the longest datagram, of each thread that runs guests.
    static WHOLE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A datagram that came.
#[derive(Debug)]
struct Received {
    /// Bytes of its payload, as the kernel has moved them: these are counted.
    sent: usize,
    /// Bytes that there was room for.
    kept: usize,
    from: SocketAddr,
}

/// Receives a datagram that is there. The kernel does not say how long one was that it
/// has cut, so that one is received as a whole, whatever the guest has room for.
fn receive(socket: &UdpSocket, payload: &mut [u8]) -> io::Result<Received> {
    if payload.len() >= PAYLOAD_BYTES_MAX {
        let (sent, from) = socket.try_recv_from(payload)?;
        return Ok(Received {
            sent,
            kept: sent,
            from,
        });
    }
    WHOLE.with_borrow_mut(|whole| {
        whole.resize(PAYLOAD_BYTES_MAX, 0);
        let (sent, from) = socket.try_recv_from(whole)?;
        let kept = sent.min(payload.len());
        payload[..kept].copy_from_slice(&whole[..kept]);
        Ok(Received { sent, kept, from })
    })
}

fn error_ready(socket: &Arc<UdpSocket>) -> BoxFuture<()> {
    let socket = Arc::clone(socket);
    Box::pin(async move {
        // An error of waiting is one of the socket, too.
        let _ = socket.ready(Interest::ERROR).await;
    })
}

/// The header of a datagram that was received.
fn header_of(from: SocketAddr, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let header = DatagramHeader {
        // Datagrams are shorter than 64 KiB.
        payload_bytes: u32::try_from(payload_bytes).unwrap_or(u32::MAX),
        peer: Some(from),
    };
    header.to_bytes()
}

/// The first datagram: where it goes, its payload, and what lies behind it.
type First<'a> = (Option<SocketAddr>, &'a [u8], &'a [u8]);

fn split(datagrams: &[u8]) -> Result<First<'_>, SendError> {
    let (header, rest) = datagrams
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(SendError::Malformed)?;
    let header = DatagramHeader::from_bytes(header).ok_or(SendError::Malformed)?;
    let payload_bytes = header.payload_bytes as usize;
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(SendError::TooLong);
    }
    let (payload, rest) = rest
        .split_at_checked(payload_bytes)
        .ok_or(SendError::Malformed)?;
    Ok((header.peer, payload, rest))
}

/// Addresses that were allowed, the oldest overwritten first.
#[derive(Default)]
struct Peers {
    entries: Vec<(Endpoint, Instant)>,
    next: usize,
}

impl Peers {
    fn has_sent_to(&self, peer: Endpoint) -> bool {
        self.entries.iter().any(|(one, _)| *one == peer)
    }

    /// Whether the policy has allowed it a moment ago.
    fn are_allowed(&self, peer: Endpoint, now: Instant) -> bool {
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < UDP_VERDICT_TIME;
        let mut entries = self.entries.iter();
        entries.any(|(one, at)| *one == peer && is_fresh(*at))
    }

    fn note(&mut self, peer: Endpoint, now: Instant) {
        if let Some(known) = self.entries.iter_mut().find(|(one, _)| *one == peer) {
            known.1 = now;
        } else if self.entries.len() < UDP_PEERS_MAX {
            self.entries.push((peer, now));
        } else {
            self.entries[self.next] = (peer, now);
            self.next = (self.next + 1) % UDP_PEERS_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Endpoint {
        endpoint(SocketAddr::from(([192, 0, 2, 1], port)))
    }

    #[test]
    fn peers_are_bounded_and_the_oldest_goes_first() {
        let mut peers = Peers::default();
        let now = Instant::now();
        let count = u16::try_from(UDP_PEERS_MAX).expect("few");
        for port in 0..=count {
            peers.note(peer(port), now);
            peers.note(peer(port), now);
        }
        assert_eq!(peers.entries.len(), UDP_PEERS_MAX);
        assert!(!peers.has_sent_to(peer(0)));
        assert!((1..=count).all(|port| peers.has_sent_to(peer(port))));
    }

    #[test]
    fn a_verdict_is_forgotten_and_its_peer_is_not() {
        let mut peers = Peers::default();
        let now = Instant::now();
        peers.note(peer(1), now);
        assert!(peers.are_allowed(peer(1), now));
        assert!(!peers.are_allowed(peer(2), now));
        let later = now + UDP_VERDICT_TIME;
        assert!(!peers.are_allowed(peer(1), later));
        assert!(peers.has_sent_to(peer(1)));
    }

    #[test]
    fn a_mapped_address_is_the_same_endpoint() {
        let mapped = "[::ffff:192.0.2.1]:7".parse().expect("an address");
        assert_eq!(endpoint(mapped), peer(7));
    }

    #[tokio::test]
    async fn a_datagram_is_counted_as_a_whole_whatever_there_is_room_for() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let at = socket.local_addr().expect("bound");
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        for (sent, room) in [(1000, 10), (1000, 0), (5, 10), (60_000, PAYLOAD_BYTES_MAX)] {
            client.send_to(&vec![7; sent], at).expect("sent");
            socket.readable().await.expect("arrives");
            let mut payload = vec![0; room];
            let received = receive(&socket, &mut payload).expect("is there");
            assert_eq!((received.sent, received.kept), (sent, sent.min(room)));
            assert!(payload[..received.kept].iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn datagrams_are_taken_apart_one_by_one() {
        let to: SocketAddr = "192.0.2.1:7".parse().expect("an address");
        let mut both = header_of(to, 2).to_vec();
        both.extend(b"hi");
        both.extend(header_of(to, 0));
        let (first, payload, rest) = split(&both).expect("whole");
        assert_eq!((first, payload), (Some(to), b"hi".as_slice()));
        let (_, payload, rest) = split(rest).expect("whole");
        assert_eq!((payload, rest), (b"".as_slice(), b"".as_slice()));
        for cut in 1..HEADER_BYTES + 2 {
            assert!(matches!(split(&both[..cut]), Err(SendError::Malformed)));
        }
        let long = [
            header_of(to, PAYLOAD_BYTES_MAX + 1).as_slice(),
            &[0; 70_000],
        ]
        .concat();
        assert!(matches!(split(&long), Err(SendError::TooLong)));
    }
}
