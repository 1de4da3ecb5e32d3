//! How fast something may go: a token bucket that is filled by time.
//!
//! What counts is a total that others keep (bytes of the meter, gas, time of the
//! processor): a look settles what was added since the last one, so that whatever
//! is counted for the bill is counted here, too. The bucket is one number, the
//! moment at which all that was used will have been earned (the generic cell rate
//! algorithm, ITU-T I.371). It may be overdrawn by what one step can do, and is
//! paid back before the next. Called by [`Quotas`](super::Quotas).

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{QUOTA_BURST, QUOTA_LOOK_MAX, QUOTA_TICK};

/// Stands for no limit, and for a total that is not known yet.
pub(super) const NONE: u64 = u64::MAX;

/// Time over which use is averaged for people.
const WINDOW_NS: u64 = 1_000_000_000;

const SECOND_NS: u128 = 1_000_000_000;

/// Any moment before the first one; times are counted from it.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(super) fn now_ns() -> u64 {
    let passed = EPOCH.elapsed().as_nanos();
    // A second later than the beginning: what is 0 was never set.
    u64::try_from(passed).unwrap_or(NONE / 2) + WINDOW_NS
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NONE / 4)
}

/// A bucket. Times are nanoseconds since [`EPOCH`].
#[derive(Debug)]
pub(super) struct Rate {
    /// Units in a second; [`NONE`] for no limit.
    per_second: AtomicU64,
    /// Units that may always be saved up.
    burst_min: u64,
    /// When what was used so far is earned.
    earned_at: AtomicU64,
    /// The total at the last look.
    seen: AtomicU64,
    /// What may be drawn from the bucket of all apps in this tick.
    drawn_tick: AtomicU64,
    drawn_left: AtomicU64,
    /// The beginning of the window that is averaged, the total then, and the
    /// average of the one before.
    window_at: AtomicU64,
    window_total: AtomicU64,
    recent: AtomicU64,
}

impl Rate {
    pub(super) fn new(burst_min: u64) -> Self {
        Self {
            per_second: AtomicU64::new(NONE),
            burst_min,
            earned_at: AtomicU64::new(0),
            seen: AtomicU64::new(NONE),
            drawn_tick: AtomicU64::new(0),
            drawn_left: AtomicU64::new(0),
            window_at: AtomicU64::new(0),
            window_total: AtomicU64::new(0),
            recent: AtomicU64::new(0),
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.per_second.load(Ordering::Relaxed)
    }

    /// Sets the limit. What was used without one is not counted, and what is left or
    /// owed stays as much in units.
    pub(super) fn set(&self, per_second: u64, now: u64) {
        match self.per_second.swap(per_second, Ordering::Relaxed) {
            NONE => self.forget(),
            // Nothing may be used then, so that a debt would be paid for nothing.
            _ if per_second == 0 => self.earned_at.store(0, Ordering::Relaxed),
            before => self.rescale(before, per_second, now),
        }
    }

    /// The time in which so much is earned as the bucket holds.
    fn burst_ns(&self, per_second: u64) -> u64 {
        ns(QUOTA_BURST).max(time_for(self.burst_min, per_second))
    }

    /// Counts what is left or owed in the time of another limit. A debt never takes
    /// longer than before.
    fn rescale(&self, before: u64, per_second: u64, now: u64) {
        if before == per_second
            || [before, per_second]
                .iter()
                .any(|rate| [0, NONE].contains(rate))
        {
            return;
        }
        let old_until = now.saturating_add(self.burst_ns(before));
        let new_burst = self.burst_ns(per_second);
        let new_until = now.saturating_add(new_burst);
        let scaled = |time: u64| {
            let time = u128::from(time) * u128::from(before) / u128::from(per_second);
            u64::try_from(time).unwrap_or(NONE / 4)
        };
        let rescaled = |earned: u64| {
            let earned = earned.max(now);
            Some(match earned.checked_sub(old_until) {
                Some(owed) => new_until.saturating_add(scaled(owed).min(owed)),
                None => new_until - scaled(old_until - earned).min(new_burst),
            })
        };
        // The update never refuses.
        let _ = self
            .earned_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rescaled);
    }

    /// What is used from now on counts, and nothing before.
    pub(super) fn forget(&self) {
        self.seen.store(NONE, Ordering::Relaxed);
        self.earned_at.store(0, Ordering::Relaxed);
    }

    /// Settles what was used since the last look, and says how much that was.
    pub(super) fn settle(&self, total: u64, now: u64) -> u64 {
        let seen = self.seen.load(Ordering::Relaxed);
        if seen == total {
            return 0;
        }
        let before = match seen {
            NONE => self.seen.swap(total, Ordering::Relaxed),
            _ => self.seen.fetch_max(total, Ordering::Relaxed),
        };
        let used = match before {
            NONE => 0,
            before => total.saturating_sub(before),
        };
        self.spend(used, now);
        self.average(total, now);
        used
    }

    /// Uses so much, whether it is there or not.
    pub(super) fn spend(&self, units: u64, now: u64) {
        if units == 0 {
            return;
        }
        let left = |left: u64| Some(left.saturating_sub(units));
        // The updates never refuse.
        let _ = self
            .drawn_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        let per_second = self.limit();
        let cost = match per_second {
            // At no rate there is nothing to pay a debt with, and no use but what
            // began before.
            0 | NONE => return,
            _ => time_for(units, per_second),
        };
        let add = |earned: u64| Some(earned.max(now).saturating_add(cost));
        let _ = self
            .earned_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        // Set meanwhile: what was added is not to be paid at the old rate.
        self.rescale(per_second, self.limit(), now);
    }

    /// Units that may be used now.
    ///
    /// # Errors
    ///
    /// The time until there are some.
    pub(super) fn available(&self, now: u64) -> Result<u64, Duration> {
        let per_second = match self.limit() {
            NONE => return Ok(NONE),
            0 => return Err(QUOTA_LOOK_MAX),
            some => some,
        };
        let until = now.saturating_add(self.burst_ns(per_second));
        let earned_at = self.earned_at.load(Ordering::Relaxed).max(now);
        let saved = until.saturating_sub(earned_at);
        let units = u128::from(saved) * u128::from(per_second) / SECOND_NS;
        match u64::try_from(units).unwrap_or(NONE) {
            0 => {
                let debt = earned_at.saturating_sub(until);
                let wait = debt.saturating_add(time_for(1, per_second));
                Err(Duration::from_nanos(wait))
            }
            units => Ok(units),
        }
    }

    /// Units of the bucket of all apps that this one may use in this tick: half of
    /// what is there when it asks first, so that others find some.
    ///
    /// # Errors
    ///
    /// The time until the next tick.
    pub(super) fn share_of(&self, all: &Self, now: u64) -> Result<u64, Duration> {
        if all.limit() == NONE {
            return Ok(NONE);
        }
        let tick_ns = ns(QUOTA_TICK);
        let tick = now / tick_ns;
        if self.drawn_tick.fetch_max(tick, Ordering::Relaxed) < tick {
            let half = all.available(now).map_or(0, |units| units.div_ceil(2));
            self.drawn_left.store(half, Ordering::Relaxed);
        }
        match self.drawn_left.load(Ordering::Relaxed) {
            0 => Err(Duration::from_nanos((tick + 1) * tick_ns - now)),
            left => Ok(left),
        }
    }

    /// Takes the average over a window that is over.
    pub(super) fn average(&self, total: u64, now: u64) {
        let begun = self.window_at.load(Ordering::Relaxed);
        let passed = now.saturating_sub(begun);
        if passed < WINDOW_NS {
            return;
        }
        let before = self.window_total.swap(total, Ordering::Relaxed);
        self.window_at.store(now, Ordering::Relaxed);
        // One that nobody looked at for long began with something else.
        let recent = match passed < 3 * WINDOW_NS {
            true => per_second(total.saturating_sub(before), passed),
            false => 0,
        };
        self.recent.store(recent, Ordering::Relaxed);
    }

    /// Units in a second, lately. `total` is what it is now.
    pub(super) fn recent(&self, total: u64, now: u64) -> u64 {
        if self.limit() == NONE {
            return 0;
        }
        let passed = now.saturating_sub(self.window_at.load(Ordering::Relaxed));
        if passed < WINDOW_NS {
            return self.recent.load(Ordering::Relaxed);
        }
        let before = self.window_total.load(Ordering::Relaxed);
        per_second(total.saturating_sub(before), passed)
    }
}

/// Time in which so many units are earned, rounded up.
fn time_for(units: u64, per_second: u64) -> u64 {
    let time = (u128::from(units) * SECOND_NS).div_ceil(u128::from(per_second.max(1)));
    u64::try_from(time).unwrap_or(NONE / 4)
}

fn per_second(units: u64, passed_ns: u64) -> u64 {
    let rate = u128::from(units) * SECOND_NS / u128::from(passed_ns.max(1));
    u64::try_from(rate).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u64 = 200;

    fn rate(per_second: u64) -> Rate {
        let rate = Rate::new(BURST);
        rate.set(per_second, 0);
        rate.settle(0, 1);
        rate
    }

    fn after(seconds: f64) -> u64 {
        WINDOW_NS + ns(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn what_was_saved_up_may_be_used_at_once_and_no_more() {
        let rate = rate(100);
        assert_eq!(rate.available(after(0.0)), Ok(BURST));
        rate.settle(BURST, after(0.0));
        let wait = rate.available(after(0.0)).expect_err("used up");
        assert_eq!(wait, Duration::from_millis(10));
        assert_eq!(rate.available(after(0.5)), Ok(50));
        assert_eq!(rate.available(after(9.0)), Ok(BURST), "and not more");
    }

    #[test]
    fn a_debt_is_paid_first_and_a_higher_rate_pays_it_sooner() {
        let rate = rate(100);
        rate.settle(BURST + 300, after(0.0));
        let wait = rate.available(after(1.0)).expect_err("in debt");
        assert_eq!(wait, Duration::from_millis(2010));
        rate.set(NONE, after(1.0));
        assert_eq!(rate.available(after(1.0)), Ok(NONE));
        rate.settle(9_999, after(1.0));
        rate.set(100, after(1.0));
        rate.settle(10_000, after(1.0));
        assert_eq!(rate.available(after(1.0)), Ok(BURST), "counts from now on");
    }

    #[test]
    fn a_rate_that_is_raised_is_not_waited_for_at_the_old_one() {
        let rate = rate(1);
        rate.settle(BURST, after(0.0));
        rate.set(1_000_000, after(1.0));
        let left = rate.available(after(1.0));
        assert!(left.is_ok_and(|units| units < 10), "one was left: {left:?}");
        assert_eq!(rate.available(after(2.0)), Ok(500_000));
        rate.settle(BURST + 2_000_000, after(2.0));
        rate.set(2_000_000, after(2.0));
        let wait = rate
            .available(after(2.0))
            .expect_err("1.5 million are owed");
        assert!(wait.abs_diff(Duration::from_millis(750)) < Duration::from_millis(1));
        rate.set(1, after(2.0));
        let wait = rate.available(after(2.0)).expect_err("in debt");
        assert!(wait < Duration::from_millis(1_800), "{wait:?}");
    }

    #[test]
    fn what_is_left_of_a_rate_that_is_lowered_is_no_debt() {
        let rate = rate(1_000_000);
        rate.settle(400_000, after(0.0));
        rate.set(100, after(0.0));
        assert_eq!(rate.available(after(0.0)), Ok(BURST));
        rate.settle(400_000 + BURST, after(0.0));
        rate.set(50, after(0.0));
        assert_eq!(rate.available(after(1.0)), Ok(50));
    }

    #[test]
    fn a_rate_of_nothing_leaves_no_debt() {
        let rate = rate(500_000_000);
        rate.settle(5_000_000_000, after(0.0));
        rate.set(0, after(0.0));
        rate.settle(10_000_000_000, after(0.1));
        assert_eq!(rate.available(after(0.1)), Err(QUOTA_LOOK_MAX));
        rate.set(500_000_000, after(0.2));
        assert!(rate.available(after(0.2)).is_ok());
    }

    #[test]
    fn nothing_may_be_used_at_a_rate_of_nothing() {
        let rate = rate(0);
        assert_eq!(rate.available(after(5.0)), Err(QUOTA_LOOK_MAX));
    }

    #[test]
    fn the_largest_rates_and_totals_do_not_overflow() {
        let rate = rate(NONE - 1);
        rate.settle(NONE - 2, after(0.0));
        assert!(rate.available(after(0.0)).is_err());
        assert!(rate.available(after(10.0)).is_ok());
        let slow = self::rate(1);
        slow.settle(NONE - 2, after(0.0));
        assert!(slow.available(after(1e6)).is_err());
    }

    #[test]
    fn an_app_takes_half_of_what_all_have_left_in_a_tick() {
        let (all, one, other) = (rate(100), Rate::new(BURST), Rate::new(BURST));
        let now = after(0.0);
        assert_eq!(one.share_of(&all, now), Ok(100));
        all.spend(100, now);
        one.spend(100, now);
        assert!(one.share_of(&all, now).is_err(), "until the next tick");
        assert_eq!(other.share_of(&all, now), Ok(50));
        let next = now + ns(QUOTA_TICK);
        assert_eq!(one.share_of(&all, next), Ok(51));
    }

    #[test]
    fn use_is_averaged_over_a_second() {
        let rate = rate(1_000_000);
        for tenth in 0..=25_u64 {
            rate.settle(tenth * 10, after(tenth as f64 / 10.0));
        }
        assert_eq!(rate.recent(250, after(2.6)), 100);
        let idle = rate.recent(250, after(60.0));
        assert!(idle < 5, "{idle}");
    }
}
