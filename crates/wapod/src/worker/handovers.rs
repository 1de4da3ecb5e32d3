//! What the worker knows of handovers of its key: who may get it, and the nonce that was
//! given last.
//!
//! Hands over nothing itself: `handover` does, which calls it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::config::HandoverPolicy;
use crate::limits::HANDOVER_NONCE_LIFE;

/// What is known of handovers.
pub(super) struct Handovers {
    /// The policy of workers that may get the key; `None` if none may. Fixed when the
    /// worker starts.
    policy: Option<HandoverPolicy>,
    /// The nonce that was given last, until it is used.
    given: Mutex<Option<([u8; 32], Instant)>>,
    /// One request at a time: each costs signatures and a quote.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Handovers {
    pub(super) fn new(policy: Option<HandoverPolicy>) -> Self {
        Self {
            policy,
            given: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn policy(&self) -> Result<&HandoverPolicy, String> {
        self.policy.as_ref().ok_or_else(|| {
            "this worker does not hand over its key: it was started without key-to-policy"
                .to_owned()
        })
    }

    pub(super) fn give(&self, nonce: [u8; 32], now: Instant) {
        *self.given() = Some((nonce, now));
    }

    /// Uses up a nonce.
    pub(super) fn take(&self, nonce: &[u8; 32], now: Instant) -> Result<(), String> {
        let mut given = self.given();
        match *given {
            Some((last, at)) if last == *nonce => {
                *given = None;
                match now.saturating_duration_since(at) <= HANDOVER_NONCE_LIFE {
                    true => Ok(()),
                    false => Err(format!(
                        "the nonce of the request is older than {} seconds: ask for another one",
                        HANDOVER_NONCE_LIFE.as_secs()
                    )),
                }
            }
            _ => Err(
                "the nonce of the request was not given last, or has been used: ask for another one"
                    .to_owned(),
            ),
        }
    }

    fn given(&self) -> MutexGuard<'_, Option<([u8; 32], Instant)>> {
        // Every change is a single assignment.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_once_and_for_a_while() {
        let handovers = Handovers::new(None);
        let now = Instant::now();
        assert!(handovers.take(&[0; 32], now).is_err(), "none was given");
        handovers.give([1; 32], now);
        assert!(handovers.take(&[2; 32], now).is_err());
        assert_eq!(handovers.take(&[1; 32], now + HANDOVER_NONCE_LIFE), Ok(()));
        let again = handovers.take(&[1; 32], now).expect_err("used");
        assert!(again.contains("has been used"), "{again}");
        handovers.give([3; 32], now);
        let late = now + HANDOVER_NONCE_LIFE + std::time::Duration::from_millis(1);
        let late = handovers.take(&[3; 32], late).expect_err("late");
        assert!(late.contains("older than 120 seconds"), "{late}");
        handovers.give([4; 32], now);
        handovers.give([5; 32], now);
        assert!(handovers.take(&[4; 32], now).is_err(), "replaced");
        assert_eq!(handovers.take(&[5; 32], now), Ok(()));
    }
}
