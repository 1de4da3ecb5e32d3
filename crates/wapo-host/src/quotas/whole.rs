//! Quotas of what is counted as a whole: storage, and gas in all.
//!
//! What an app has on disk replaces what it had; gas is read from its meter. Both
//! are counted among what all apps together have while the app is there. Called by
//! embedders, and by `pace` before each step of a guest.

use std::fmt;
use std::sync::atomic::Ordering;

use super::{OverQuota, QuotaKind, Quotas};
use crate::meter::Meter;

/// A quota of gas that is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GasQuota {
    /// So much is what the app may use.
    OfApp(u64),
    /// So much is what all apps together may use.
    OfAll(u64),
}

impl fmt::Display for GasQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfApp(max) => write!(f, "the app's quota is {max}"),
            Self::OfAll(max) => write!(
                f,
                "all apps together have {max}, of which an app gets half of what is left"
            ),
        }
    }
}

impl Quotas {
    /// Checks an amount that takes the place of all there was, and counts it: what
    /// an app has on disk. Amounts of one app are to be changed one at a time.
    ///
    /// # Errors
    ///
    /// [`OverQuota`]; nothing has changed then.
    pub fn replace(&self, kind: QuotaKind, amount: u64) -> Result<(), OverQuota> {
        let count = self.count(kind);
        let max = count.max.load(Ordering::Relaxed);
        let used = count.used.load(Ordering::Relaxed);
        if amount > max {
            self.note_refusal(kind);
            return Err(OverQuota {
                kind,
                used,
                max,
                is_of_all: false,
            });
        }
        match &self.all {
            Some(all) if amount > used => all.add_of_all(kind, amount - used, amount)?,
            Some(all) => all.take_back(kind, used - amount),
            None => {}
        }
        count.used.store(amount, Ordering::Relaxed);
        Ok(())
    }

    /// Counts how much there is, whatever the limits.
    pub fn note(&self, kind: QuotaKind, amount: u64) {
        let before = self.count(kind).used.swap(amount, Ordering::Relaxed);
        if let Some(all) = &self.all {
            // Less is more, around the end of the numbers.
            let used = &all.count(kind).used;
            used.fetch_add(amount.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Checks what [`note`](Self::note) has counted against what all apps together
    /// may have.
    ///
    /// # Errors
    ///
    /// [`OverQuota`]; it is counted all the same.
    pub fn check_of_all(&self, kind: QuotaKind) -> Result<(), OverQuota> {
        match &self.all {
            Some(all) => check_among(all, kind, self.used(kind)),
            None => Ok(()),
        }
    }

    /// Gas that the app has used. The meter is its own.
    pub(super) fn gas(&self, meter: &Meter) -> u64 {
        self.gas_before.saturating_add(meter.gas())
    }

    /// The quota of gas in all, if it is used up. The meter is that of the app.
    #[inline]
    pub fn gas_used_up(&self, meter: &Meter) -> Option<GasQuota> {
        if let Some(max) = self.limit(QuotaKind::Gas)
            && self.gas(meter) >= max
        {
            return Some(GasQuota::OfApp(max));
        }
        let all = self.all.as_ref()?;
        all.limit(QuotaKind::Gas)?;
        let used = self.gas(meter);
        self.count_gas_of_all(used);
        gas_of_all_used_up(all, used)
    }

    /// Counts among the gas of all what this app has used by now.
    pub(super) fn count_gas_of_all(&self, used: u64) {
        let Some(all) = &self.all else { return };
        let before = self.gas_counted.fetch_max(used, Ordering::Relaxed);
        if used > before {
            let of_all = &all.count(QuotaKind::Gas).used;
            of_all.fetch_add(used - before, Ordering::Relaxed);
        }
    }
}

/// Checks what an app has, which is counted, against what all apps together may have.
pub(super) fn check_among(all: &Quotas, kind: QuotaKind, of_app: u64) -> Result<(), OverQuota> {
    let Some(max) = all.limit(kind) else {
        return Ok(());
    };
    let used = all.used(kind);
    if max.checked_sub(used).is_some_and(|left| of_app <= left) {
        return Ok(());
    }
    all.note_refusal(kind);
    Err(OverQuota {
        kind,
        used: used.saturating_sub(of_app),
        max,
        is_of_all: true,
    })
}

/// The gas of all apps together, if it is used up for one that has used so much of it.
pub(super) fn gas_of_all_used_up(all: &Quotas, of_app: u64) -> Option<GasQuota> {
    let max = all.limit(QuotaKind::Gas)?;
    let left = max.saturating_sub(all.used(QuotaKind::Gas));
    (of_app >= left).then_some(GasQuota::OfAll(max))
}

impl Drop for Quotas {
    /// An app that is gone has nothing of what all have.
    fn drop(&mut self) {
        if let Some(all) = &self.all {
            all.take_back(QuotaKind::Storage, self.used(QuotaKind::Storage));
            let gas = self.gas_counted.load(Ordering::Relaxed);
            all.take_back(QuotaKind::Gas, gas);
        }
    }
}
