//! What one app may have of everything that is counted, and what it has.
//!
//! One [`Quotas`] belongs to an app and is shared by all its instances, so that
//! an app gets no more by having more of them. Values are read where something is
//! taken or moved: they can be changed at any time, and hold from then on. What an
//! app has beyond a quota that was lowered it keeps, and gets no more.
//!
//! There are quotas of things that exist (taken with a [`QuotaPermit`], or counted
//! by a table), of how fast something goes (`rate`), and of gas in all. Each may
//! have one of all apps together behind it, of which one app gets at most half of
//! what is left. The table of all of them, with what happens at each, is in `kind`.

mod dormant;
mod kind;
mod rate;
mod whole;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use dormant::DormantQuotas;
pub use kind::{AtQuota, QuotaInfo, QuotaKind, QuotaUnit};
use rate::{NONE, Rate, now_ns};
pub use whole::GasQuota;

use crate::limits::{QUOTA_BYTES_BURST_MIN, QUOTA_LOOK_MAX, QUOTA_PAUSE_MIN};
use crate::meter::Meter;

/// Limits by kind; `None` where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct QuotaLimits([Option<u64>; QuotaKind::COUNT]);

impl QuotaLimits {
    /// The limit of this kind.
    pub fn get(&self, kind: QuotaKind) -> Option<u64> {
        self.0[kind as usize]
    }

    /// Changes the limit of this kind.
    pub fn set(&mut self, kind: QuotaKind, limit: Option<u64>) {
        self.0[kind as usize] = limit;
    }

    /// These limits, and the others where there are none.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        let mut both = self;
        for (limit, other) in both.0.iter_mut().zip(others.0) {
            *limit = limit.or(other);
        }
        both
    }

    /// The limits that there are.
    pub fn iter(&self) -> impl Iterator<Item = (QuotaKind, u64)> + '_ {
        let all = QuotaKind::ALL.iter();
        all.filter_map(|kind| Some((*kind, self.get(*kind)?)))
    }
}

/// A quota at a glance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotaReading {
    /// How much there may be; `None` for no limit.
    pub limit: Option<u64>,
    /// How much there is; of a rate, the average of the last second or so.
    pub used: u64,
    /// How often more was refused, or had to wait.
    pub refused: u64,
}

/// A request beyond a quota, for the app's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct OverQuota {
    kind: QuotaKind,
    used: u64,
    max: u64,
    is_of_all: bool,
}

impl OverQuota {
    fn text(&self) -> String {
        let Self { used, max, .. } = self;
        let QuotaInfo { name, title, .. } = self.kind.info();
        match self.is_of_all {
            false => format!(
                "the app has {used} of {max} {title}, which is its quota (`{name}`); `wapo quota` shows and changes it"
            ),
            true => format!(
                "all apps together have {used} of {max} {title}, of which an app gets half of what is left (`{name}` of the worker)"
            ),
        }
    }
}

/// A limit, what is counted against it, and how often more was wanted.
#[derive(Debug)]
struct Count {
    max: AtomicU64,
    /// Of a rate: what was used that no meter of an app counts, since the beginning.
    used: AtomicU64,
    refused: AtomicU64,
}

/// The quotas of one app, or of all together.
#[derive(Debug)]
pub struct Quotas {
    all: Option<Arc<Self>>,
    counts: [Count; QuotaKind::COUNT],
    rates: [Rate; RATES.len()],
    /// Gas that the app had used before its meter began.
    gas_before: u64,
    /// Gas that was counted among that of all apps.
    gas_counted: AtomicU64,
    /// Time of processors that instances have used while it was measured, in
    /// nanoseconds.
    cpu_ns: AtomicU64,
    /// Instances that wait for their next turn.
    waiting: AtomicU64,
}

/// The kinds that are rates, in the order of [`Quotas::rates`].
const RATES: [QuotaKind; 4] = [
    QuotaKind::Ingress,
    QuotaKind::Egress,
    QuotaKind::Cpu,
    QuotaKind::GasRate,
];

/// Nanoseconds in a second of a thousandth of a core.
const NS_PER_MILLI_CORE: u64 = 1_000_000;

fn rate_index(kind: QuotaKind) -> usize {
    match kind {
        QuotaKind::Ingress => 0,
        QuotaKind::Egress => 1,
        QuotaKind::Cpu => 2,
        _ => 3,
    }
}

/// How a rate counts a limit.
fn in_units(kind: QuotaKind, limit: u64) -> u64 {
    match kind {
        QuotaKind::Cpu => limit.saturating_mul(NS_PER_MILLI_CORE).min(NONE - 1),
        _ => limit,
    }
}

/// What all apps have with so much more, if an app may have so much then: half of
/// what is left.
fn with_more_of_all(used: u64, more: u64, of_app: u64, max: u64) -> Option<u64> {
    let sum = used.checked_add(more)?;
    let left = max.checked_sub(sum)?;
    (of_app <= left).then_some(sum)
}

impl Default for Quotas {
    /// No limits.
    fn default() -> Self {
        Self::new(&QuotaLimits::default(), None, 0)
    }
}

impl Quotas {
    /// Quotas of an app that has used so much gas before its meter began; behind
    /// them are those of `all` apps together.
    pub fn new(limits: &QuotaLimits, all: Option<Arc<Self>>, gas_before: u64) -> Self {
        let quotas = Self::with_nothing_counted(limits, all, gas_before);
        quotas.count_gas_of_all(gas_before);
        quotas
    }

    /// The same; nothing of it is counted among what all have.
    fn with_nothing_counted(limits: &QuotaLimits, all: Option<Arc<Self>>, gas_before: u64) -> Self {
        let burst_min = |kind| match kind {
            QuotaKind::Ingress | QuotaKind::Egress => QUOTA_BYTES_BURST_MIN,
            _ => 0,
        };
        let quotas = Self {
            all,
            counts: std::array::from_fn(|_| Count {
                max: AtomicU64::new(NONE),
                used: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            }),
            rates: RATES.map(|kind| Rate::new(burst_min(kind))),
            gas_before,
            gas_counted: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        };
        quotas.set(limits);
        quotas
    }

    /// Changes all limits. They hold from now on.
    pub fn set(&self, limits: &QuotaLimits) {
        let now = now_ns();
        for kind in QuotaKind::ALL {
            let limit = limits.get(*kind);
            let max = limit.unwrap_or(NONE);
            self.count(*kind).max.store(max, Ordering::Relaxed);
            if kind.is_rate() {
                let units = limit.map_or(NONE, |limit| in_units(*kind, limit));
                self.rate(*kind).set(units, now);
            }
        }
    }

    /// The limit of this kind.
    pub fn limit(&self, kind: QuotaKind) -> Option<u64> {
        let max = self.count(kind).max.load(Ordering::Relaxed);
        (max < NONE).then_some(max)
    }

    /// How much there is of something that exists.
    pub fn used(&self, kind: QuotaKind) -> u64 {
        self.count(kind).used.load(Ordering::Relaxed)
    }

    /// A quota at a glance. The meter is that of the app.
    pub fn read(&self, kind: QuotaKind, meter: &Meter) -> QuotaReading {
        let used = match kind {
            // Of all apps together it is counted, of one it is read.
            QuotaKind::Gas => self.gas(meter).saturating_add(self.used(kind)),
            kind if kind.is_rate() => {
                let total = self.total(kind, meter);
                let recent = self.rate(kind).recent(total, now_ns());
                match kind {
                    QuotaKind::Cpu => recent / NS_PER_MILLI_CORE,
                    _ => recent,
                }
            }
            kind => self.used(kind),
        };
        QuotaReading {
            limit: self.limit(kind),
            used,
            refused: self.count(kind).refused.load(Ordering::Relaxed),
        }
    }

    fn count(&self, kind: QuotaKind) -> &Count {
        &self.counts[kind as usize]
    }

    fn rate(&self, kind: QuotaKind) -> &Rate {
        &self.rates[rate_index(kind)]
    }

    fn note_refusal(&self, kind: QuotaKind) {
        self.count(kind).refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes some of what exists, until the permit is dropped.
    ///
    /// # Errors
    ///
    /// [`OverQuota`], for the app's log.
    pub fn take(self: &Arc<Self>, kind: QuotaKind, count: u64) -> Result<QuotaPermit, OverQuota> {
        self.add(kind, count)?;
        Ok(QuotaPermit {
            quotas: Arc::clone(self),
            kind,
            count,
        })
    }

    /// Counts some of what exists, until [`give_back`](Self::give_back).
    ///
    /// # Errors
    ///
    /// [`OverQuota`]; nothing is counted then.
    pub(crate) fn add(&self, kind: QuotaKind, more: u64) -> Result<(), OverQuota> {
        let count = self.count(kind);
        let max = count.max.load(Ordering::Relaxed);
        let add = |used: u64| used.checked_add(more).filter(|sum| *sum <= max);
        // The numbers guard nothing but themselves.
        let added = match max {
            NONE => Ok(count.used.fetch_add(more, Ordering::Relaxed)),
            _ => count
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add),
        };
        let before = added.map_err(|used| {
            self.note_refusal(kind);
            OverQuota {
                kind,
                used,
                max,
                is_of_all: false,
            }
        })?;
        if let Some(all) = &self.all {
            all.add_of_all(kind, more, before + more)
                .inspect_err(|_| self.take_back(kind, more))?;
        }
        Ok(())
    }

    /// Counts more among all, of which one app then has so much.
    fn add_of_all(&self, kind: QuotaKind, more: u64, of_app: u64) -> Result<(), OverQuota> {
        let count = self.count(kind);
        let max = count.max.load(Ordering::Relaxed);
        let add = |used: u64| with_more_of_all(used, more, of_app, max);
        let added = match max {
            NONE => Ok(count.used.fetch_add(more, Ordering::Relaxed)),
            _ => count
                .used
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add),
        };
        added.map(drop).map_err(|used| {
            self.note_refusal(kind);
            OverQuota {
                kind,
                used,
                max,
                is_of_all: true,
            }
        })
    }

    fn take_back(&self, kind: QuotaKind, less: u64) {
        self.count(kind).used.fetch_sub(less, Ordering::Relaxed);
    }

    /// Gives back what [`add`](Self::add) has counted.
    pub(crate) fn give_back(&self, kind: QuotaKind, less: u64) {
        self.take_back(kind, less);
        if let Some(all) = &self.all {
            all.take_back(kind, less);
        }
    }

    /// Whether so much more would be granted at this moment.
    pub(crate) fn has_room(&self, kind: QuotaKind, more: u64) -> bool {
        more == 0 || self.lack(kind, more).is_none()
    }

    /// Checks whether so much more would be granted at this moment.
    ///
    /// # Errors
    ///
    /// [`OverQuota`].
    pub(crate) fn check(&self, kind: QuotaKind, more: u64) -> Result<(), OverQuota> {
        let Some(lack) = self.lack(kind, more) else {
            return Ok(());
        };
        match &self.all {
            Some(all) if lack.is_of_all => all.note_refusal(kind),
            _ => self.note_refusal(kind),
        }
        Err(lack)
    }

    /// Why [`add`](Self::add) would refuse so much more.
    fn lack(&self, kind: QuotaKind, more: u64) -> Option<OverQuota> {
        let count = self.count(kind);
        let max = count.max.load(Ordering::Relaxed);
        let used = count.used.load(Ordering::Relaxed);
        let of_app = used.saturating_add(more);
        if max != NONE && of_app > max {
            return Some(OverQuota {
                kind,
                used,
                max,
                is_of_all: false,
            });
        }
        let count = self.all.as_ref()?.count(kind);
        let max = count.max.load(Ordering::Relaxed);
        let used = count.used.load(Ordering::Relaxed);
        (max != NONE && with_more_of_all(used, more, of_app, max).is_none()).then_some(OverQuota {
            kind,
            used,
            max,
            is_of_all: true,
        })
    }

    /// What a rate counts, as of now.
    fn total(&self, kind: QuotaKind, meter: &Meter) -> u64 {
        let metered = match kind {
            QuotaKind::Ingress => meter.ingress_bytes(),
            QuotaKind::Egress => meter.egress_bytes(),
            QuotaKind::Cpu => self.cpu_ns.load(Ordering::Relaxed),
            _ => meter.gas(),
        };
        metered.saturating_add(self.used(kind))
    }

    /// Counts bytes of queries, answers and heads: they stand on no bill, so that no
    /// meter has them, and are held by the rates all the same.
    pub(crate) fn add_unmetered(&self, kind: QuotaKind, bytes: usize) {
        let used = &self.count(kind).used;
        used.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The rate of all apps together, if it has a limit.
    fn rate_of_all(&self, kind: QuotaKind) -> Option<&Rate> {
        let all = self.all.as_ref()?.rate(kind);
        (all.limit() != NONE).then_some(all)
    }

    /// Counts what an app has used among what all have.
    fn spend(&self, kind: QuotaKind, units: u64, now: u64) {
        if units > 0 {
            let before = self.count(kind).used.fetch_add(units, Ordering::Relaxed);
            self.rate(kind).spend(units, now);
            self.rate(kind).average(before.saturating_add(units), now);
        }
    }

    /// Whether a rate has a limit, of the app or of all.
    #[inline]
    fn is_limited(&self, kind: QuotaKind) -> bool {
        self.rate(kind).limit() != NONE || self.rate_of_all(kind).is_some()
    }

    /// Units of a rate that may be used now.
    ///
    /// # Errors
    ///
    /// The time until it is worth asking again.
    fn available(&self, kind: QuotaKind, meter: &Meter) -> Result<u64, Duration> {
        let (own, now) = (self.rate(kind), now_ns());
        let used = own.settle(self.total(kind, meter), now);
        let mut available = own.available(now);
        if let Some(all) = &self.all
            && all.rate(kind).limit() != NONE
        {
            all.spend(kind, used, now);
            let share = own.share_of(all.rate(kind), now);
            available = available.and_then(|units| Ok(units.min(share?)));
        }
        available.map_err(|wait| wait.min(QUOTA_LOOK_MAX))
    }

    /// How many of so many bytes may be moved now; they count when the meter counts
    /// them.
    ///
    /// # Errors
    ///
    /// The time until it is worth asking again.
    #[inline]
    pub(crate) fn allow(
        &self,
        kind: QuotaKind,
        wanted: usize,
        meter: &Meter,
    ) -> Result<usize, Duration> {
        let allowed = self.look(kind, wanted, meter);
        allowed.inspect_err(|_| self.note_refusal(kind))
    }

    /// The same, without counting that something has to wait: for what waits already.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow).
    #[inline]
    pub(crate) fn look(
        &self,
        kind: QuotaKind,
        wanted: usize,
        meter: &Meter,
    ) -> Result<usize, Duration> {
        if !self.is_limited(kind) {
            return Ok(wanted);
        }
        let available = self.available(kind, meter)?;
        Ok(wanted.min(usize::try_from(available).unwrap_or(usize::MAX)))
    }

    /// Whether the time of processors is measured.
    #[inline]
    pub(crate) fn measures_cpu(&self) -> bool {
        self.is_limited(QuotaKind::Cpu)
    }

    /// Counts time of a processor.
    pub(crate) fn add_cpu(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or_default();
        self.cpu_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// How long an instance has to wait before it computes on; `None` for not at all.
    pub(crate) fn pause(&self, meter: &Meter) -> Option<Duration> {
        let mut longest = None;
        for kind in [QuotaKind::Cpu, QuotaKind::GasRate] {
            if !self.is_limited(kind) {
                continue;
            }
            if let Err(wait) = self.available(kind, meter) {
                self.note_refusal(kind);
                longest = longest.max(Some(wait));
            }
        }
        // Each instance that waits looks less often the more there are.
        let waiting = u32::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let least = QUOTA_PAUSE_MIN.saturating_mul(waiting.max(1));
        longest.map(|wait| wait.max(least).min(QUOTA_LOOK_MAX))
    }

    /// Counts an instance that waits, or does not wait any more.
    pub(crate) fn note_waiting(&self, is_waiting: bool) {
        match is_waiting {
            true => self.waiting.fetch_add(1, Ordering::Relaxed),
            false => self.waiting.fetch_sub(1, Ordering::Relaxed),
        };
    }
}

/// Some of what an app has a quota of. Dropping it gives it back.
#[derive(Debug)]
pub struct QuotaPermit {
    quotas: Arc<Quotas>,
    kind: QuotaKind,
    count: u64,
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.quotas.give_back(self.kind, self.count);
    }
}

#[cfg(test)]
mod tests;
