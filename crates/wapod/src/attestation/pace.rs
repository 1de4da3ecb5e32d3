//! How often something may be done: what was not used is saved up to a burst.
//!
//! Callers are refused or wait, as the caller likes. Used by `quoter` for strangers
//! and guests, and by `worker::guest_evidence` for each app.

use std::time::{Duration, Instant};

/// A rate with a burst.
pub(crate) struct Pace {
    per_second: f64,
    burst: f64,
    saved: f64,
    looked: Instant,
}

impl Pace {
    /// With the whole burst saved.
    pub(crate) fn full(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            saved: burst,
            looked: Instant::now(),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// The time after which there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.looked);
        let saved = self.saved + passed.as_secs_f64() * self.per_second;
        self.saved = saved.min(self.burst);
        self.looked = now;
        if self.saved < 1.0 {
            return Err(Duration::from_secs_f64(
                (1.0 - self.saved) / self.per_second,
            ));
        }
        self.saved -= 1.0;
        Ok(())
    }

    /// Takes one when there is one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn turn(&mut self) {
        while let Err(time) = self.take(Instant::now()) {
            tokio::time::sleep(time).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_burst_and_then_a_rate() {
        let mut pace = Pace::full(5.0, 20.0);
        let start = pace.looked;
        for _ in 0..20 {
            assert_eq!(pace.take(start), Ok(()));
        }
        let each = Duration::from_millis(200);
        let told = pace.take(start).expect_err("all are taken");
        assert!(told.abs_diff(each) < Duration::from_micros(1), "{told:?}");
        assert!(pace.take(start + each / 2).is_err());
        assert_eq!(pace.take(start + each * 3 / 2), Ok(()));
        assert!(pace.take(start + each * 3 / 2).is_err());
        let later = start + Duration::from_secs(3600);
        for _ in 0..20 {
            assert_eq!(pace.take(later), Ok(()));
        }
        assert!(pace.take(later).is_err());
    }
}
