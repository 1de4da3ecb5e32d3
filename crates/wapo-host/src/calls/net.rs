//! Calls of the family `net`: listening and connecting.
//!
//! Policy comes first: ports against the instance's range before anything is
//! bound, names against the egress policy before anything is resolved.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tracing::debug;
use wapo_abi::message::{SniConfig, TlsClientConfig, TlsServerConfig};
use wapo_abi::{Errno, NetFailure, WakerId};

use super::task::{ANY_HANDLE, poll_lazily};
use super::{WORK_CRYPTO, WORK_SOCKET, WORK_SYSCALL, family};
use crate::descriptors::{DescriptorPermit, LISTENER_DESCRIPTORS};
use crate::host_memory::MemoryCharge;
use crate::limits::caps::{HOST_BYTES_MAX, PEM_BYTES_MAX};
use crate::limits::{ATTESTED_TLS_BYTES, TLS_LISTENER_BYTES, TLS_STREAM_BYTES};
use crate::net::connect::{Connecting, TCP_CONNECT_BYTES, TLS_CONNECT_BYTES};
use crate::net::failure::Failure;
use crate::net::listener::{Listener, Means};
use crate::net::policy::{Host, NoHost};
use crate::net::port::Setup;
use crate::net::stream::Stream;
use crate::net::tls_client::TlsClient;
use crate::net::tls_server::ServerIdentity;
use crate::quotas::QuotaKind;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;
use crate::wake::LazyWaker;

/// Host time of reading a key and checking it against its certificate, in fuel's worth.
///
/// Measured: 14 µs for P-256, 30 µs for RSA with 2048 bits, 77 µs with 4096.
pub(super) const WORK_IDENTITY: u64 = 150_000;
/// Host time of a byte of PEM. Measured: 230 µs for a chain of 54 KiB.
pub(super) const WORK_PEM_BYTE: u64 = 8;

/// What the host speaks TLS with for a guest.
pub(super) enum TlsIdentity {
    /// Texts of the guest.
    Provided(TlsServerConfig),
    /// A certificate that attests the app, for names and addresses.
    Attested(Vec<String>),
}

impl family::net::Calls for InstanceState {
    fn tcp_listen(&mut self, addr: String, tls: Option<TlsServerConfig>) -> Result<Handle, Errno> {
        self.listen(&addr, tls.map(TlsIdentity::Provided), Setup::default())
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
        self.context.config.meter.add_egress(TCP_CONNECT_BYTES);
        self.dial(host.to_owned(), port, None)
    }

    fn tcp_connect_tls(
        &mut self,
        host: String,
        port: u16,
        config: TlsClientConfig,
    ) -> Result<Handle, Errno> {
        let TlsClientConfig::V0 = config;
        let config = Arc::clone(self.dialer.tls.client());
        self.dial_tls(host, port, config, 0)
    }

    fn net_failure(&mut self, handle: Handle) -> Result<(u8, String), Errno> {
        match &self.net_failure {
            Some((on, failure)) if handle == ANY_HANDLE || handle == *on => {
                Ok((failure.kind.0, failure.text().to_owned()))
            }
            _ => Err(Errno::NOT_FOUND),
        }
    }

    fn tls_listen_sni(&mut self, name: String, config: TlsServerConfig) -> Result<Handle, Errno> {
        self.listen_on_name(name, Some(TlsIdentity::Provided(config)), Vec::new())
    }

    fn sni_listen(&mut self, name: String, config: SniConfig) -> Result<Handle, Errno> {
        let SniConfig::V0 {
            identity,
            protocols,
        } = config;
        self.listen_on_name(name, identity.map(TlsIdentity::Provided), protocols)
    }

    fn stream_tls(&mut self, handle: Handle) -> Result<(Option<String>, Option<Vec<u8>>), Errno> {
        match self.resources.get(handle)? {
            Resource::Stream(stream) => {
                let facts = stream.tls_facts();
                Ok((facts.server_name, facts.protocol))
            }
            _ => Err(Errno::UNSUPPORTED_OPERATION),
        }
    }
}

/// The name that a server's certificate has to have.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Errno> {
    match Host::parse(host) {
        Ok(Host::Address(address)) => Ok(ServerName::IpAddress(address.into())),
        Ok(Host::Name(name)) => ServerName::try_from(name).map_err(|_| Errno::INVALID_PARAMETER),
        Err(NoHost) => Err(Errno::INVALID_PARAMETER),
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
    /// Listens for TCP connections, or for TLS with a certificate.
    pub(super) fn listen(
        &mut self,
        addr: &str,
        tls: Option<TlsIdentity>,
        setup: Setup,
    ) -> Result<Handle, Errno> {
        self.add_work(WORK_SOCKET);
        let address: SocketAddr = addr.parse().map_err(|_| Errno::INVALID_PARAMETER)?;
        let address = self.allowed_address(address)?;
        self.check_room()?;
        let permit = self.take_descriptors(LISTENER_DESCRIPTORS + setup.descriptors())?;
        let tls = match tls {
            None => None,
            Some(TlsIdentity::Provided(config)) => {
                let memory = self.identity_memory(&config)?;
                Some(ServerIdentity::given(&self.dialer.tls, &config, memory)?)
            }
            Some(TlsIdentity::Attested(names)) => {
                let memory = self.charge_memory(ATTESTED_TLS_BYTES)?;
                let tls = self.attested_tls(names, Vec::new())?;
                Some(ServerIdentity::attested(tls, memory))
            }
        };
        let is_tls = tls.is_some();
        self.keep_room()?;
        let bound = self.context.embedder.listen_tcp(self.context.id, address);
        let listener = bound.and_then(|bound| {
            let bound_to = bound.local_addr();
            let listener = Listener::tcp(bound, tls, permit, setup);
            if let (Err(_), Ok(address)) = (&listener, bound_to) {
                // What the embedder keeps of it must not outlive the failure.
                self.context.embedder.unlisten_tcp(self.context.id, address);
            }
            listener
        });
        let listener = listener.map_err(|error| {
            self.resources.release();
            let mut failure = Failure::from(&error);
            if failure.kind == NetFailure::DENIED {
                failure.kind = NetFailure::LISTEN_DENIED;
            }
            self.refuse(failure.while_doing(&format!("cannot listen on {address}")));
            Errno::IO_ERROR
        })?;
        self.context
            .announce_listener(listener.local_address(), is_tls);
        Ok(self
            .resources
            .insert(Resource::Listener(Box::new(listener)))?)
    }

    /// The address that a guest listens on when it asks for this one.
    pub(super) fn allowed_address(&mut self, address: SocketAddr) -> Result<SocketAddr, Errno> {
        if self.dialer.machine.owns_port(address.port()) {
            return Err(self.deny_listening(address, "this port is the worker's own"));
        }
        let ports = self.context.config.listen_ports.as_ref();
        if !ports.is_some_and(|ports| ports.contains(address.port())) {
            let given = match ports {
                Some(ports) => format!(
                    "this worker gives {ports}; wapod -l or --listen-ports of the app allow more"
                ),
                None => {
                    "this worker gives no ports; wapod -l or --listen-ports of the app allow some"
                        .to_owned()
                }
            };
            return Err(self.deny_listening(address, &given));
        }
        if !self.context.config.listen_on_loopback {
            return Ok(address);
        }
        match on_loopback(address) {
            Some(address) => Ok(address),
            None => Err(self.deny_listening(address, "this app listens on loopback only")),
        }
    }

    pub(super) fn deny_listening(&mut self, address: SocketAddr, reason: &str) -> Errno {
        let text = format!("cannot listen on {address}: not allowed: {reason}");
        self.refuse(Failure::new(NetFailure::LISTEN_DENIED, text));
        Errno::FORBIDDEN
    }

    /// Checks that a handle is left, before something is made that needs one.
    pub(super) fn check_room(&mut self) -> Result<(), Errno> {
        let room = self.resources.check_room();
        room.map_err(|reason| self.lack(&reason))
    }

    /// Keeps a handle for what is about to be bound, so that nothing which the
    /// embedder keeps of it lacks one. Inserting uses it; a failure has to release it.
    pub(super) fn keep_room(&mut self) -> Result<(), Errno> {
        let room = self.resources.reserve(1);
        room.map_err(|reason| self.lack(&reason))
    }

    /// Takes descriptors of the instance's share for something that listens, which
    /// counts among the listeners of its app.
    pub(super) fn take_descriptors(&mut self, count: u64) -> Result<DescriptorPermit, Errno> {
        self.take_socket(QuotaKind::Listeners, count)
    }

    /// Takes so many descriptors for a socket of such a kind.
    pub(super) fn take_socket(
        &mut self,
        kind: QuotaKind,
        count: u64,
    ) -> Result<DescriptorPermit, Errno> {
        let quota = self.dialer.quotas.take(kind, 1);
        let quota = quota.map_err(|reason| self.lack(&reason))?;
        let taken = self.dialer.descriptors.take(count);
        let permit = taken.map_err(|reason| self.lack(&reason))?;
        Ok(permit.with(quota))
    }

    /// Takes memory for a certificate and its key, if they are of bearable size.
    fn identity_memory(&mut self, config: &TlsServerConfig) -> Result<MemoryCharge, Errno> {
        self.check_identity(config)?;
        let TlsServerConfig::V0 { cert, key } = config;
        let bytes = (cert.len() + key.len()) as u64;
        self.charge_memory(TLS_LISTENER_BYTES + bytes)
    }

    /// Says that the guest may not have more of something.
    pub(super) fn lack(&mut self, reason: &impl std::fmt::Display) -> Errno {
        self.refuse(Failure::new(NetFailure::LIMIT, reason.to_string()));
        Errno::RESOURCE_LIMITED
    }

    /// Keeps a failure for the guest and tells the app's log of it.
    pub(super) fn refuse(&mut self, failure: Failure) {
        self.dialer.notices.warn(failure.text());
        self.fail(ANY_HANDLE, failure);
    }

    fn accept(&mut self, waker: WakerId, handle: Handle) -> Result<(Handle, SocketAddr), Errno> {
        self.add_work(WORK_SYSCALL);
        // The fields are borrowed one by one: the waker holds two of them. It is
        // made whatever follows, so that the guest hears of its release.
        let mut lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        let Resource::Listener(listener) = self.resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        // Another listener of the port takes it, or none does.
        if self.context.control.is_leaving() && !listener.goes_on() {
            return Err(Errno::PENDING);
        }
        let dialer = &self.dialer;
        if let Some(time) = dialer.accept_pause() {
            let kind = QuotaKind::Ingress;
            self.rate_waits.wait(handle, kind, lazy.make(), time);
            return Err(Errno::PENDING);
        }
        // Before the connection is taken: without them it would be lost.
        let room = self.resources.reserve(1);
        let Resource::Listener(listener) = self.resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        let means = match room {
            Ok(()) => Means::take(dialer, listener.takes_memory()),
            Err(reason) => Err(reason.to_string()),
        };
        let mut means = match means {
            Ok(means) => means,
            Err(reason) => {
                self.resources.release();
                if self.room_waits.wait(handle, lazy.make()) {
                    let text = format!("connections wait to be accepted: {reason}");
                    dialer.notices.warn(&text);
                }
                return Err(Errno::PENDING);
            }
        };
        self.room_waits.over(handle);
        let connections = &self.context.control.connections;
        match poll_lazily(lazy, |cx| {
            listener.poll_accept(cx, dialer, connections, &mut means)
        }) {
            Poll::Pending => {
                self.resources.release();
                Err(Errno::PENDING)
            }
            Poll::Ready(Ok(incoming)) => {
                let stream = incoming.stream;
                if matches!(stream, Stream::Tls(_)) {
                    self.add_work(WORK_CRYPTO);
                }
                self.context.control.note_io();
                let stream = stream.accepted(incoming.activity, incoming.server_name);
                Ok((self.insert_stream(stream)?, incoming.peer))
            }
            Poll::Ready(Err(error)) => {
                let ended = error.kind() == ErrorKind::UnexpectedEof;
                self.resources.release();
                self.fail(handle, Failure::from(&error));
                Err(if ended {
                    Errno::END_OF_FILE
                } else {
                    Errno::IO_ERROR
                })
            }
        }
    }

    /// Counts the work of setting up a certificate and its key.
    ///
    /// # Errors
    ///
    /// [`Errno::INVALID_PARAMETER`] when one of the texts is too long.
    pub(super) fn check_identity(&mut self, config: &TlsServerConfig) -> Result<(), Errno> {
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
        self.dialer.check_name(host, port).map_err(|denied| {
            debug!(instance = self.context.id.0, %denied, "egress denied");
            self.refuse(Failure::from(&denied));
            Errno::FORBIDDEN
        })
    }

    /// Starts a TLS connection that needs so many bytes of memory more than others.
    pub(super) fn dial_tls(
        &mut self,
        host: String,
        port: u16,
        config: Arc<ClientConfig>,
        bytes: u64,
    ) -> Result<Handle, Errno> {
        // Of the encoded input nothing else can be long that was not checked before.
        if host.len() > HOST_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        self.check_egress(&host, port)?;
        let name = server_name(&host)?;
        self.add_work(WORK_CRYPTO);
        self.context.config.meter.add_egress(TLS_CONNECT_BYTES);
        let memory = self.charge_memory(TLS_STREAM_BYTES + bytes)?;
        let tls = TlsClient {
            name,
            config,
            memory,
        };
        self.dial(host, port, Some(tls))
    }

    fn dial(&mut self, host: String, port: u16, tls: Option<TlsClient>) -> Result<Handle, Errno> {
        self.check_room()?;
        let attempt = Connecting::start(self.dialer.clone(), host, port, tls);
        let attempt = attempt.map_err(|reason| self.lack(&reason))?;
        Ok(self.resources.insert(Resource::Connecting(attempt))?)
    }
}
