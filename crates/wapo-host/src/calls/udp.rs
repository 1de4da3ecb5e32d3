//! Calls of the family `udp`: datagrams.
//!
//! Policy comes first, as in `net`: ports against the instance's range before
//! anything is bound, and the address of each datagram against the egress policy
//! before it is sent (`net::udp`). What the kernel does for each datagram is counted
//! as work, so that a flood in either direction ends the guest's slice.

use std::net::SocketAddr;
use std::task::Poll;

use wapo_abi::datagram::{HEADER_BYTES, PAYLOAD_BYTES_MAX};
use wapo_abi::{Errno, NetFailure, WakerId};

use super::task::{WAY_IN, WAY_OUT, allow, poll_lazily};
use super::{WORK_SOCKET, WORK_SYSCALL, family, work_moved};
use crate::descriptors::LISTENER_DESCRIPTORS;
use crate::limits::UDP_SOCKET_BYTES;
use crate::net::failure::Failure;
use crate::net::policy::Denied;
use crate::net::udp::{Means, Reach, SendError, Tally, Udp};
use crate::net::udp_connect::ConnectError;
use crate::quotas::QuotaKind;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;
use crate::wake::LazyWaker;

/// Host time of receiving a datagram that is there, in fuel's worth.
const WORK_RECEIVED: u64 = WORK_SYSCALL;
/// Host time of sending a datagram: on loopback the kernel delivers it, too.
const WORK_SENT: u64 = 2 * WORK_SYSCALL;
/// Host time of putting an address to the egress policy.
const WORK_CHECK: u64 = WORK_SYSCALL;

impl family::udp::Calls for InstanceState {
    fn udp_bind(&mut self, addr: &str) -> Result<Handle, Errno> {
        self.add_work(WORK_SOCKET);
        let address: SocketAddr = addr.parse().map_err(|_| Errno::INVALID_PARAMETER)?;
        if self.dialer.proxies.forbid_datagrams() {
            let denied = self.dialer.deny_datagrams(addr);
            self.refuse(Failure::from(&denied));
            return Err(Errno::FORBIDDEN);
        }
        let (reach, address) = self.udp_address(address)?;
        self.check_room()?;
        let permit = match reach {
            Reach::Port => self.take_descriptors(LISTENER_DESCRIPTORS)?,
            Reach::Client => self.take_socket(QuotaKind::ConnectionsOut, 1)?,
        };
        let means = Means {
            _permit: permit,
            _memory: self.charge_memory(UDP_SOCKET_BYTES)?,
            activity: self.context.control.connections.add(),
        };
        self.keep_room()?;
        let bound = match reach {
            Reach::Port => self.context.embedder.listen_udp(self.context.id, address),
            Reach::Client => crate::net::bind_udp(address),
        };
        let udp = bound.and_then(|bound| {
            // Port 0 has become a number.
            let address = bound.local_addr().unwrap_or(address);
            let udp = Udp::new(bound, reach, means);
            if udp.is_err() && reach == Reach::Port {
                // What the embedder keeps of it must not outlive the failure.
                self.context.embedder.unlisten_udp(self.context.id, address);
            }
            udp
        });
        let udp = udp.map_err(|error| {
            self.resources.release();
            let mut failure = Failure::from(&error);
            if failure.kind == NetFailure::DENIED {
                failure.kind = NetFailure::LISTEN_DENIED;
            }
            self.refuse(failure.while_doing(&format!("cannot listen on {address}, UDP")));
            Errno::IO_ERROR
        })?;
        if let Some(address) = udp.local_address().filter(|_| reach == Reach::Port) {
            self.context.announce_udp(address);
        }
        Ok(self.resources.insert(Resource::Udp(Box::new(udp)))?)
    }

    fn udp_connect(&mut self, waker: WakerId, handle: Handle, target: &str) -> Result<(), Errno> {
        self.add_work(WORK_SOCKET);
        // The fields are borrowed one by one: the waker holds two of them. It is
        // made whatever follows, so that the guest hears of its release.
        let lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        let Resource::Udp(udp) = self.resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        let dialer = &self.dialer;
        let outcome = poll_lazily(lazy, |cx| udp.poll_connect(cx, target, dialer));
        match outcome {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) => Err(self.cannot_connect(handle, error)),
            Poll::Pending => Err(Errno::PENDING),
        }
    }

    fn udp_send(&mut self, waker: WakerId, handle: Handle, data: &[u8]) -> Result<usize, Errno> {
        self.add_work(WORK_SYSCALL);
        let mut lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        let Resource::Udp(udp) = self.resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        let dialer = &self.dialer;
        // A batch goes as a whole, and may overdraw the rate once.
        let rates = &mut self.rate_waits;
        allow(rates, dialer, handle, WAY_OUT, data.len(), &mut lazy)?;
        let mut tally = Tally::default();
        let sent = poll_lazily(lazy, |cx| udp.poll_send(cx, data, dialer, &mut tally));
        self.add_work(WORK_SENT * tally.datagrams + WORK_CHECK * tally.checks);
        self.add_work(tally.work_moved());
        if tally.datagrams > 0 {
            self.context.config.meter.add_egress(tally.bytes());
            self.context.control.note_io();
        }
        match sent {
            Poll::Ready(Ok(count)) => Ok(count),
            Poll::Ready(Err(error)) => Err(self.cannot_send(handle, error)),
            Poll::Pending => Err(Errno::PENDING),
        }
    }

    fn udp_recv(
        &mut self,
        waker: WakerId,
        handle: Handle,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        self.add_work(WORK_SYSCALL);
        let mut lazy = LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker);
        let Resource::Udp(udp) = self.resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        if buffer.len() < HEADER_BYTES {
            return Err(Errno::INVALID_PARAMETER);
        }
        // Another socket of the port takes it, or none does.
        if udp.reach() == Reach::Port && self.context.control.is_leaving() {
            return Err(Errno::PENDING);
        }
        let (rates, dialer) = (&mut self.rate_waits, &self.dialer);
        allow(rates, dialer, handle, WAY_IN, buffer.len(), &mut lazy)?;
        let mut tally = Tally::default();
        let received = poll_lazily(lazy, |cx| udp.poll_recv(cx, buffer, &mut tally));
        self.add_work(WORK_RECEIVED * tally.datagrams + tally.work_moved());
        if tally.datagrams > 0 {
            self.context.config.meter.add_ingress(tally.bytes());
            self.context.control.note_io();
        }
        self.io_outcome(handle, received)
    }

    fn local_addr(&mut self, handle: Handle) -> Result<String, Errno> {
        self.add_work(WORK_SYSCALL);
        let address = match self.resources.get(handle)? {
            Resource::Udp(udp) => udp.local_address(),
            Resource::Listener(listener) => listener.local_address(),
            _ => None,
        };
        let address = address.ok_or(Errno::UNSUPPORTED_OPERATION)?;
        Ok(address.to_string())
    }
}

impl Tally {
    /// Host time of moving the bytes.
    fn work_moved(self) -> u64 {
        work_moved(usize::try_from(self.bytes()).unwrap_or(usize::MAX))
    }
}

impl InstanceState {
    /// What a guest gets when it asks for this address.
    fn udp_address(&mut self, address: SocketAddr) -> Result<(Reach, SocketAddr), Errno> {
        let ports = self.context.config.listen_ports.as_ref();
        if address.port() != 0 || ports.is_some_and(|ports| ports.contains(0)) {
            return Ok((Reach::Port, self.allowed_address(address)?));
        }
        let ip = address.ip();
        if self.context.config.listen_on_loopback && !ip.is_unspecified() && !ip.is_loopback() {
            return Err(self.deny_listening(address, "this app listens on loopback only"));
        }
        Ok((Reach::Client, address))
    }

    fn deny(&mut self, handle: Handle, denied: &Denied) -> Errno {
        // Making and writing the reason is most of the work.
        self.add_work(WORK_SOCKET);
        self.refuse(Failure::from(denied));
        self.fail(handle, Failure::from(denied));
        Errno::FORBIDDEN
    }

    fn cannot_connect(&mut self, handle: Handle, error: ConnectError) -> Errno {
        match error {
            ConnectError::BadTarget => Errno::INVALID_PARAMETER,
            ConnectError::DeniedName(denied) => self.deny(handle, &denied),
            ConnectError::Lack(reason) => {
                let errno = self.lack(&reason);
                self.fail(handle, Failure::new(NetFailure::LIMIT, reason.to_string()));
                errno
            }
            ConnectError::Failed(failure) => {
                let errno = match failure.kind {
                    NetFailure::DENIED => Errno::FORBIDDEN,
                    _ => Errno::IO_ERROR,
                };
                self.fail(handle, failure);
                errno
            }
        }
    }

    fn cannot_send(&mut self, handle: Handle, error: SendError) -> Errno {
        match error {
            SendError::Malformed => return Errno::INVALID_PARAMETER,
            SendError::Denied(denied) => return self.deny(handle, &denied),
            SendError::TooLong => {
                let text = format!("a datagram has at most {PAYLOAD_BYTES_MAX} bytes");
                self.fail(handle, Failure::new(NetFailure::LIMIT, text));
            }
            SendError::NoAddress => {
                let text = "the socket is not connected: name an address, or connect it";
                self.fail(handle, Failure::new(NetFailure::OTHER, text));
            }
            SendError::Io(error) => self.fail(handle, Failure::from(&error)),
        }
        Errno::IO_ERROR
    }
}
