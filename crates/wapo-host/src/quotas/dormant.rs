//! What an app that has not run yet counts among what all apps have.
//!
//! Most of the apps of a large worker are asked for nothing for days. Such an app has
//! something on disk and has used gas, which all apps together have less of; its
//! [`Quotas`] are made when something of it is counted first. Called by embedders.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::whole::{check_among, gas_of_all_used_up};
use super::{GasQuota, OverQuota, QuotaKind, QuotaLimits, Quotas};

/// The storage and the gas of an app without [`Quotas`] of its own. Given back when it is
/// dropped.
#[derive(Debug)]
pub struct DormantQuotas {
    all: Arc<Quotas>,
    storage: u64,
    gas: u64,
}

impl DormantQuotas {
    /// Counts so many bytes on disk and so much gas among those of `all` apps.
    pub fn new(all: Arc<Quotas>, storage: u64, gas: u64) -> Self {
        let count = |kind, more: u64| {
            let used = &all.count(kind).used;
            used.fetch_add(more, Ordering::Relaxed);
        };
        count(QuotaKind::Storage, storage);
        count(QuotaKind::Gas, gas);
        Self { all, storage, gas }
    }

    /// Bytes on disk.
    pub fn storage(&self) -> u64 {
        self.storage
    }

    /// Checks the bytes on disk against what all apps together may have.
    ///
    /// # Errors
    ///
    /// [`OverQuota`]; they are counted all the same.
    pub fn check_storage_of_all(&self) -> Result<(), OverQuota> {
        check_among(&self.all, QuotaKind::Storage, self.storage)
    }

    /// The quota of gas in all, if it is used up. `limit` is that of the app.
    pub fn gas_used_up(&self, limit: Option<u64>) -> Option<GasQuota> {
        match limit {
            Some(max) if self.gas >= max => Some(GasQuota::OfApp(max)),
            _ => gas_of_all_used_up(&self.all, self.gas),
        }
    }

    /// The quotas of the app, which count from now on.
    #[must_use]
    pub fn wake(mut self, limits: &QuotaLimits) -> Quotas {
        let all = Some(Arc::clone(&self.all));
        // What is taken here is given back by the quotas.
        let (storage, gas) = (
            std::mem::take(&mut self.storage),
            std::mem::take(&mut self.gas),
        );
        let quotas = Quotas::with_nothing_counted(limits, all, gas);
        quotas.gas_counted.store(gas, Ordering::Relaxed);
        let stored = &quotas.count(QuotaKind::Storage).used;
        stored.store(storage, Ordering::Relaxed);
        quotas
    }
}

impl Drop for DormantQuotas {
    fn drop(&mut self) {
        self.all.take_back(QuotaKind::Storage, self.storage);
        self.all.take_back(QuotaKind::Gas, self.gas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all() -> (Arc<Quotas>, impl Fn() -> (u64, u64)) {
        let all = Arc::new(Quotas::default());
        let read = Arc::clone(&all);
        let used = move || (read.used(QuotaKind::Storage), read.used(QuotaKind::Gas));
        (all, used)
    }

    #[test]
    fn what_an_app_has_is_counted_once_before_and_after_it_wakes() {
        let (all, used) = of_all();
        let dormant = DormantQuotas::new(Arc::clone(&all), 70, 9);
        let other = DormantQuotas::new(all, 5, 0);
        assert_eq!(used(), (75, 9));
        let quotas = dormant.wake(&QuotaLimits::default());
        assert_eq!(used(), (75, 9));
        assert_eq!(quotas.used(QuotaKind::Storage), 70);
        quotas.replace(QuotaKind::Storage, 100).expect("no limit");
        assert_eq!(used(), (105, 9));
        drop(quotas);
        assert_eq!(used(), (5, 0));
        drop(other);
        assert_eq!(used(), (0, 0));
    }

    #[test]
    fn limits_hold_for_an_app_that_has_not_run() {
        let mut limits = QuotaLimits::default();
        limits.set(QuotaKind::Storage, Some(100));
        limits.set(QuotaKind::Gas, Some(20));
        let all = Arc::new(Quotas::new(&limits, None, 0));
        let first = DormantQuotas::new(Arc::clone(&all), 40, 12);
        first.check_storage_of_all().expect("half of what is left");
        assert_eq!(first.gas_used_up(None), Some(GasQuota::OfAll(20)));
        assert_eq!(first.gas_used_up(Some(12)), Some(GasQuota::OfApp(12)));
        let second = DormantQuotas::new(all, 50, 0);
        second.check_storage_of_all().expect_err("too much");
    }
}
