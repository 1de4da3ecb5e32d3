//! When the next attempt for a name is due. Arithmetic only; used by the parent module.

use std::time::Duration;

use crate::limits::ACME_RETRY_MAX;

/// Times at which a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Validity {
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

impl Validity {
    /// When it is to be renewed: with a third of its life left, and a part of a tenth
    /// earlier. Certificates that were made together are not renewed together.
    pub(super) fn renewal(self, share: f64) -> u64 {
        let life = Duration::from_secs(self.not_after.saturating_sub(self.not_before));
        let left = life / 3 + (life / 10).mul_f64(share.clamp(0.0, 1.0));
        self.not_after.saturating_sub(left.as_secs())
    }

    /// Whether it is good at a time.
    pub(super) fn holds(self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// Pause after so many failures in a row: twice as long each time, and up to a quarter
/// more, so that many workers do not come back at once after an outage.
pub(super) fn pause(first: Duration, failures: u32, share: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let pause = first.saturating_mul(1 << doublings);
    let pause = pause.min(ACME_RETRY_MAX);
    pause.mul_f64(1.0 + share.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_with_a_third_of_its_life_left_and_not_all_at_once() {
        let validity = Validity {
            not_before: 1_000_000,
            not_after: 1_900_000,
        };
        assert_eq!(validity.renewal(0.0), 1_600_000);
        assert_eq!(validity.renewal(1.0), 1_510_000);
        assert!(validity.holds(1_000_000) && validity.holds(1_900_000));
        assert!(!validity.holds(999_999) && !validity.holds(1_900_001));
        let odd = Validity {
            not_before: 10,
            not_after: 5,
        };
        assert_eq!(odd.renewal(0.5), 5);
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let first = Duration::from_secs(60);
        assert_eq!(pause(first, 1, 0.0), first);
        assert_eq!(pause(first, 2, 0.0), 2 * first);
        assert_eq!(pause(first, 2, 1.0), 2 * first + first / 2);
        assert_eq!(pause(first, u32::MAX, 0.0), ACME_RETRY_MAX);
        assert_eq!(pause(first, 0, 0.0), first);
    }
}
