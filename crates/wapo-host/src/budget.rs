//! The memory that all instances of an engine may have together.
//!
//! One number that instances add to before they grow, and that is given back
//! when they are gone. What counts is what a guest was granted (linear memory
//! and tables), touched or not: a promise to one guest must not be broken
//! because another one touches its pages first. The kernel is not asked. What
//! the host keeps for an instance is on the same budget (`host_memory`). Called
//! by the limiter in `state`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::quotas::{OverQuota, QuotaKind, Quotas};

/// What guests hold of something that is bounded for all of them together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BudgetUsage {
    /// How much they hold.
    pub used: u64,
    /// How much they may hold; `None` for no limit.
    pub max: Option<u64>,
    /// Requests for more that were refused since the start.
    pub refused: u64,
}

/// What may be committed, and what is.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    max_bytes: u64,
    committed_bytes: AtomicU64,
    refused: AtomicU64,
}

impl MemoryBudget {
    /// A budget; without a number everything is granted, and counted.
    pub(crate) fn new(max_bytes: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            max_bytes: max_bytes.unwrap_or(u64::MAX),
            committed_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    pub(crate) fn committed_bytes(&self) -> u64 {
        self.committed_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn usage(&self) -> BudgetUsage {
        BudgetUsage {
            used: self.committed_bytes(),
            max: (self.max_bytes < u64::MAX).then_some(self.max_bytes),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn commit(&self, bytes: u64) -> bool {
        let add = |committed: u64| {
            let sum = committed.checked_add(bytes)?;
            (sum <= self.max_bytes).then_some(sum)
        };
        // The number guards nothing but itself.
        let committed =
            self.committed_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        if committed.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        committed.is_ok()
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.committed_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Why so many bytes more were not granted, for people.
    pub(crate) fn refusal(&self, wanted_bytes: u64) -> String {
        let left_bytes = self.max_bytes.saturating_sub(self.committed_bytes());
        format!(
            "the worker's memory is used up: {} KiB are wanted and {} of {} KiB are left; stop \
             other apps, or raise the worker's memory budget",
            wanted_bytes.div_ceil(1024),
            left_bytes / 1024,
            self.max_bytes / 1024,
        )
    }
}

/// The part of a budget, and of its app's quota, that one instance has. Dropping it
/// gives it back.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    budget: Arc<MemoryBudget>,
    quotas: Arc<Quotas>,
    bytes: u64,
    /// Why the quota refused last, if it was that.
    over: Option<OverQuota>,
}

impl MemoryShare {
    pub(crate) fn new(budget: &Arc<MemoryBudget>, quotas: &Arc<Quotas>) -> Self {
        Self {
            budget: Arc::clone(budget),
            quotas: Arc::clone(quotas),
            bytes: 0,
            over: None,
        }
    }

    /// Why so many bytes more were not granted last, for people.
    pub(crate) fn refusal(&self, wanted_bytes: u64) -> String {
        match &self.over {
            Some(over) => over.to_string(),
            None => self.budget.refusal(wanted_bytes),
        }
    }

    /// Exchanges one part for another; false leaves all as it was.
    #[must_use]
    pub(crate) fn exchange(&mut self, before_bytes: u64, after_bytes: u64) -> bool {
        if after_bytes > before_bytes {
            let more = after_bytes - before_bytes;
            self.over = self.quotas.add(QuotaKind::Memory, more).err();
            if self.over.is_some() {
                return false;
            }
            let granted = self.budget.commit(more);
            match granted {
                true => self.bytes += more,
                false => self.quotas.give_back(QuotaKind::Memory, more),
            }
            return granted;
        }
        let less = (before_bytes - after_bytes).min(self.bytes);
        self.give_back(less);
        self.bytes -= less;
        true
    }

    fn give_back(&self, bytes: u64) {
        self.quotas.give_back(QuotaKind::Memory, bytes);
        self.budget.give_back(bytes);
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_granted_up_to_the_budget_and_given_back() {
        let budget = MemoryBudget::new(Some(100));
        let mut one = MemoryShare::new(&budget, &Arc::default());
        let mut other = MemoryShare::new(&budget, &Arc::default());
        assert!(one.exchange(0, 60));
        assert!(!other.exchange(0, 41));
        assert!(other.exchange(0, 40));
        assert!(!one.exchange(60, 61));
        let usage = BudgetUsage {
            used: 100,
            max: Some(100),
            refused: 2,
        };
        assert_eq!(budget.usage(), usage);
        assert!(one.exchange(60, 50), "less is always granted");
        assert!(other.exchange(40, 50));
        drop(one);
        assert_eq!(budget.committed_bytes(), 50);
        drop(other);
        assert_eq!(budget.committed_bytes(), 0);
    }

    #[test]
    fn without_a_limit_nothing_overflows() {
        let budget = MemoryBudget::new(None);
        let mut share = MemoryShare::new(&budget, &Arc::default());
        assert!(share.exchange(0, u64::MAX));
        assert!(!share.exchange(0, 1));
        assert_eq!(budget.usage().max, None);
        drop(share);
        assert_eq!(budget.committed_bytes(), 0);
    }

    #[test]
    fn a_refusal_says_how_much_is_left() {
        let budget = MemoryBudget::new(Some(10 << 10));
        let mut share = MemoryShare::new(&budget, &Arc::default());
        assert!(share.exchange(0, 6 << 10));
        let text = budget.refusal(5 << 10);
        assert!(text.contains("5 KiB are wanted and 4 of 10 KiB"), "{text}");
    }
}
