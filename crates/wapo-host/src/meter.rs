//! What an app uses, counted while it runs.
//!
//! A [`Meter`] belongs to one app or one instance, as the embedder likes; the
//! host only adds to it. [`Meter::read`] gives a consistent-enough [`Usage`] at
//! any time; nothing is counted anywhere else, so nothing is counted twice.

use std::sync::atomic::{AtomicU64, Ordering};

/// Live counters. All additions saturate in practice: 64 bits of each unit.
#[derive(Debug, Default)]
pub struct Meter {
    gas: AtomicU64,
    network_ingress_bytes: AtomicU64,
    network_egress_bytes: AtomicU64,
    tip: AtomicU64,
    starts: AtomicU64,
    requests: AtomicU64,
    memory_bytes: AtomicU64,
}

/// A reading of a [`Meter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Gas: 1024 fuel each, plus the prices of host calls.
    pub gas: u64,
    /// Bytes received from the network.
    pub network_ingress_bytes: u64,
    /// Bytes sent to the network.
    pub network_egress_bytes: u64,
    /// What the app offered its worker.
    pub tip: u64,
    /// How often an instance was started, restarts included.
    pub starts: u64,
    /// Queries and HTTP requests handed to the guest.
    pub requests: u64,
    /// Linear memory in use right now.
    pub memory_bytes: u64,
}

impl Meter {
    /// Reads all counters.
    pub fn read(&self) -> Usage {
        Usage {
            gas: self.gas.load(Ordering::Relaxed),
            network_ingress_bytes: self.network_ingress_bytes.load(Ordering::Relaxed),
            network_egress_bytes: self.network_egress_bytes.load(Ordering::Relaxed),
            tip: self.tip.load(Ordering::Relaxed),
            starts: self.starts.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn add_gas(&self, gas: u64) {
        self.gas.fetch_add(gas, Ordering::Relaxed);
    }

    pub(crate) fn add_ingress(&self, bytes: u64) {
        self.network_ingress_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_egress(&self, bytes: u64) {
        self.network_egress_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_tip(&self, amount: u64) {
        let add = |tip: u64| Some(tip.saturating_add(amount));
        // The update never refuses, so there is no error to look at.
        let _ = self
            .tip
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(crate) fn add_start(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn memory_changed(&self, before_bytes: u64, after_bytes: u64) {
        if after_bytes >= before_bytes {
            self.memory_bytes
                .fetch_add(after_bytes - before_bytes, Ordering::Relaxed);
        } else {
            self.memory_bytes
                .fetch_sub(before_bytes - after_bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tips_saturate() {
        let meter = Meter::default();
        meter.add_tip(u64::MAX);
        meter.add_tip(1);
        assert_eq!(meter.read().tip, u64::MAX);
    }

    #[test]
    fn memory_follows_both_directions() {
        let meter = Meter::default();
        meter.memory_changed(0, 128);
        meter.memory_changed(128, 64);
        assert_eq!(meter.read().memory_bytes, 64);
    }
}
