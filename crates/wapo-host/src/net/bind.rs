//! Sockets of listeners and of datagrams as guests get them: options, and no policy.
//!
//! Called by the default of `embedder`, and by embedders that share ports.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{LISTEN_BACKLOG, UDP_RECEIVE_BUFFER_BYTES, UDP_SEND_BUFFER_BYTES};

/// Binds a port as guests get it by default: it waits for nothing and can be
/// bound again at once after a restart.
///
/// # Errors
///
/// What the system says, `AddrInUse` above all.
pub fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` serves both families, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    // A restarted guest must get its port back while old connections fade.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Binds a UDP port as guests get it.
///
/// # Errors
///
/// What the system says, `AddrInUse` above all: nobody else can join the port.
pub fn bind_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `[::]` serves both families, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(UDP_SEND_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
