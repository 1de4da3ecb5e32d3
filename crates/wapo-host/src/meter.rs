//! What an app uses, counted while it runs.
//!
//! A [`Meter`] belongs to one app or one instance, as the embedder likes; the
//! host only adds to it. [`Meter::read`] gives a consistent-enough [`Usage`] at
//! any time; nothing is counted anywhere else, so nothing is counted twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Live counters. All additions saturate in practice: 64 bits of each unit.
#[derive(Debug, Default)]
pub struct Meter {
    gas: AtomicU64,
    network_ingress_bytes: AtomicU64,
    network_egress_bytes: AtomicU64,
    storage_read_bytes: AtomicU64,
    storage_written_bytes: AtomicU64,
    tip: AtomicU64,
    starts: AtomicU64,
    restarts: AtomicU64,
    requests: AtomicU64,
    egress_denied: AtomicU64,
    egress_audited: AtomicU64,
    /// What lasts. Changes are rare (an instance comes, grows or goes), so a
    /// lock is cheap here, and no host call but a growing memory takes it.
    held: Mutex<Held>,
}

/// What the egress policy refused, as far as a [`Meter`] knows. No part of a bill.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EgressRefusals {
    /// Refused.
    pub denied: u64,
    /// Would have been refused, if the worker did not only audit.
    pub audited: u64,
}

/// A reading of a [`Meter`], or the sum of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Gas: 1024 fuel each, plus the prices of host calls.
    pub gas: u64,
    /// Bytes received from the network.
    pub network_ingress_bytes: u64,
    /// Bytes sent to the network.
    pub network_egress_bytes: u64,
    /// Bytes of blobs and sealed records that the guest has read.
    pub storage_read_bytes: u64,
    /// Bytes of sealed records that the guest has written.
    pub storage_written_bytes: u64,
    /// What the app offered its worker.
    pub tip: u64,
    /// How often an instance was started, restarts included.
    pub starts: u64,
    /// How often an instance was started again after it had ended by itself.
    pub restarts: u64,
    /// Queries and HTTP requests handed to the guest.
    pub requests: u64,
    /// Instances that exist right now.
    pub instances: u64,
    /// Linear memory in use right now.
    pub memory_bytes: u64,
    /// Linear memory over time, in bytes × microseconds. Exact, so that the sum
    /// of many short lives is not lost in rounding.
    pub memory_byte_us: u128,
    /// Life time of all instances together, in microseconds; pauses before a
    /// restart do not count.
    pub running_us: u64,
}

impl Usage {
    /// Both together. A sum that does not fit stays at the largest number.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self {
            gas: self.gas.saturating_add(other.gas),
            network_ingress_bytes: self
                .network_ingress_bytes
                .saturating_add(other.network_ingress_bytes),
            network_egress_bytes: self
                .network_egress_bytes
                .saturating_add(other.network_egress_bytes),
            storage_read_bytes: self
                .storage_read_bytes
                .saturating_add(other.storage_read_bytes),
            storage_written_bytes: self
                .storage_written_bytes
                .saturating_add(other.storage_written_bytes),
            tip: self.tip.saturating_add(other.tip),
            starts: self.starts.saturating_add(other.starts),
            restarts: self.restarts.saturating_add(other.restarts),
            requests: self.requests.saturating_add(other.requests),
            instances: self.instances.saturating_add(other.instances),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            memory_byte_us: self.memory_byte_us.saturating_add(other.memory_byte_us),
            running_us: self.running_us.saturating_add(other.running_us),
        }
    }
}

/// What instances hold now, and what that has come to over time.
#[derive(Debug)]
struct Held {
    memory_bytes: u64,
    instances: u64,
    /// Sums up to `at`, in nanoseconds: a life may be shorter than a microsecond.
    memory_byte_ns: u128,
    running_ns: u128,
    at: Instant,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            memory_bytes: 0,
            instances: 0,
            memory_byte_ns: 0,
            running_ns: 0,
            at: Instant::now(),
        }
    }
}

impl Held {
    /// Brings the sums up to `now`. To be called before anything changes.
    fn advance(&mut self, now: Instant) {
        let passed_ns = now.saturating_duration_since(self.at).as_nanos();
        self.at = now;
        let add =
            |sum: u128, held: u64| sum.saturating_add(u128::from(held).saturating_mul(passed_ns));
        self.memory_byte_ns = add(self.memory_byte_ns, self.memory_bytes);
        self.running_ns = add(self.running_ns, self.instances);
    }
}

impl Meter {
    /// Reads all counters, those over time up to this moment.
    pub fn read(&self) -> Usage {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let held = self.held();
        Usage {
            gas: load(&self.gas),
            network_ingress_bytes: load(&self.network_ingress_bytes),
            network_egress_bytes: load(&self.network_egress_bytes),
            storage_read_bytes: load(&self.storage_read_bytes),
            storage_written_bytes: load(&self.storage_written_bytes),
            tip: load(&self.tip),
            starts: load(&self.starts),
            restarts: load(&self.restarts),
            requests: load(&self.requests),
            instances: held.instances,
            memory_bytes: held.memory_bytes,
            memory_byte_us: held.memory_byte_ns / 1_000,
            running_us: u64::try_from(held.running_ns / 1_000).unwrap_or(u64::MAX),
        }
    }

    /// Reads what the egress policy refused.
    pub fn egress_refusals(&self) -> EgressRefusals {
        EgressRefusals {
            denied: self.egress_denied.load(Ordering::Relaxed),
            audited: self.egress_audited.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn add_egress_denied(&self) {
        self.egress_denied.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_egress_audited(&self) {
        self.egress_audited.fetch_add(1, Ordering::Relaxed);
    }

    /// Gas so far.
    pub(crate) fn gas(&self) -> u64 {
        self.gas.load(Ordering::Relaxed)
    }

    /// Bytes received so far.
    pub(crate) fn ingress_bytes(&self) -> u64 {
        self.network_ingress_bytes.load(Ordering::Relaxed)
    }

    /// Bytes sent so far.
    pub(crate) fn egress_bytes(&self) -> u64 {
        self.network_egress_bytes.load(Ordering::Relaxed)
    }

    /// What instances hold, its sums brought up to now.
    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is locked.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.advance(Instant::now());
        held
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

    pub(crate) fn add_storage_read(&self, bytes: u64) {
        self.storage_read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_storage_written(&self, bytes: u64) {
        self.storage_written_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_tip(&self, amount: u64) {
        let add = |tip: u64| Some(tip.saturating_add(amount));
        // The update never refuses, so there is no error to look at.
        let _ = self
            .tip
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(crate) fn add_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// An instance begins; [`instance_gone`](Self::instance_gone) ends it.
    pub(crate) fn instance_begins(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.held().instances += 1;
    }

    /// An instance is gone, and with it so much memory.
    pub(crate) fn instance_gone(&self, memory_bytes: u64) {
        let mut held = self.held();
        held.instances = held.instances.saturating_sub(1);
        held.memory_bytes = held.memory_bytes.saturating_sub(memory_bytes);
    }

    pub(crate) fn memory_changed(&self, before_bytes: u64, after_bytes: u64) {
        let mut held = self.held();
        let without = held.memory_bytes.saturating_sub(before_bytes);
        held.memory_bytes = without.saturating_add(after_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
        meter.instance_gone(64);
        assert_eq!(meter.read().memory_bytes, 0);
    }

    #[test]
    fn time_counts_for_what_was_held_meanwhile() {
        let mut held = Held::default();
        let mut now = held.at;
        let mut pass = |held: &mut Held, time| {
            now += time;
            held.advance(now);
        };
        pass(&mut held, Duration::from_secs(5));
        (held.memory_bytes, held.instances) = (2 << 20, 1);
        pass(&mut held, Duration::from_millis(1_500));
        (held.memory_bytes, held.instances) = (6 << 20, 2);
        pass(&mut held, Duration::from_nanos(500));
        pass(&mut held, Duration::from_millis(500));
        (held.memory_bytes, held.instances) = (0, 0);
        pass(&mut held, Duration::from_secs(5));
        assert_eq!(
            held.memory_byte_ns,
            (2 << 20) * 1_500_000_000 + (6 << 20) * 500_000_500
        );
        assert_eq!(held.running_ns, 1_500_000_000 + 2 * 500_000_500);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_adds_nothing() {
        let mut held = Held {
            memory_bytes: u64::MAX,
            instances: 1,
            ..Held::default()
        };
        let begun = held.at + Duration::from_secs(1);
        held.advance(begun);
        let sums = (held.memory_byte_ns, held.running_ns);
        held.advance(begun);
        held.advance(
            begun
                .checked_sub(Duration::from_millis(1))
                .expect("later than boot"),
        );
        assert_eq!((held.memory_byte_ns, held.running_ns), sums);
    }

    #[test]
    fn usages_add_up_and_do_not_overflow() {
        let one = Usage {
            gas: 1,
            network_ingress_bytes: 2,
            network_egress_bytes: 3,
            storage_read_bytes: 4,
            storage_written_bytes: 5,
            tip: 6,
            starts: 7,
            restarts: 8,
            requests: 9,
            instances: 9,
            memory_bytes: 10,
            memory_byte_us: 11,
            running_us: 12,
        };
        let two = Usage {
            gas: 2,
            network_ingress_bytes: 4,
            network_egress_bytes: 6,
            storage_read_bytes: 8,
            storage_written_bytes: 10,
            tip: 12,
            starts: 14,
            restarts: 16,
            requests: 18,
            instances: 18,
            memory_bytes: 20,
            memory_byte_us: 22,
            running_us: 24,
        };
        assert_eq!(one.saturating_add(one), two);
        assert_eq!(one.saturating_add(Usage::default()), one);
        let most = Usage {
            gas: u64::MAX,
            memory_byte_us: u128::MAX,
            ..Usage::default()
        };
        let sum = most.saturating_add(one);
        assert_eq!(
            (sum.gas, sum.memory_byte_us, sum.tip),
            (u64::MAX, u128::MAX, 6)
        );
    }
}
