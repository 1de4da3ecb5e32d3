//! The file descriptors that guests may hold, each and all together.
//!
//! Every socket that the host opens for a guest is on one budget: listeners,
//! accepted connections, attempts to connect and their name lookups. What the
//! daemon needs for itself (its own ports, the store, blobs) is not part of it,
//! so no guest can take it. A permit travels with the socket and gives its
//! descriptors back when it is dropped. Asked by the `net` calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::BudgetUsage;
use crate::limits::CONNECT_ATTEMPTS_MAX;
use crate::quotas::{OverQuota, QuotaKind, QuotaPermit, Quotas};

/// Descriptors that a listener takes: its own, and the one that the embedder
/// keeps to share the port with other instances.
pub(crate) const LISTENER_DESCRIPTORS: u64 = 2;

/// Descriptors that every instance gets, whatever others hold: a listener and
/// some connections. Fewer where there are few for all.
const GUARANTEED_MAX: u64 = 8;

/// How many descriptors guests may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DescriptorLimits {
    /// All instances together.
    pub total: u64,
    /// One instance.
    pub per_instance: u64,
}

impl DescriptorLimits {
    /// No limit but the kernel's.
    pub const UNLIMITED: Self = Self {
        total: u64::MAX / 2,
        per_instance: u64::MAX / 2,
    };
}

/// Descriptors of all guests.
#[derive(Debug)]
pub(crate) struct DescriptorBudget {
    limits: DescriptorLimits,
    /// What each instance gets for certain.
    guaranteed: u64,
    /// What is left beside that, for guests that want more.
    shared_max: u64,
    shared: AtomicU64,
    used: AtomicU64,
    refused: AtomicU64,
}

impl DescriptorBudget {
    pub(crate) fn new(limits: DescriptorLimits, instances_max: u32) -> Arc<Self> {
        let instances = u64::from(instances_max.max(1));
        // Half of all at most is promised.
        let guaranteed = GUARANTEED_MAX.min(limits.total / 2 / instances);
        Arc::new(Self {
            limits,
            guaranteed,
            shared_max: limits.total - guaranteed * instances,
            shared: AtomicU64::new(0),
            used: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    pub(crate) fn usage(&self) -> BudgetUsage {
        BudgetUsage {
            used: self.used.load(Ordering::Relaxed),
            max: (self.limits.total < DescriptorLimits::UNLIMITED.total)
                .then_some(self.limits.total),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// The part of what an instance holds that is not guaranteed.
    fn shared_part(&self, held: u64) -> u64 {
        held.saturating_sub(self.guaranteed)
    }

    /// Exchanges what an instance holds for more.
    ///
    /// Of the shared part an instance may hold as much as is left for all
    /// others: one that takes what it can get leaves half, a second one a
    /// quarter.
    fn grow(&self, before: u64, after: u64) -> bool {
        let part = self.shared_part(after);
        let more = part - self.shared_part(before);
        let add = |shared: u64| {
            let sum = shared.checked_add(more)?;
            let left = self.shared_max.checked_sub(sum)?;
            (more == 0 || part <= left).then_some(sum)
        };
        // The numbers guard nothing but themselves.
        let granted = self
            .shared
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok();
        if granted {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        }
        granted
    }

    fn shrink(&self, before: u64, after: u64) {
        let less = self.shared_part(before) - self.shared_part(after);
        self.shared.fetch_sub(less, Ordering::Relaxed);
        self.used.fetch_sub(before - after, Ordering::Relaxed);
    }
}

/// A request for descriptors that was refused, for the app's log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoDescriptors {
    #[error(
        "no descriptor for a connection or listener: this instance holds {held} of {max} at most, and all apps together {used} of {total}"
    )]
    Used {
        held: u64,
        max: u64,
        used: u64,
        total: u64,
    },
    #[error("{max} attempts to connect are under way, which is the limit of an instance")]
    Attempts { max: usize },
    #[error(transparent)]
    Quota(#[from] OverQuota),
}

/// Descriptors of one instance, over all its starts.
#[derive(Debug)]
pub(crate) struct DescriptorShare {
    budget: Arc<DescriptorBudget>,
    /// Of the app.
    quotas: Arc<Quotas>,
    held: Mutex<u64>,
    attempts: Arc<Semaphore>,
    attempts_max: usize,
}

impl DescriptorShare {
    pub(crate) fn new(budget: &Arc<DescriptorBudget>, quotas: &Arc<Quotas>) -> Arc<Self> {
        let half = usize::try_from(budget.limits.per_instance / 2).unwrap_or(usize::MAX);
        let attempts_max = half.clamp(1, CONNECT_ATTEMPTS_MAX);
        Arc::new(Self {
            budget: Arc::clone(budget),
            quotas: Arc::clone(quotas),
            held: Mutex::new(0),
            attempts: Arc::new(Semaphore::new(attempts_max)),
            attempts_max,
        })
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        // A number cannot be left half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Descriptors that the instance holds right now.
    pub(crate) fn held_count(&self) -> u64 {
        *self.held()
    }

    /// Takes descriptors.
    ///
    /// # Errors
    ///
    /// [`NoDescriptors`] with what is held, for the app's log.
    pub(crate) fn take(self: &Arc<Self>, count: u64) -> Result<DescriptorPermit, NoDescriptors> {
        let mut held = self.held();
        let (before, after) = (*held, held.saturating_add(count));
        let max = self.budget.limits.per_instance;
        self.quotas.add(QuotaKind::Descriptors, count)?;
        if after > max || !self.budget.grow(before, after) {
            self.quotas.give_back(QuotaKind::Descriptors, count);
            self.budget.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NoDescriptors::Used {
                held: before,
                max,
                used: self.budget.used.load(Ordering::Relaxed),
                total: self.budget.limits.total,
            });
        }
        *held = after;
        drop(held);
        Ok(DescriptorPermit {
            share: Arc::clone(self),
            count,
            _quota: None,
        })
    }

    fn give_back(&self, count: u64) {
        self.quotas.give_back(QuotaKind::Descriptors, count);
        let mut held = self.held();
        let after = held.saturating_sub(count);
        self.budget.shrink(*held, after);
        *held = after;
    }

    /// Begins an attempt to connect with so many descriptors.
    ///
    /// # Errors
    ///
    /// [`NoDescriptors`], also when too many attempts are under way.
    pub(crate) fn attempt(self: &Arc<Self>, count: u64) -> Result<AttemptPermit, NoDescriptors> {
        let Ok(place) = Arc::clone(&self.attempts).try_acquire_owned() else {
            self.budget.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NoDescriptors::Attempts {
                max: self.attempts_max,
            });
        };
        let taken: Result<_, _> = (0..count).map(|_| self.take(1)).collect();
        Ok(AttemptPermit {
            share: Arc::clone(self),
            spare: taken?,
            _place: place,
        })
    }
}

/// Descriptors that a socket has. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct DescriptorPermit {
    share: Arc<DescriptorShare>,
    count: u64,
    /// What the socket is: a connection or a listener.
    _quota: Option<QuotaPermit>,
}

impl DescriptorPermit {
    /// The same for a socket that counts as something else, too.
    pub(crate) fn with(mut self, quota: QuotaPermit) -> Self {
        self._quota = Some(quota);
        self
    }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        self.share.give_back(self.count);
    }
}

/// What an attempt to connect holds while it is under way: a place among the
/// attempts, and a descriptor for each socket that it will have for certain.
#[derive(Debug)]
pub(crate) struct AttemptPermit {
    share: Arc<DescriptorShare>,
    spare: Vec<DescriptorPermit>,
    _place: OwnedSemaphorePermit,
}

impl AttemptPermit {
    /// A descriptor for one socket, which has it until it is closed.
    ///
    /// There is one for certain when the attempt has no socket open.
    pub(crate) fn take(&mut self) -> Option<DescriptorPermit> {
        let spare = self.spare.pop();
        spare.or_else(|| self.share.take(1).ok())
    }

    /// A socket of the attempt is closed. One descriptor is kept for the next.
    pub(crate) fn give_back(&mut self, permit: DescriptorPermit) {
        if self.spare.is_empty() {
            self.spare.push(permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(total: u64, per_instance: u64) -> Arc<DescriptorBudget> {
        let limits = DescriptorLimits {
            total,
            per_instance,
        };
        DescriptorBudget::new(limits, 10)
    }

    fn new_share(budget: &Arc<DescriptorBudget>) -> Arc<DescriptorShare> {
        DescriptorShare::new(budget, &Arc::default())
    }

    #[test]
    fn every_instance_gets_some_whatever_others_hold() {
        let budget = budget(1_000, 1_000);
        let shares: Vec<_> = (0..10).map(|_| new_share(&budget)).collect();
        let greedy: Vec<_> = shares[..9].iter().map(take_all).collect();
        let honest: Vec<_> = (0..GUARANTEED_MAX).map(|_| shares[9].take(1)).collect();
        assert!(honest.iter().all(Result::is_ok), "{:?}", budget.usage());
        assert!(budget.usage().used <= 1_000);
        drop((greedy, honest));
        assert_eq!(budget.usage().used, 0);
        assert_eq!(budget.shared.load(Ordering::Relaxed), 0);
    }

    fn take_all(share: &Arc<DescriptorShare>) -> Vec<DescriptorPermit> {
        std::iter::from_fn(|| share.take(1).ok()).collect()
    }

    #[test]
    fn an_instance_gets_no_more_than_its_share_and_gives_it_back() {
        let budget = budget(1_000, 10);
        let share = new_share(&budget);
        let held = take_all(&share);
        assert_eq!(held.len(), 10);
        assert_eq!(budget.usage().used, 10);
        assert_eq!(budget.usage().refused, 1);
        drop(held);
        assert_eq!(budget.usage().used, 0);
        assert_eq!(take_all(&share).len(), 10);
    }

    #[test]
    fn greedy_instances_leave_half_of_what_is_left_to_others() {
        let budget = budget(1_000, 1_000);
        let (one, other) = (new_share(&budget), new_share(&budget));
        // Ten times eight are guaranteed, the other 920 are shared.
        assert_eq!(take_all(&one).len(), 8 + 460);
        let held = take_all(&one);
        assert_eq!(take_all(&other).len(), 8 + 230);
        drop(held);
        assert_eq!(budget.usage().used, 0);
    }

    #[test]
    fn an_attempt_keeps_one_descriptor_whatever_others_hold() {
        let budget = budget(100, 4);
        let share = new_share(&budget);
        let mut attempt = share.attempt(2).expect("room");
        let sockets: Vec<_> = std::iter::from_fn(|| attempt.take()).collect();
        assert_eq!((sockets.len(), budget.usage().used), (4, 4));
        for socket in sockets {
            attempt.give_back(socket);
        }
        assert_eq!(budget.usage().used, 1);
        let others = take_all(&share);
        let socket = attempt.take().expect("its own");
        assert!(attempt.take().is_none());
        drop((attempt, others));
        assert_eq!(budget.usage().used, 1, "the connection's");
        drop(socket);
        assert_eq!(budget.usage().used, 0);
    }

    #[test]
    fn attempts_under_way_are_bounded_by_half_of_the_share() {
        let budget = budget(1_000, 8);
        let share = new_share(&budget);
        let attempts: Vec<_> = std::iter::from_fn(|| share.attempt(1).ok()).collect();
        assert_eq!(attempts.len(), 4);
        let connected = attempts.into_iter().filter_map(|mut one| one.take());
        let connected: Vec<_> = connected.collect();
        assert_eq!(budget.usage().used, 4);
        assert!(share.attempt(1).is_ok(), "connections are no attempts");
        drop(connected);
        assert_eq!(budget.usage().used, 0);
    }

    #[test]
    fn instances_share_the_quota_of_their_app() {
        let budget = budget(1_000, 100);
        let quotas = Arc::<Quotas>::default();
        let mut limits = crate::quotas::QuotaLimits::default();
        limits.set(QuotaKind::Descriptors, Some(5));
        quotas.set(&limits);
        let share = || DescriptorShare::new(&budget, &quotas);
        let (one, other) = (share(), share());
        let held = (one.take(3), other.take(2));
        assert!(held.0.is_ok() && held.1.is_ok());
        let refused = other.take(1).expect_err("five are in use");
        assert!(refused.to_string().contains("`descriptors`"), "{refused}");
        drop(held);
        assert_eq!(take_all(&one).len(), 5);
        assert_eq!(
            (quotas.used(QuotaKind::Descriptors), budget.usage().used),
            (0, 0)
        );
    }
}
