//! Ports for guests to listen on.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// First port that is tried; below the range from which the system gives ports
/// to outgoing connections, so that no client takes one in between.
const FIRST: u16 = 10_000;
/// Ports to choose from.
const COUNT: u16 = 20_000;

/// A free port, of TCP and UDP.
///
/// Tests run as processes of their own side by side; chance keeps them apart.
///
/// # Panics
///
/// When all ports are taken.
pub fn free() -> u16 {
    let mut tries = std::iter::repeat_with(|| FIRST + rand::random::<u16>() % COUNT).take(1000);
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    tries.find(is_free).expect("a free port")
}

/// A port as all that an app may be given.
pub fn only(port: u16) -> Option<wapod::PortRanges> {
    Some(port.into())
}
