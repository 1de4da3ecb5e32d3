//! The memory that the host itself needs for an instance.
//!
//! Answers that wait to be fetched, messages that wait to be read, answers that
//! a client has not taken yet, certificates, buffers of TLS and of bodies: each
//! is charged before it is kept, and the charge travels with the bytes, also
//! when they outlive the call or the instance. What is charged is part of the
//! engine's memory budget, beside the linear memories, and has a maximum of its
//! own, so that an instance cannot hoard where the budget is unlimited.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::budget::MemoryBudget;
use crate::limits::{HOST_MEMORY_BYTES_MAX, HOST_MEMORY_FREE_BYTES};
use crate::quotas::{QuotaKind, Quotas};

/// What the host keeps for one instance, over all its starts.
#[derive(Debug)]
pub(crate) struct HostMemory {
    budget: Arc<MemoryBudget>,
    /// Of the app.
    quotas: Arc<Quotas>,
    held_bytes: Mutex<u64>,
    /// Whether a refusal was told to the app's log already.
    told: AtomicBool,
}

/// Memory that was refused, for the app's log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the host keeps {held_kib} KiB for this instance and may not keep {wanted_kib} KiB more: {reason}"
)]
pub(crate) struct NoMemory {
    held_kib: u64,
    wanted_kib: u64,
    reason: String,
}

/// The part that the budget sees: the first bytes of an instance are covered by
/// what the embedder keeps for itself.
fn counted(held_bytes: u64) -> u64 {
    held_bytes.saturating_sub(HOST_MEMORY_FREE_BYTES)
}

impl HostMemory {
    pub(crate) fn new(budget: &Arc<MemoryBudget>) -> Arc<Self> {
        Self::of_app(budget, &Arc::default())
    }

    /// For an instance of an app with these quotas.
    pub(crate) fn of_app(budget: &Arc<MemoryBudget>, quotas: &Arc<Quotas>) -> Arc<Self> {
        Arc::new(Self {
            budget: Arc::clone(budget),
            quotas: Arc::clone(quotas),
            held_bytes: Mutex::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// Takes memory for something that will be kept.
    ///
    /// # Errors
    ///
    /// [`NoMemory`]; nothing has changed then.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<MemoryCharge, NoMemory> {
        let mut charge = MemoryCharge {
            memory: Arc::clone(self),
            bytes: 0,
        };
        charge.resize(bytes)?;
        Ok(charge)
    }

    /// What is kept right now, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        *self.held()
    }

    /// Whether this is the first refusal, which the app's log is told.
    pub(crate) fn is_first_refusal(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        // A number cannot be left half changed.
        self.held_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn grow(&self, more: u64) -> Result<(), NoMemory> {
        let mut held = self.held();
        let refused = |reason| NoMemory {
            held_kib: *held / 1024,
            wanted_kib: more.div_ceil(1024),
            reason,
        };
        let sum = held.saturating_add(more);
        if sum > HOST_MEMORY_BYTES_MAX {
            let max_mib = HOST_MEMORY_BYTES_MAX >> 20;
            return Err(refused(format!("its maximum is {max_mib} MiB")));
        }
        let counted_more = counted(sum) - counted(*held);
        if counted_more > 0 {
            let quota = self.quotas.add(QuotaKind::HostMemory, counted_more);
            quota.map_err(|over| refused(over.to_string()))?;
            if !self.budget.commit(counted_more) {
                self.quotas.give_back(QuotaKind::HostMemory, counted_more);
                return Err(refused(self.budget.refusal(counted_more)));
            }
        }
        *held = sum;
        Ok(())
    }

    fn shrink(&self, less: u64) {
        let mut held = self.held();
        let rest = held.saturating_sub(less);
        let counted_less = counted(*held) - counted(rest);
        *held = rest;
        drop(held);
        if counted_less > 0 {
            self.quotas.give_back(QuotaKind::HostMemory, counted_less);
            self.budget.give_back(counted_less);
        }
    }
}

/// Memory that something kept has. Dropping it gives it back.
#[derive(Debug)]
pub struct MemoryCharge {
    memory: Arc<HostMemory>,
    bytes: u64,
}

impl MemoryCharge {
    /// A charge of nothing, for tests of embedders.
    pub fn none() -> Self {
        Self {
            memory: HostMemory::new(&MemoryBudget::new(None)),
            bytes: 0,
        }
    }

    /// Takes more, or gives some back.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<(), NoMemory> {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.memory.grow(more)?,
            None => self.memory.shrink(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Memory of the same instance for something else.
    pub(crate) fn another(&self, bytes: u64) -> Result<Self, NoMemory> {
        self.memory.charge(bytes)
    }

    /// Bytes that are charged.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes one charge of two, if they belong to the same instance.
    ///
    /// # Errors
    ///
    /// The other charge, unchanged.
    pub fn absorb(&mut self, mut other: Self) -> Result<(), Self> {
        if !Arc::ptr_eq(&self.memory, &other.memory) {
            return Err(other);
        }
        self.bytes += std::mem::take(&mut other.bytes);
        Ok(())
    }

    /// Bytes that hold the charge for as long as any part of them is there.
    pub(crate) fn keep(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Kept {
            bytes,
            _charge: self,
        })
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.shrink(self.bytes);
        }
    }
}

struct Kept {
    bytes: Vec<u8>,
    _charge: MemoryCharge,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: u64 = HOST_MEMORY_FREE_BYTES;

    #[test]
    fn a_charge_is_part_of_the_budget_until_it_is_dropped() {
        let budget = MemoryBudget::new(Some(100));
        let memory = HostMemory::new(&budget);
        let small = memory.charge(FREE).expect("covered");
        assert_eq!(budget.committed_bytes(), 0);
        let mut more = memory.charge(60).expect("room");
        assert_eq!(budget.committed_bytes(), 60);
        assert!(memory.charge(41).is_err());
        assert!(more.resize(101).is_err());
        assert!(more.resize(100).is_ok());
        assert!(more.resize(30).is_ok());
        assert_eq!(budget.committed_bytes(), 30);
        drop(small);
        assert_eq!(budget.committed_bytes(), 0);
        drop(more);
        assert_eq!((*memory.held(), budget.committed_bytes()), (0, 0));
    }

    #[test]
    fn bytes_hold_their_charge_as_long_as_a_part_of_them_is_there() {
        let budget = MemoryBudget::new(None);
        let memory = HostMemory::new(&budget);
        let charge = memory.charge(FREE + 10).expect("room");
        let bytes = charge.keep(vec![7; 10]);
        let part = bytes.slice(3..4);
        drop(bytes);
        assert_eq!(budget.committed_bytes(), 10);
        drop(part);
        assert_eq!(budget.committed_bytes(), 0);
    }

    #[test]
    fn an_instance_has_a_maximum_without_a_budget() {
        let memory = HostMemory::new(&MemoryBudget::new(None));
        let all = memory.charge(HOST_MEMORY_BYTES_MAX).expect("all of it");
        let refused = memory.charge(1).expect_err("one more");
        assert!(refused.to_string().contains("its maximum is"), "{refused}");
        drop(all);
        assert!(memory.charge(1).is_ok());
        assert!(memory.is_first_refusal() && !memory.is_first_refusal());
    }

    #[test]
    fn charges_of_one_instance_become_one() {
        let budget = MemoryBudget::new(None);
        let (one, other) = (HostMemory::new(&budget), HostMemory::new(&budget));
        let mut sum = one.charge(FREE).expect("room");
        assert!(sum.absorb(one.charge(5).expect("room")).is_ok());
        assert_eq!(sum.bytes(), FREE + 5);
        assert!(sum.absorb(other.charge(5).expect("room")).is_err());
        drop(sum);
        assert_eq!(budget.committed_bytes(), 0);
    }
}
