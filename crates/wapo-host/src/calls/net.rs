//! Calls of the family `net`: listening and connecting.
//!
//! Policy comes first: ports against the instance's range before anything is
//! bound, names against the egress policy before anything is resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use rustls::pki_types::ServerName;
use tracing::debug;
use wapo_abi::message::{TlsClientConfig, TlsServerConfig};
use wapo_abi::{Errno, WakerId};

use super::task::poll_lazily;
use super::{WORK_CRYPTO, WORK_SOCKET, WORK_SYSCALL, family};
use crate::limits::caps::{HOST_BYTES_MAX, PEM_BYTES_MAX};
use crate::net::connect::{Connecting, TCP_CONNECT_BYTES, TLS_CONNECT_BYTES};
use crate::net::listener::Listener;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

/// Host time of reading a key and checking it against its certificate, in fuel's worth.
///
/// Measured: 14 µs for P-256, 30 µs for RSA with 2048 bits, 77 µs with 4096.
const WORK_IDENTITY: u64 = 150_000;
/// Host time of a byte of PEM. Measured: 230 µs for a chain of 54 KiB.
const WORK_PEM_BYTE: u64 = 8;

/// Price of a registered name, on top of the row's.
const SNI_GAS: u64 = 10_000;

impl family::net::Calls for InstanceState {
    fn tcp_listen(&mut self, addr: String, tls: Option<TlsServerConfig>) -> Result<Handle, Errno> {
        self.add_work(WORK_SOCKET);
        let address: SocketAddr = addr.parse().map_err(|_| Errno::INVALID_PARAMETER)?;
        let allowed = self.config.listen_ports.as_ref();
        if !allowed.is_some_and(|ports| ports.contains(&address.port())) {
            return Err(Errno::FORBIDDEN);
        }
        let address = match self.config.listen_on_loopback {
            true => on_loopback(address).ok_or(Errno::FORBIDDEN)?,
            false => address,
        };
        self.resources.check_room()?;
        let tls = match tls {
            None => None,
            Some(config) => {
                self.check_identity(&config)?;
                Some(self.dialer.tls.server(&config)?)
            }
        };
        let is_tls = tls.is_some();
        let bound = self.embedder.listen_tcp(self.id, address);
        let listener = bound.and_then(|bound| Listener::tcp(bound, tls));
        let listener = listener.map_err(|error| {
            self.log_event(
                wapo_abi::message::LogLevel::Warn,
                &format!("cannot listen on {address}: {error}"),
            );
            Errno::IO_ERROR
        })?;
        self.announce_listener(listener.local_address(), is_tls);
        self.resources
            .insert(Resource::Listener(Box::new(listener)))
    }

    fn tcp_accept(&mut self, waker: WakerId, handle: Handle) -> Result<(i32, String), Errno> {
        let (stream, peer) = self.accept(waker, handle)?;
        Ok((stream.0, peer.to_string()))
    }

    fn tcp_accept_no_addr(&mut self, waker: WakerId, handle: Handle) -> Result<Handle, Errno> {
        Ok(self.accept(waker, handle)?.0)
    }

    fn tcp_connect(&mut self, host: &str, port: u16) -> Result<Handle, Errno> {
        self.check_egress(host, port)?;
        self.config.meter.add_egress(TCP_CONNECT_BYTES);
        self.dial(host.to_owned(), port, None)
    }

    fn tcp_connect_tls(
        &mut self,
        host: String,
        port: u16,
        config: TlsClientConfig,
    ) -> Result<Handle, Errno> {
        let TlsClientConfig::V0 = config;
        // Of the encoded input the host name is the only part that can be long.
        if host.len() > HOST_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        self.check_egress(&host, port)?;
        let name = ServerName::try_from(host.clone()).map_err(|_| Errno::INVALID_PARAMETER)?;
        self.add_work(WORK_CRYPTO);
        self.config.meter.add_egress(TLS_CONNECT_BYTES);
        self.dial(host, port, Some(name))
    }

    fn tls_listen_sni(&mut self, name: String, config: TlsServerConfig) -> Result<Handle, Errno> {
        if name.len() > HOST_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        self.resources.check_room()?;
        self.check_identity(&config)?;
        let listener = self.embedder.listen_sni(self.id, &name, config)?;
        self.charge(SNI_GAS);
        self.resources
            .insert(Resource::Listener(Box::new(Listener::Sni(listener))))
    }
}

/// The loopback address that stands for `address`, if one does.
///
/// "Any address" becomes loopback, so that programs written for a server run
/// on a laptop without opening it to the network.
fn on_loopback(address: SocketAddr) -> Option<SocketAddr> {
    let loopback = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip if ip.is_loopback() => ip,
        _ => return None,
    };
    Some(SocketAddr::new(loopback, address.port()))
}

impl InstanceState {
    fn accept(&mut self, waker: WakerId, handle: Handle) -> Result<(Handle, SocketAddr), Errno> {
        self.add_work(WORK_SYSCALL);
        let meter = std::sync::Arc::clone(&self.config.meter);
        let is_leaving = self.control.is_leaving();
        let (lazy, resources) = self.lazy_waker(waker);
        let room = resources.check_room();
        let Resource::Listener(listener) = resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        room?;
        // Whoever shares the port takes it, or nobody does.
        if is_leaving {
            return Err(Errno::PENDING);
        }
        match poll_lazily(lazy, |cx| listener.poll_accept(cx, &meter)) {
            Poll::Pending => Err(Errno::PENDING),
            Poll::Ready(accepted) => {
                let (stream, peer) = accepted?;
                self.control.note_io();
                let stream = stream.accepted(self.control.connections.add());
                Ok((self.insert_stream(stream)?, peer))
            }
        }
    }

    /// Counts the work of setting up a certificate and its key.
    ///
    /// # Errors
    ///
    /// [`Errno::INVALID_PARAMETER`] when one of the texts is too long.
    fn check_identity(&mut self, config: &TlsServerConfig) -> Result<(), Errno> {
        let TlsServerConfig::V0 { cert, key } = config;
        if cert.len() > PEM_BYTES_MAX || key.len() > PEM_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        let bytes = (cert.len() + key.len()) as u64;
        self.add_work(WORK_IDENTITY + WORK_PEM_BYTE * bytes);
        Ok(())
    }

    fn check_egress(&mut self, host: &str, port: u16) -> Result<(), Errno> {
        self.add_work(WORK_SOCKET);
        if host.is_empty() {
            return Err(Errno::INVALID_PARAMETER);
        }
        self.dialer.policy.check_name(host, port).map_err(|denied| {
            debug!(instance = self.id.0, %denied, "egress denied");
            self.log_event(wapo_abi::message::LogLevel::Warn, &denied.to_string());
            Errno::FORBIDDEN
        })
    }

    fn dial(
        &mut self,
        host: String,
        port: u16,
        tls: Option<ServerName<'static>>,
    ) -> Result<Handle, Errno> {
        let attempt = Connecting::start(self.dialer.clone(), host, port, tls);
        self.resources.insert(Resource::Connecting(attempt))
    }
}
