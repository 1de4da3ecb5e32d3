//! Sources of streams: TCP listeners, with or without TLS, and SNI listeners.
//!
//! Listeners are made non-blocking by the call itself: binding does not wait.
//! Called by `tcp_listen`, `tls_listen_sni` and the `tcp_accept` calls.
//!
//! # One port, several instances
//!
//! An embedder may give clones of one socket to several instances. There is no queue
//! of ours in front of it: each instance takes a connection at the moment its guest
//! asks for one, so a busy guest takes none, and connections that were not taken yet
//! stay with the kernel, where every instance can take them. A connection handed over
//! in advance would be lost with the instance that got it.
//!
//! No wakeup can get lost on the way. Each clone is registered by itself, and
//! without `EPOLLEXCLUSIVE` the kernel reports each new connection to all of
//! them; a registration forgets what it was told only after an `accept` of its
//! own has found nothing, and closing one says nothing to the others. A listener that
//! is told and does not look, because it is slow, stopped or not interested,
//! therefore takes nothing from one that looks. The price is that idle instances
//! wake up for a connection that only one of them gets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::connections::{Activity, Connections};
use crate::descriptors::DescriptorPermit;
use crate::embedder::{Accepted, AcceptedIo, SniListener};
use crate::host_memory::MemoryCharge;
use crate::limits::TLS_STREAM_BYTES;
use crate::net::dialer::Dialer;
use crate::net::port::{Port, Setup};
use crate::net::stream::Stream;
use crate::net::tls::{Held, TlsStream};
use crate::net::tls_server::ServerIdentity;
use crate::quotas::QuotaKind;

/// Bytes charged for an accepted TCP connection.
const ACCEPT_BYTES: u64 = 128;
/// Bytes charged, each way, for an accepted TLS connection.
const TLS_ACCEPT_BYTES: u64 = 1024;

/// What a connection that is accepted needs; taken before it is accepted.
pub(crate) struct Means {
    pub(crate) permit: Option<DescriptorPermit>,
    /// For TLS, and for what was read before the guest had the connection.
    pub(crate) memory: Option<MemoryCharge>,
}

impl Means {
    /// Takes what a connection needs.
    ///
    /// # Errors
    ///
    /// What there is too little of, for the app's log.
    pub(crate) fn take(dialer: &Dialer, takes_memory: bool) -> Result<Self, String> {
        let quota = dialer.quotas.take(QuotaKind::ConnectionsIn, 1);
        let quota = quota.map_err(|reason| reason.to_string())?;
        let permit = dialer.descriptors.take(1);
        let memory = takes_memory.then(|| dialer.memory.charge(TLS_STREAM_BYTES));
        let permit = permit.map_err(|reason| reason.to_string())?;
        Ok(Self {
            permit: Some(permit.with(quota)),
            memory: memory.transpose().map_err(|reason| reason.to_string())?,
        })
    }
}

/// Yields streams to a guest.
pub(crate) enum Listener {
    /// A port of its own.
    Tcp {
        listener: Port,
        /// Speaks TLS on accepted connections.
        tls: Option<Arc<ServerIdentity>>,
        _permit: DescriptorPermit,
    },
    /// A name on the shared TLS port.
    Sni {
        listener: Box<dyn SniListener>,
        /// As the guest wrote it.
        name: Arc<str>,
        _permit: DescriptorPermit,
    },
}

/// A connection that was accepted.
pub(crate) struct Incoming {
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    /// The name that its client has asked for, on the shared TLS port.
    pub(crate) server_name: Option<Arc<str>>,
    /// It is one of the instance's.
    pub(crate) activity: Arc<Activity>,
}

impl Listener {
    /// Takes over a port of its own, or a clone of one that it shares.
    ///
    /// # Errors
    ///
    /// When the system refuses to watch it.
    pub(crate) fn tcp(
        listener: std::net::TcpListener,
        tls: Option<Arc<ServerIdentity>>,
        permit: DescriptorPermit,
        setup: Setup,
    ) -> io::Result<Self> {
        Ok(Self::Tcp {
            listener: Port::new(listener, setup)?,
            tls,
            _permit: permit,
        })
    }

    /// The bound address of a port of its own.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { listener, .. } => listener.local_address(),
            Self::Sni { .. } => None,
        }
    }

    /// Whether it yields something even if it takes nothing more from the kernel,
    /// which is so from now on. Connections for a name are the embedder's: it gives
    /// none to an instance that leaves.
    pub(crate) fn goes_on(&mut self) -> bool {
        match self {
            Self::Tcp { listener, .. } => listener.goes_on(),
            Self::Sni { .. } => true,
        }
    }

    /// The name on the shared TLS port, as the guest wrote it.
    pub(crate) fn server_name(&self) -> Option<Arc<str>> {
        match self {
            Self::Tcp { .. } => None,
            Self::Sni { name, .. } => Some(Arc::clone(name)),
        }
    }

    /// Whether the host keeps something for what it yields: a TLS stream, or what
    /// was read of it before.
    pub(crate) fn takes_memory(&self) -> bool {
        match self {
            Self::Tcp { tls, .. } => tls.is_some(),
            Self::Sni { .. } => true,
        }
    }

    /// The next connection. What it needs is taken with it.
    ///
    /// # Errors
    ///
    /// As the system says when accepting failed (the listener lives on),
    /// [`io::ErrorKind::UnexpectedEof`] when an SNI name is gone.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        dialer: &Dialer,
        connections: &Connections,
        means: &mut Means,
    ) -> Poll<io::Result<Incoming>> {
        let meter = &dialer.meter;
        match self {
            Self::Tcp { listener, tls, .. } => {
                let (tcp, peer) = ready!(listener.poll_accept(cx, connections))?;
                let permit = take(&mut means.permit)?;
                meter.add_ingress(ACCEPT_BYTES);
                let stream = match tls {
                    None => Stream::Tcp {
                        io: tcp,
                        _permit: permit,
                    },
                    Some(identity) => {
                        meter.add_ingress(TLS_ACCEPT_BYTES);
                        meter.add_egress(TLS_ACCEPT_BYTES);
                        let identity = Arc::clone(identity);
                        let held = Held {
                            permit,
                            memory: take(&mut means.memory)?,
                            guard: None,
                        };
                        Stream::Tls(Box::new(TlsStream::accept(dialer, identity, tcp, held)))
                    }
                };
                Poll::Ready(Ok(Incoming {
                    stream,
                    peer,
                    server_name: None,
                    activity: connections.add(),
                }))
            }
            Self::Sni { listener, .. } => {
                // Counted before the embedder lets go of it: nobody may take the instance for
                // idle in between.
                let activity = connections.add();
                let accepted = ready!(listener.poll_accept(cx));
                let accepted =
                    accepted.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
                meter.add_ingress(TLS_ACCEPT_BYTES);
                meter.add_egress(TLS_ACCEPT_BYTES);
                Poll::Ready(Ok(Incoming {
                    peer: accepted.peer,
                    server_name: Some(Arc::clone(&accepted.server_name)),
                    stream: of_name(accepted, means)?,
                    activity,
                }))
            }
        }
    }
}

/// The stream of a connection that has come under a name.
fn of_name(accepted: Accepted, means: &mut Means) -> io::Result<Stream> {
    let permit = take(&mut means.permit)?;
    let memory = take(&mut means.memory)?;
    Ok(match accepted.io {
        AcceptedIo::Tls(io) => {
            let held = Held {
                permit,
                memory,
                guard: Some(accepted.guard),
            };
            Stream::Tls(Box::new(TlsStream::opened(io, held)))
        }
        AcceptedIo::Raw { first, tcp } => Stream::Raw {
            first,
            io: tcp,
            memory: Some(memory),
            _permit: permit,
            _guard: accepted.guard,
        },
    })
}

fn take<T>(what: &mut Option<T>) -> io::Result<T> {
    what.take()
        .ok_or_else(|| io::ErrorKind::QuotaExceeded.into())
}
