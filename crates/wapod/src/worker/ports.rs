//! Ports that apps listen on, of TCP and of UDP.
//!
//! All instances of an app that name the same address listen on one socket, so
//! that each connection or datagram goes to whichever takes it first; so do the
//! instances of an app and of the one that takes its place, so that nothing is
//! refused in between. For all others the port is busy, and ports that an
//! operator has granted to an app are closed to all others, whether it listens there
//! or not. Called by `embedder`.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wapo_host::{InstanceId, PortRanges};

/// Apps that share their ports: an app and those whose place it took.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Family(pub(crate) u64);

/// The sockets that are open for apps.
#[derive(Default)]
pub(crate) struct Ports {
    pub(crate) tcp: PortsOf<TcpListener>,
    pub(crate) udp: PortsOf<UdpSocket>,
    /// Ports that apps were granted, by the serial numbers of the apps.
    grants: Mutex<HashMap<u64, (Family, PortRanges)>>,
}

impl Ports {
    /// Closes ports to all apps but this one, and those that were granted them as
    /// well. Sockets that others have there stay open.
    pub(crate) fn grant(&self, serial: u64, family: Family, ports: PortRanges) {
        self.grants().insert(serial, (family, ports));
    }

    /// An app is gone.
    pub(crate) fn withdraw(&self, serial: u64) {
        self.grants().remove(&serial);
    }

    fn grants(&self) -> MutexGuard<'_, HashMap<u64, (Family, PortRanges)>> {
        // Each change is one.
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a port is another app's, and not this one's.
    fn is_anothers(&self, family: Family, port: u16) -> bool {
        let grants = self.grants();
        let mut holders = grants.values().filter(|(_, ports)| ports.contains(port));
        let first = holders.next();
        let is_own = |(holder, _): &(Family, PortRanges)| *holder == family;
        first.is_some_and(|one| !is_own(one) && !holders.any(is_own))
    }

    /// Lets an instance listen for TCP connections on an address.
    ///
    /// # Errors
    ///
    /// As the system says; [`io::ErrorKind::AddrInUse`] when another app has it, or
    /// the instance itself, [`io::ErrorKind::PermissionDenied`] when it was granted to
    /// another app.
    pub(crate) fn listen_tcp(
        &self,
        family: Family,
        instance: InstanceId,
        address: SocketAddr,
    ) -> io::Result<TcpListener> {
        self.listen(&self.tcp, family, instance, address)
    }

    /// The same for datagrams.
    ///
    /// # Errors
    ///
    /// As [`listen_tcp`](Self::listen_tcp).
    pub(crate) fn listen_udp(
        &self,
        family: Family,
        instance: InstanceId,
        address: SocketAddr,
    ) -> io::Result<UdpSocket> {
        self.listen(&self.udp, family, instance, address)
    }

    fn listen<S: PortSocket>(
        &self,
        sockets: &PortsOf<S>,
        family: Family,
        instance: InstanceId,
        address: SocketAddr,
    ) -> io::Result<S> {
        if address.port() != 0 {
            return match self.is_anothers(family, address.port()) {
                true => Err(io::Error::new(io::ErrorKind::PermissionDenied, GRANTED)),
                false => sockets.listen(family, instance, address),
            };
        }
        // Those that are another's are held until a free one is found.
        let mut refused = Vec::new();
        while refused.len() < ANY_PORT_TRIES {
            let socket = sockets.listen(family, instance, address)?;
            if !self.is_anothers(family, socket.port()?) {
                return Ok(socket);
            }
            refused.push(socket);
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, GRANTED))
    }

    /// An instance is gone.
    pub(crate) fn release(&self, instance: InstanceId) {
        self.tcp.release(instance);
        self.udp.release(instance);
    }
}

/// Why an app cannot have a port although it is free.
const GRANTED: &str =
    "the operator has granted this port to another app; the console shows each app's ports";

/// Ports that are tried when a guest asks for any.
///
/// The system does not know which are granted to others, and gives one after another.
/// Each try holds a descriptor of the daemon's for a moment.
const ANY_PORT_TRIES: usize = 16;

/// The owner of a port that another app asked for.
const BY_ANOTHER: &str = "another app of this worker has it; `wapo list` says which";
const BY_ITSELF: &str = "the program itself listens there already";

/// A socket that several instances may hold.
pub(crate) trait PortSocket: Sized {
    /// A new one on this address.
    fn bind(address: SocketAddr) -> io::Result<Self>;

    /// Another descriptor of the same socket.
    fn another(&self) -> io::Result<Self>;

    /// The number that it has.
    fn port(&self) -> io::Result<u16>;
}

impl PortSocket for TcpListener {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        wapo_host::net::bind_tcp(address)
    }

    fn another(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn port(&self) -> io::Result<u16> {
        Ok(self.local_addr()?.port())
    }
}

impl PortSocket for UdpSocket {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        wapo_host::net::bind_udp(address)
    }

    fn another(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn port(&self) -> io::Result<u16> {
        Ok(self.local_addr()?.port())
    }
}

/// The sockets of one protocol that are open for apps.
pub(crate) struct PortsOf<S> {
    open: Mutex<HashMap<SocketAddr, Socket<S>>>,
}

struct Socket<S> {
    socket: S,
    family: Family,
    holders: Vec<InstanceId>,
}

impl<S> Default for PortsOf<S> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
        }
    }
}

impl<S: PortSocket> PortsOf<S> {
    /// Lets an instance listen on an address.
    ///
    /// # Errors
    ///
    /// As the system says; [`io::ErrorKind::AddrInUse`] when another app has it,
    /// or the instance itself.
    fn listen(&self, family: Family, instance: InstanceId, address: SocketAddr) -> io::Result<S> {
        // Any free port is a new one each time.
        if address.port() == 0 {
            return S::bind(address);
        }
        let mut open = self.open();
        if let Some(socket) = open.get_mut(&address) {
            let holder = match socket.holders.contains(&instance) {
                _ if socket.family != family => Some(BY_ANOTHER),
                true => Some(BY_ITSELF),
                false => None,
            };
            if let Some(text) = holder {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            let another = socket.socket.another()?;
            socket.holders.push(instance);
            return Ok(another);
        }
        let socket = S::bind(address)?;
        let kept = Socket {
            socket: socket.another()?,
            family,
            holders: vec![instance],
        };
        open.insert(address, kept);
        Ok(socket)
    }

    /// Whether the instances of a family listen on one socket at an address.
    pub(crate) fn is_shared(&self, family: Family, address: SocketAddr) -> bool {
        let open = self.open();
        open.get(&address).is_some_and(|one| one.family == family)
    }

    /// An instance has closed its socket on an address.
    pub(crate) fn unlisten(&self, instance: InstanceId, address: SocketAddr) {
        let mut open = self.open();
        if let Some(socket) = open.get_mut(&address) {
            socket.holders.retain(|holder| *holder != instance);
            if socket.holders.is_empty() {
                open.remove(&address);
            }
        }
    }

    /// An instance is gone.
    pub(crate) fn release(&self, instance: InstanceId) {
        self.open().retain(|_, socket| {
            socket.holders.retain(|holder| *holder != instance);
            !socket.holders.is_empty()
        });
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SocketAddr, Socket<S>>> {
        // Every change above is complete before the next one begins.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: InstanceId = InstanceId(1);
    const TWO: InstanceId = InstanceId(2);

    fn free_address() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("free port");
        listener.local_addr().expect("address")
    }

    #[test]
    fn a_port_that_was_granted_is_closed_to_all_others() {
        let ports = Ports::default();
        let address = free_address();
        let granted = |address: SocketAddr| PortRanges::from(address.port());
        ports.grant(10, Family(1), granted(address));
        let others = [
            ports.listen_tcp(Family(2), TWO, address).map(drop),
            ports.listen_udp(Family(2), TWO, address).map(drop),
        ];
        for other in others {
            let kind = other.expect_err("granted to another").kind();
            assert_eq!(kind, io::ErrorKind::PermissionDenied);
        }
        ports.listen_tcp(Family(1), ONE, address).expect("its own");
        ports.listen_udp(Family(1), ONE, address).expect("its own");
        ports.release(ONE);
        // Both may have it when both were granted it, also the one that comes first.
        ports.grant(11, Family(2), granted(address));
        ports.listen_tcp(Family(2), TWO, address).expect("its own");
        ports.release(TWO);
        // One that took the other's place keeps the port for the family.
        ports.grant(12, Family(1), granted(address));
        ports.withdraw(10);
        ports.withdraw(11);
        assert!(ports.listen_tcp(Family(2), TWO, address).is_err());
        ports.withdraw(12);
        ports.listen_tcp(Family(2), TWO, address).expect("nobody's");
    }

    #[test]
    fn any_port_is_none_that_was_granted_to_another() {
        let ports = Ports::default();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        ports.listen_tcp(Family(2), TWO, any).expect("a port");
        ports.grant(10, Family(1), "0..65535".parse().expect("ports"));
        let refused = ports.listen_tcp(Family(2), TWO, any);
        assert_eq!(refused.expect_err("none").kind(), io::ErrorKind::AddrInUse);
        ports.listen_udp(Family(1), ONE, any).expect("its own");
    }

    #[test]
    fn a_family_shares_a_port_and_nobody_else() {
        let ports = Ports::default().tcp;
        let address = free_address();
        let _first = ports.listen(Family(1), ONE, address).expect("free");
        let again = ports.listen(Family(1), ONE, address);
        assert_eq!(again.expect_err("twice").kind(), io::ErrorKind::AddrInUse);
        let other = ports.listen(Family(2), TWO, address);
        assert_eq!(other.expect_err("other").kind(), io::ErrorKind::AddrInUse);
        let _second = ports.listen(Family(1), TWO, address).expect("shared");
        std::net::TcpStream::connect(address).expect("a listener");
    }

    #[test]
    fn a_port_is_free_when_the_last_has_left() {
        let ports = Ports::default().tcp;
        let address = free_address();
        let first = ports.listen(Family(1), ONE, address).expect("free");
        let second = ports.listen(Family(1), TWO, address).expect("shared");
        drop(first);
        ports.unlisten(ONE, address);
        std::net::TcpStream::connect(address).expect("one is left");
        drop(second);
        ports.release(TWO);
        assert!(std::net::TcpStream::connect(address).is_err());
        ports.listen(Family(2), TWO, address).expect("free again");
    }

    #[test]
    fn a_port_of_udp_is_shared_within_a_family_and_is_not_that_of_tcp() {
        let ports = Ports::default();
        let address = free_address();
        let tcp = ports.tcp.listen(Family(1), ONE, address).expect("free");
        let first = ports.udp.listen(Family(2), TWO, address).expect("free");
        let second = ports.udp.listen(Family(2), ONE, address).expect("shared");
        let other = ports.udp.listen(Family(1), ONE, address);
        assert_eq!(other.expect_err("other").kind(), io::ErrorKind::AddrInUse);
        // Not even by who would share the port without asking.
        assert!(UdpSocket::bind(address).is_err());
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        client.send_to(b"hi", address).expect("sent");
        let mut buffer = [0; 2];
        let received = || {
            let both = [&first, &second].into_iter();
            both.filter(|one| one.recv(&mut buffer).is_ok()).count()
        };
        let count = std::iter::repeat_with(received).find(|count| *count > 0);
        assert_eq!(count, Some(1), "one datagram, one receiver");
        drop((tcp, first, second));
        ports.release(ONE);
        assert!(ports.udp.is_shared(Family(2), address));
        ports.release(TWO);
        assert!(UdpSocket::bind(address).is_ok(), "free again");
    }
}
