//! The machine that the worker runs on, as the egress policy sees it.
//!
//! Addresses of its own interfaces look public and are not: what listens there trusts
//! the machine. The worker's own ports are for its operator only. One value per
//! worker, given to the engine and to each app's rules.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::net::address::canonical;

/// Time between two looks at the interfaces. Addresses change rarely.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The ports of the worker and the addresses of its machine.
pub struct Machine {
    own_ports: Vec<u16>,
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    looked: Option<Instant>,
    /// Fixed ones are not looked up again.
    is_fixed: bool,
    /// `None` until they could be listed once: any address may be one of them.
    all: Option<HashSet<IpAddr>>,
}

impl Addresses {
    /// Takes the addresses of interfaces over; those that were known stay where there
    /// are none.
    fn learn(&mut self, listed: io::Result<Vec<if_addrs::Interface>>) {
        match listed {
            Ok(interfaces) => {
                let all = interfaces.iter().map(|entry| canonical(entry.ip()));
                self.all = Some(all.collect());
            }
            Err(error) => warn!(%error, "cannot list the addresses of this machine"),
        }
    }

    fn may_have(&self, address: IpAddr) -> bool {
        let known = self.all.as_ref();
        known.is_none_or(|all| all.contains(&canonical(address)))
    }
}

impl Machine {
    /// This machine, on which the worker listens on these ports.
    pub fn new(own_ports: Vec<u16>) -> Self {
        Self {
            own_ports,
            addresses: Mutex::default(),
        }
    }

    /// Whether a port number is one of the worker's own.
    pub fn owns_port(&self, port: u16) -> bool {
        self.own_ports.contains(&port)
    }

    /// Whether an address leads to this machine.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        address.is_loopback() || address.is_unspecified() || self.has_interface(address)
    }

    /// Whether an interface of this machine has the address. While they could not be
    /// listed, every address is held for one: only what a rule names is reached then.
    pub(crate) fn has_interface(&self, address: IpAddr) -> bool {
        let mut known = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = known.looked.is_none_or(|at| at.elapsed() >= LOOK_INTERVAL);
        if is_due && !known.is_fixed {
            known.looked = Some(Instant::now());
            known.learn(if_addrs::get_if_addrs());
        }
        known.may_have(address)
    }

    #[cfg(test)]
    pub(crate) fn with_addresses(own_ports: Vec<u16>, all: Vec<IpAddr>) -> Self {
        Self {
            own_ports,
            addresses: Mutex::new(Addresses {
                looked: None,
                is_fixed: true,
                all: Some(all.into_iter().collect()),
            }),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("own_ports", &self.own_ports)
            .finish_non_exhaustive()
    }
}

impl Default for Machine {
    /// This machine, on which no worker listens.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_could_not_be_listed_may_be_any() {
        let public: IpAddr = "1.2.3.4".parse().expect("an address");
        let mut addresses = Addresses::default();
        addresses.learn(Err(io::ErrorKind::PermissionDenied.into()));
        assert!(addresses.may_have(public), "nothing is known");
        addresses.learn(if_addrs::get_if_addrs());
        assert!(!addresses.may_have(public));
        addresses.learn(Err(io::ErrorKind::PermissionDenied.into()));
        assert!(!addresses.may_have(public), "what was known stays");
        assert!(addresses.may_have("127.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn loopback_and_interfaces_are_this_machine() {
        let machine = Machine::new(vec![8001]);
        for text in [
            "127.0.0.1",
            "127.3.2.1",
            "0.0.0.0",
            "::1",
            "::",
            "::ffff:127.0.0.1",
        ] {
            assert!(machine.has(text.parse().expect(text)), "{text}");
        }
        assert!(!machine.has("192.0.2.1".parse().expect("an address")));
        assert!(machine.has_interface("127.0.0.1".parse().expect("an address")));
        assert!(machine.owns_port(8001) && !machine.owns_port(8002));
    }
}
