//! What one app has used, over all its instances and all lives of the daemon.
//!
//! The only place where usage is put together. All instances of an app count in
//! one meter; what earlier daemons had counted is added to its reading. So
//! nothing is moved when an instance ends, and nothing can be lost or counted
//! twice on the way. Read by `usage` (statements, the store) and by guests.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use wapo_host::{EgressRefusals, Meter, Usage};

use crate::store::{Totals, UsageRecord};

/// The book of one app.
pub(crate) struct Ledger {
    /// As the store had it when the app was loaded.
    before: Usage,
    /// Made when an instance counts first.
    meter: OnceLock<Arc<Meter>>,
    stored: Mutex<Stored>,
}

/// What the app keeps with the worker.
struct Stored {
    bytes: u64,
    byte_us: u128,
    at: Instant,
}

impl Stored {
    fn advance(&mut self) {
        let now = Instant::now();
        let passed_us = now.saturating_duration_since(self.at).as_micros();
        let grown = u128::from(self.bytes).saturating_mul(passed_us);
        self.byte_us = self.byte_us.saturating_add(grown);
        self.at = now;
    }
}

impl Ledger {
    /// Goes on where the store left off.
    pub(crate) fn new(before: Totals, stored_bytes: u64) -> Self {
        Self {
            before: before.usage(),
            meter: OnceLock::new(),
            stored: Mutex::new(Stored {
                bytes: stored_bytes,
                byte_us: before.storage_byte_us,
                at: Instant::now(),
            }),
        }
    }

    /// Where instances of the app count.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        self.meter.get_or_init(Arc::default)
    }

    /// The present reading of the meter alone.
    pub(crate) fn live(&self) -> Usage {
        let meter = self.meter.get();
        meter.map_or_else(Usage::default, |meter| meter.read())
    }

    /// What the egress policy has refused since the daemon's start.
    pub(crate) fn egress_refusals(&self) -> EgressRefusals {
        let meter = self.meter.get();
        meter.map_or_else(EgressRefusals::default, |meter| meter.egress_refusals())
    }

    /// Bytes that the app keeps with the worker.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored().bytes
    }

    /// Everything up to this moment.
    pub(crate) fn totals(&self) -> Totals {
        self.record(0).totals
    }

    /// Everything up to this moment, which is `now_ms`, and what is held.
    pub(crate) fn record(&self, now_ms: u64) -> UsageRecord {
        let live = self.live();
        let (storage_bytes, stored_byte_us) = {
            let mut stored = self.stored();
            stored.advance();
            (stored.bytes, stored.byte_us)
        };
        UsageRecord {
            totals: Totals::new(&self.before.saturating_add(live), stored_byte_us),
            at_ms: now_ms,
            instances: live.instances,
            memory_bytes: live.memory_bytes,
            storage_bytes,
        }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        // `advance` leaves a valid state between any two statements.
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_stays_in_the_book() {
        let before = Totals {
            gas: 7,
            starts: 2,
            memory_byte_us: 11,
            storage_byte_us: 5,
            ..Totals::default()
        };
        let ledger = Ledger::new(before, 0);
        assert_eq!(ledger.totals(), before);
    }

    #[test]
    fn stored_bytes_count_by_time() {
        let ledger = Ledger::new(Totals::default(), 1000);
        let first = ledger.totals().storage_byte_us;
        while ledger.totals().storage_byte_us == first {
            std::hint::spin_loop();
        }
        assert!(ledger.totals().storage_byte_us > first);
        assert_eq!(ledger.stored_bytes(), 1000);
    }
}
