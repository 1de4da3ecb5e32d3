//! The DNS cache of one app, and the rate of its questions.
//!
//! Each app has a cache of its own. With a common one an app could fill it with
//! names and push out those of others, and could find out by the clock what others
//! have asked for. All caches together have a bound that the worker's resolver keeps
//! ([`AnswerRoom`]). Used by `dns`; knows no policy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use crate::limits::{
    ANSWERS_MAX, APP_ANSWERS_MAX, APP_ANSWERS_MIN, LOOKUP_BURST, LOOKUP_WAIT_MAX,
    LOOKUPS_PER_SECOND, LOOKUPS_UNDER_WAY_MAX, NEGATIVE_TTL_MAX, POSITIVE_TTL_MAX,
};

/// One of the two kinds of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum AddressFamily {
    V4,
    V6,
}

/// What a name resolved to; `None` for no address.
pub(crate) type Answer = Option<Arc<[IpAddr]>>;

/// Answers that all apps together may keep.
#[derive(Debug)]
pub(crate) struct AnswerRoom {
    used: AtomicUsize,
    max: usize,
}

impl Default for AnswerRoom {
    fn default() -> Self {
        Self {
            used: AtomicUsize::new(0),
            max: ANSWERS_MAX,
        }
    }
}

impl AnswerRoom {
    /// Takes a place for an app that has `held` of them.
    fn take(self: &Arc<Self>, held: usize) -> Option<Place> {
        let before = self.used.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        // Dropping the place gives it back.
        (before < self.max || held < APP_ANSWERS_MIN).then_some(place)
    }
}

/// A place for an answer, as long as it lives.
#[derive(Debug)]
struct Place(Arc<AnswerRoom>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An app's part of name resolution; its instances share one.
#[derive(Debug)]
pub struct NameShare {
    state: Mutex<State>,
    /// Questions under way.
    pub(crate) under_way: Semaphore,
}

#[derive(Debug)]
struct State {
    answers: HashMap<AddressFamily, HashMap<String, Kept>>,
    /// When the next question would be asked if they came at the allowed rate.
    due: Instant,
}

#[derive(Debug)]
struct Kept {
    answer: Answer,
    valid_until: Instant,
    /// Of the configuration by which it was found.
    generation: u64,
    _place: Place,
}

impl Default for NameShare {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                answers: HashMap::new(),
                due: Instant::now(),
            }),
            under_way: Semaphore::new(LOOKUPS_UNDER_WAY_MAX),
        }
    }
}

/// More is asked than may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooManyNames;

impl NameShare {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer that is known and holds.
    pub(crate) fn known(
        &self,
        name: &str,
        family: AddressFamily,
        generation: u64,
        now: Instant,
    ) -> Option<Answer> {
        let state = self.state();
        let kept = state.answers.get(&family)?.get(name)?;
        let holds = kept.generation == generation && kept.valid_until > now;
        holds.then(|| kept.answer.clone())
    }

    /// Keeps an answer for as long as its time to live says, within bounds.
    pub(crate) fn keep(
        &self,
        room: &Arc<AnswerRoom>,
        (name, family, generation): (&str, AddressFamily, u64),
        answer: Answer,
        ttl: Duration,
        now: Instant,
    ) {
        let ttl_max = match answer {
            Some(_) => POSITIVE_TTL_MAX,
            None => NEGATIVE_TTL_MAX,
        };
        let ttl = ttl.min(ttl_max);
        if ttl.is_zero() {
            return;
        }
        let mut state = self.state();
        state.forget(family, name);
        if state.len() >= APP_ANSWERS_MAX {
            state.make_room(now);
        }
        let place = match room.take(state.len()) {
            Some(place) => place,
            None => {
                // One of its own makes room, no other app's.
                state.make_room(now);
                match room.take(state.len()) {
                    Some(place) => place,
                    None => return,
                }
            }
        };
        let kept = Kept {
            answer,
            valid_until: now + ttl,
            generation,
            _place: place,
        };
        let family = state.answers.entry(family).or_default();
        family.insert(name.to_owned(), kept);
    }

    /// Takes a turn to ask. Gives the time to wait before.
    ///
    /// # Errors
    ///
    /// [`TooManyNames`] when that would be too long.
    pub(crate) fn turn(&self, now: Instant) -> Result<Duration, TooManyNames> {
        let interval = Duration::from_secs(1) / LOOKUPS_PER_SECOND;
        let mut state = self.state();
        let due = state.due.max(now);
        let wait = due.saturating_duration_since(now + interval * LOOKUP_BURST);
        if wait > LOOKUP_WAIT_MAX {
            return Err(TooManyNames);
        }
        state.due = due + interval;
        Ok(wait)
    }
}

impl State {
    fn len(&self) -> usize {
        self.answers.values().map(HashMap::len).sum()
    }

    fn forget(&mut self, family: AddressFamily, name: &str) {
        if let Some(family) = self.answers.get_mut(&family) {
            family.remove(name);
        }
    }

    /// Drops what has expired, or else what expires first.
    fn make_room(&mut self, now: Instant) {
        let before = self.len();
        for family in self.answers.values_mut() {
            family.retain(|_, kept| kept.valid_until > now);
        }
        if self.len() < before {
            return;
        }
        let all = self.answers.iter().flat_map(|(family, names)| {
            let names = names.iter();
            names.map(|(name, kept)| (kept.valid_until, *family, name))
        });
        let first = all.min_by_key(|(valid_until, ..)| *valid_until);
        if let Some((_, family, name)) = first {
            let name = name.clone();
            self.forget(family, &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: AddressFamily = AddressFamily::V4;

    fn answer() -> Answer {
        Some(Arc::from([IpAddr::from([192, 0, 2, 1])]))
    }

    fn fill(share: &NameShare, room: &Arc<AnswerRoom>, count: usize) {
        let now = Instant::now();
        for number in 0..count {
            let name = format!("n{number}.test");
            let ttl = Duration::from_millis(100_000 + number as u64);
            share.keep(room, (&name, V4, 0), answer(), ttl, now);
        }
    }

    fn used(room: &AnswerRoom) -> usize {
        room.used.load(Ordering::Relaxed)
    }

    #[test]
    fn answers_hold_for_their_time_within_bounds() {
        let (share, room) = (NameShare::default(), Arc::default());
        let now = Instant::now();
        let ages = Duration::from_secs(1 << 30);
        share.keep(&room, ("a", V4, 0), answer(), ages, now);
        share.keep(&room, ("b", V4, 0), None, ages, now);
        share.keep(&room, ("c", V4, 0), answer(), Duration::ZERO, now);
        let known = |name: &str, generation, now| share.known(name, V4, generation, now);
        assert_eq!(known("a", 0, now), Some(answer()));
        let other = share.known("a", AddressFamily::V6, 0, now);
        assert_eq!(other, None, "another question");
        assert_eq!(known("a", 1, now), None, "another configuration");
        assert_eq!(known("b", 0, now), Some(None));
        assert_eq!(known("c", 0, now), None, "an answer for no time");
        let later = now + NEGATIVE_TTL_MAX;
        assert_eq!(known("b", 0, later), None);
        assert_eq!(known("a", 0, later), Some(answer()));
        assert_eq!(known("a", 0, now + POSITIVE_TTL_MAX), None);
    }

    #[test]
    fn an_app_keeps_so_many_answers_and_pushes_out_its_own_only() {
        let room = Arc::new(AnswerRoom {
            used: AtomicUsize::new(0),
            max: APP_ANSWERS_MAX + 2,
        });
        let (greedy, modest) = (NameShare::default(), NameShare::default());
        fill(&modest, &room, 1);
        fill(&greedy, &room, 3 * APP_ANSWERS_MAX);
        assert_eq!(used(&room), APP_ANSWERS_MAX + 1);
        let now = Instant::now();
        let known = |share: &NameShare, name: &str| share.known(name, V4, 0, now).is_some();
        assert!(known(&modest, "n0.test"), "untouched");
        let last = format!("n{}.test", 3 * APP_ANSWERS_MAX - 1);
        assert!(known(&greedy, &last), "the newest stays");
        assert!(!known(&greedy, "n0.test"), "it would have expired first");
        let third = NameShare::default();
        fill(&third, &room, 2 * APP_ANSWERS_MIN);
        assert_eq!(third.state().len(), APP_ANSWERS_MIN, "a few in any case");
        drop((greedy, modest, third));
        assert_eq!(used(&room), 0);
    }

    #[test]
    fn questions_beyond_the_burst_wait_and_beyond_that_are_refused() {
        let share = NameShare::default();
        let now = Instant::now() + Duration::from_secs(1);
        for _ in 0..LOOKUP_BURST {
            assert_eq!(share.turn(now), Ok(Duration::ZERO));
        }
        let mut waits = Vec::new();
        while let Ok(wait) = share.turn(now) {
            waits.push(wait);
        }
        assert!(waits.is_sorted(), "each waits longer than the one before");
        let expected = LOOKUP_WAIT_MAX.as_secs() * u64::from(LOOKUPS_PER_SECOND);
        let count = waits.len() as u64;
        assert!(count.abs_diff(expected) <= 2, "{count}");
        let later = now + 2 * LOOKUP_WAIT_MAX;
        assert_eq!(share.turn(later), Ok(Duration::ZERO));
    }
}
