//! The times between which a private query counts, and the identifiers of those that
//! have come, on a budget of each client.
//!
//! The highest time that the clock has shown counts, so that a clock that is set back
//! lets no old query in; after a restart nothing of that is known. Used by
//! `private_query`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wapo_crypto::private_query::ENCAPSULATED_BYTES;

use super::budget::{Bounds, Budget, BudgetReading, Full, Share, Who};
use crate::limits::{
    PRIVATE_QUERIES_CLIENT_MAX, PRIVATE_QUERIES_MAX, PRIVATE_QUERY_AGE, PRIVATE_QUERY_AHEAD,
};

/// Why a query is not answered. The texts are for remote clients.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NotFresh {
    #[error(
        "the query is of {time}, and it is {now} here: it may be {age} s old and {ahead} s ahead, \
         so look at your clock and ask anew",
        age = PRIVATE_QUERY_AGE.as_secs(),
        ahead = PRIVATE_QUERY_AHEAD.as_secs()
    )]
    Time { time: u64, now: u64 },
    #[error("the query has come before, and is answered once; seal a new one")]
    Seen,
    #[error(transparent)]
    Full(#[from] Full),
}

/// Identifiers of the queries that have come.
pub(super) struct SeenQueries {
    budget: Arc<Budget>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The highest time that the clock has shown.
    now: u64,
    /// By the time that a query is bound to.
    by_time: BTreeMap<(u64, [u8; ENCAPSULATED_BYTES]), Share>,
}

impl SeenQueries {
    pub(super) fn new() -> Self {
        let bounds = Bounds {
            total: PRIVATE_QUERIES_MAX,
            each: PRIVATE_QUERIES_CLIENT_MAX,
            for_small: 0,
        };
        Self {
            budget: Budget::new(bounds),
            seen: Mutex::default(),
        }
    }

    pub(super) fn reading(&self) -> BudgetReading {
        self.budget.reading()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change is a single one.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a query that is bound to this time counts at all.
    pub(super) fn is_timely(&self, time: u64, clock_s: u64) -> Result<(), NotFresh> {
        self.seen().oldest(time, clock_s).map(|_| ())
    }

    /// Remembers a query that could be opened; the second time it is refused, and so it is
    /// when its time has gone by meanwhile.
    pub(super) fn remember(
        &self,
        (time, id): (u64, [u8; ENCAPSULATED_BYTES]),
        who: Who,
        clock_s: u64,
    ) -> Result<(), NotFresh> {
        let mut seen = self.seen();
        let oldest = seen.oldest(time, clock_s)?;
        while let Some(first) = seen.by_time.first_entry()
            && first.key().0 < oldest
        {
            first.remove();
        }
        if seen.by_time.contains_key(&(time, id)) {
            return Err(NotFresh::Seen);
        }
        let mut share = self.budget.share(who.key());
        share.grow(1)?;
        seen.by_time.insert((time, id), share);
        Ok(())
    }
}

impl Seen {
    /// The oldest time that counts by now, if this one does.
    fn oldest(&mut self, time: u64, clock_s: u64) -> Result<u64, NotFresh> {
        self.now = self.now.max(clock_s);
        let now = self.now;
        let oldest = now.saturating_sub(PRIVATE_QUERY_AGE.as_secs());
        let newest = now.saturating_add(PRIVATE_QUERY_AHEAD.as_secs());
        match (oldest..=newest).contains(&time) {
            true => Ok(oldest),
            false => Err(NotFresh::Time { time, now }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_780_272_000;

    fn who(last: u8) -> Who {
        Who::new([192, 0, 2, last].into(), &[])
    }

    #[test]
    fn a_query_counts_once_and_for_a_minute() {
        let seen = SeenQueries::new();
        let id = (NOW, [1; 32]);
        assert_eq!(seen.remember(id, who(1), NOW), Ok(()));
        for (client, clock) in [(1, NOW), (2, NOW), (2, NOW + 60), (1, NOW - 3600)] {
            let again = seen.remember(id, who(client), clock);
            assert_eq!(again, Err(NotFresh::Seen), "{client} {clock}");
        }
        let now = NOW + 61;
        let late = NotFresh::Time { time: NOW, now };
        assert_eq!(seen.remember(id, who(1), now), Err(late.clone()));
        // Nor when the clock is set back.
        assert_eq!(seen.remember(id, who(1), NOW), Err(late));
        assert_eq!(seen.remember((NOW + 66, [1; 32]), who(1), NOW), Ok(()));
        assert_eq!(seen.reading().used, 1, "what cannot count is forgotten");
        let ahead = seen.is_timely(NOW + 67, NOW);
        assert_eq!(
            ahead,
            Err(NotFresh::Time {
                time: NOW + 67,
                now
            })
        );
    }

    #[test]
    fn one_client_does_not_fill_the_room_of_others() {
        let seen = SeenQueries::new();
        let mut count = 0u64;
        let mut next = |last| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&count.to_le_bytes());
            count += 1;
            seen.remember((NOW, id), who(last), NOW)
        };
        for _ in 0..PRIVATE_QUERIES_CLIENT_MAX {
            assert_eq!(next(1), Ok(()));
        }
        assert_eq!(next(1), Err(NotFresh::Full(Full::Each)));
        assert_eq!(next(2), Ok(()));
        assert_eq!(
            seen.remember((NOW, [0; 32]), who(1), NOW),
            Err(NotFresh::Seen)
        );
        assert_eq!(seen.remember((NOW + 61, [9; 32]), who(1), NOW + 61), Ok(()));
        assert_eq!(seen.reading().used, 1);
    }
}
