//! Calls of the family `listen`: options of listeners and of streams.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use wapo_abi::message::{ListenOptions, TlsServerConfig};
use wapo_abi::{Errno, NetFailure};

use super::net::TlsIdentity;
use super::{WORK_SYSCALL, family};
use crate::limits::{KEEPALIVE_SECS_MAX, LISTEN_BACKLOG};
use crate::net::failure::Failure;
use crate::net::port::{Setup, SocketOption};
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

/// Options of a stream, by their numbers.
const NODELAY: u16 = 1;
const KEEPALIVE: u16 = 2;

impl family::listen::Calls for InstanceState {
    fn tcp_listen_with(
        &mut self,
        addr: String,
        tls: Option<TlsServerConfig>,
        options: ListenOptions,
    ) -> Result<Handle, Errno> {
        let setup = self.setup(&addr, options)?;
        self.listen(&addr, tls.map(TlsIdentity::Provided), setup)
    }

    fn stream_option(&mut self, handle: Handle, option: u16, value: i32) -> Result<(), Errno> {
        self.add_work(WORK_SYSCALL);
        let Resource::Stream(stream) = self.resources.get(handle)? else {
            return Err(Errno::UNSUPPORTED_OPERATION);
        };
        let option = match (option, value) {
            (NODELAY, 0 | 1) => Ok(SocketOption::Nodelay(value == 1)),
            (KEEPALIVE, 0) => Ok(SocketOption::Keepalive(None)),
            (KEEPALIVE, secs) => {
                let secs = u32::try_from(secs).map_err(|_| Errno::INVALID_PARAMETER);
                let time = secs.and_then(keepalive_time);
                time.map(|time| SocketOption::Keepalive(Some(time)))
            }
            _ => Err(Errno::INVALID_PARAMETER),
        };
        match stream.set_option(option?) {
            None => Err(Errno::UNSUPPORTED_OPERATION),
            Some(set) => set.map_err(|_| Errno::IO_ERROR),
        }
    }
}

impl InstanceState {
    /// What options say of a port.
    pub(super) fn setup(&mut self, addr: &str, options: ListenOptions) -> Result<Setup, Errno> {
        let ListenOptions::V0 {
            backlog,
            nodelay,
            keepalive_secs,
            proxy_header,
        } = options;
        self.add_work(WORK_SYSCALL);
        let backlog = backlog.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        if backlog.is_some_and(|count| !(1..=LISTEN_BACKLOG).contains(&count)) {
            return Err(Errno::INVALID_PARAMETER);
        }
        let keepalive = keepalive_secs.map(keepalive_time).transpose()?;
        Ok(Setup {
            backlog,
            nodelay,
            keepalive,
            proxies: match proxy_header {
                true => Some(self.trusted_proxies(addr)?),
                false => None,
            },
        })
    }

    /// Proxies whose headers a listener of this app may take.
    fn trusted_proxies(&mut self, addr: &str) -> Result<Arc<[IpNet]>, Errno> {
        if self.context.config.trusted_proxies.is_empty() {
            let text = format!(
                "cannot listen on {addr}: not allowed: this worker takes no PROXY headers on ports of apps; wapod --proxy-protocol apps and --trusted-proxies allow them"
            );
            self.refuse(Failure::new(NetFailure::LISTEN_DENIED, text));
            return Err(Errno::FORBIDDEN);
        }
        Ok(Arc::clone(&self.context.config.trusted_proxies))
    }
}

fn keepalive_time(secs: u32) -> Result<Duration, Errno> {
    match (1..=KEEPALIVE_SECS_MAX).contains(&secs) {
        true => Ok(Duration::from_secs(u64::from(secs))),
        false => Err(Errno::INVALID_PARAMETER),
    }
}
