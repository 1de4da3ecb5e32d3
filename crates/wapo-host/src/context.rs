//! What every running guest has, whatever its ABI: who it is, how it is set up, its
//! switches, log, status and meter, and the memory that it was granted.
//!
//! The first part of a guest's state (`state`); the limiter of its store. Touched by
//! the instance's task only.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use wapo_abi::message::LogLevel;
use wasmtime::ResourceLimiter;

use crate::budget::MemoryShare;
use crate::control::Control;
use crate::embedder::{Embedder, InstanceId, LogSource};
use crate::instance::{InstanceConfig, ListenAddress, Status};
use crate::limits::{SLICE_FUEL, TABLE_ELEMENTS_MAX};
use crate::logs::Logger;
use crate::net::listener::Listener;
use crate::net::udp::{Reach, Udp};

/// Bytes of one element of a table: wasmtime keeps a pointer.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// What every running guest has, whatever its ABI.
pub(crate) struct InstanceContext {
    pub(crate) id: InstanceId,
    pub(crate) config: InstanceConfig,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) control: Arc<Control>,
    pub(crate) logger: Logger,
    pub(crate) status: Arc<watch::Sender<Status>>,
    /// Linear memory as granted.
    pub(crate) memory_bytes: u64,
    /// The smaller of the limits of instance and engine.
    pub(crate) memory_max_bytes: u64,
    /// What the instance has of the engine's budget.
    pub(crate) memory_share: MemoryShare,
    /// Bytes that the budget refused last.
    pub(crate) memory_refused: Option<u64>,
}

impl InstanceContext {
    /// The fuel after which the guest has to let others run.
    pub(crate) fn slice_fuel(&self) -> u64 {
        SLICE_FUEL.saturating_mul(u64::from(self.config.weight.get()))
    }

    /// Tells the embedder that the guest listens somewhere.
    pub(crate) fn announce_listener(&self, address: Option<SocketAddr>, tls: bool) {
        if let Some(address) = address {
            self.status
                .send_modify(|status| status.listening.push(ListenAddress { address, tls }));
        }
    }

    /// Tells the embedder that the guest serves a name.
    pub(crate) fn announce_name(&self, name: &Arc<str>) {
        self.status
            .send_modify(|status| status.names.push(Arc::clone(name)));
    }

    /// Closes a listener and tells the embedder that the guest no longer listens
    /// there.
    pub(crate) fn close_listener(&self, listener: Listener) {
        let (address, name) = (listener.local_address(), listener.server_name());
        // First, so that nobody is told of a port that is still open.
        drop(listener);
        if let Some(address) = address {
            self.status
                .send_modify(|status| status.listening.retain(|entry| entry.address != address));
            self.embedder.unlisten_tcp(self.id, address);
        }
        if let Some(name) = name {
            self.status.send_modify(|status| {
                let served = status.names.iter().position(|entry| *entry == name);
                served.map(|index| status.names.swap_remove(index));
            });
            self.embedder.unlisten_sni(self.id, &name);
        }
    }

    /// Tells the embedder that the guest takes datagrams somewhere.
    pub(crate) fn announce_udp(&self, address: SocketAddr) {
        self.status
            .send_modify(|status| status.listening_udp.push(address));
    }

    /// Closes a UDP socket and tells the embedder, unless it was a client's.
    pub(crate) fn close_udp(&self, udp: Udp) {
        let address = udp.local_address();
        let is_port = udp.reach() == Reach::Port;
        // First, so that nobody is told of a port that is still open.
        drop(udp);
        if let Some(address) = address.filter(|_| is_port) {
            self.status
                .send_modify(|status| status.listening_udp.retain(|entry| *entry != address));
            self.embedder.unlisten_udp(self.id, address);
        }
    }

    /// Exchanges a part of the engine's memory; the first refusal is logged.
    fn exchange_share(&mut self, before_bytes: u64, after_bytes: u64) -> bool {
        let granted = self.memory_share.exchange(before_bytes, after_bytes);
        if !granted {
            let wanted = after_bytes - before_bytes;
            if self.memory_refused.replace(wanted).is_none() {
                let text = self.memory_share.refusal(wanted);
                self.log_event(LogLevel::Warn, &text);
            }
        }
        granted
    }

    /// Writes a line about the instance itself to the app's log.
    pub(crate) fn log_event(&self, level: LogLevel, text: &str) {
        self.logger.write(LogSource::Lifecycle, level, text);
    }

    /// The guest has ended, and this much of its gas is not with the meter yet. Its
    /// resources are closed after this.
    pub(crate) fn end(&self, unpublished_gas: u64) {
        self.config.meter.instance_gone(self.memory_bytes);
        self.control.set_memory_bytes(0);
        self.control.stack().ends();
        self.config.meter.add_gas(unpublished_gas);
        self.embedder.instance_ended(self.id);
    }
}

impl ResourceLimiter for InstanceContext {
    // What was granted and then not to be had (the kernel refused) stays counted
    // until the next attempt: it starts from what was granted.
    fn memory_growing(
        &mut self,
        _current_bytes: usize,
        desired_bytes: usize,
        maximum_bytes: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let desired = desired_bytes as u64;
        if desired > self.memory_max_bytes
            || maximum_bytes.is_some_and(|maximum| desired_bytes > maximum)
            || !self.exchange_share(self.memory_bytes, desired)
        {
            return Ok(false);
        }
        self.config.meter.memory_changed(self.memory_bytes, desired);
        self.memory_bytes = desired;
        self.control.set_memory_bytes(desired);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current_elements: usize,
        desired_elements: usize,
        maximum_elements: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired_elements > TABLE_ELEMENTS_MAX
            || maximum_elements.is_some_and(|maximum| desired_elements > maximum)
        {
            return Ok(false);
        }
        let bytes = |elements: usize| (elements * TABLE_ELEMENT_BYTES) as u64;
        Ok(self.exchange_share(bytes(current_elements), bytes(desired_elements)))
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        crate::limits::TABLES_MAX as usize
    }
}
