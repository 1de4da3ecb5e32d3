//! Ports that apps listen on.
//!
//! All instances of an app that name the same address listen on one socket, so
//! that each connection goes to whichever takes it first; so do the instances of
//! an app and of the one that takes its place, so that no connection is refused
//! in between. For everybody else the port is busy. Called by `embedder`.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wapo_host::InstanceId;

/// Apps that share their ports: an app and those whose place it took.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Family(pub(crate) u64);

/// The sockets that are open for apps.
#[derive(Default)]
pub(crate) struct Ports {
    open: Mutex<HashMap<SocketAddr, Socket>>,
}

struct Socket {
    listener: TcpListener,
    family: Family,
    holders: Vec<InstanceId>,
}

impl Ports {
    /// Lets an instance listen on an address.
    ///
    /// # Errors
    ///
    /// As the system says; [`io::ErrorKind::AddrInUse`] when another app has it,
    /// or the instance itself.
    pub(crate) fn listen(
        &self,
        family: Family,
        instance: InstanceId,
        address: SocketAddr,
    ) -> io::Result<TcpListener> {
        // Any free port is a new one each time.
        if address.port() == 0 {
            return wapo_host::net::bind_tcp(address);
        }
        let mut open = self.open();
        if let Some(socket) = open.get_mut(&address) {
            if socket.family != family || socket.holders.contains(&instance) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let listener = socket.listener.try_clone()?;
            socket.holders.push(instance);
            return Ok(listener);
        }
        let listener = wapo_host::net::bind_tcp(address)?;
        let socket = Socket {
            listener: listener.try_clone()?,
            family,
            holders: vec![instance],
        };
        open.insert(address, socket);
        Ok(listener)
    }

    /// Whether the instances of a family listen on one socket at an address.
    pub(crate) fn is_shared(&self, family: Family, address: SocketAddr) -> bool {
        let open = self.open();
        open.get(&address).is_some_and(|one| one.family == family)
    }

    /// An instance has closed its listener on an address.
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

    fn open(&self) -> MutexGuard<'_, HashMap<SocketAddr, Socket>> {
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
    fn a_family_shares_a_port_and_nobody_else() {
        let ports = Ports::default();
        let address = free_address();
        let _first = ports.listen(Family(1), ONE, address).expect("free");
        let again = ports.listen(Family(1), ONE, address);
        assert_eq!(again.expect_err("twice").kind(), io::ErrorKind::AddrInUse);
        let other = ports.listen(Family(2), TWO, address);
        assert_eq!(other.expect_err("other").kind(), io::ErrorKind::AddrInUse);
        let _second = ports.listen(Family(1), TWO, address).expect("shared");
        std::net::TcpStream::connect(address).expect("somebody listens");
    }

    #[test]
    fn a_port_is_free_when_the_last_has_left() {
        let ports = Ports::default();
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
}
