//! How long an app takes to answer: a histogram of counters.
//!
//! Counted without a lock when the head of an answer, or the answer to a query,
//! is there. Read by the figures for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds.
pub(crate) const BOUNDS_US: [u64; 12] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Counts answers by their time.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// The last one is for what is above all bounds.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A reading of [`Latency`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LatencyReading {
    /// Answers at or below each bound, and all of them at the end.
    pub(crate) cumulated: [u64; BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

impl Latency {
    /// Counts an answer.
    pub(crate) fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Reads all counters.
    pub(crate) fn read(&self) -> LatencyReading {
        let mut total = 0;
        let cumulated = std::array::from_fn(|index| {
            total += self.buckets[index].load(Ordering::Relaxed);
            total
        });
        LatencyReading {
            cumulated,
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fall_into_the_bucket_of_their_bound() {
        let latency = Latency::default();
        for us in [0, 250, 251, 40_000_000] {
            latency.observe(Duration::from_micros(us));
        }
        let reading = latency.read();
        assert_eq!(reading.cumulated[0], 2);
        assert_eq!(reading.cumulated[1], 3);
        assert_eq!(reading.cumulated[BOUNDS_US.len()], 4);
        assert_eq!(reading.sum_us, 40_000_501);
    }
}
