//! Counters of connections to the shared TLS port, by outcome.
//!
//! Counted by `port`, shown by `api::figures`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How a connection has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// A guest has it.
    Served,
    /// The gateway serves it.
    Gateway,
    /// The client did not begin with a ClientHello.
    BadHello,
    /// It named no server.
    NoName,
    /// Nobody has the name.
    UnknownName,
    /// Nobody serves it now.
    Nobody,
    /// Client and server could not agree, or the client left.
    HandshakeFailed,
    /// The client took too long.
    Timeout,
    /// The app did not take the connection in time.
    NotTaken,
    /// Too many wait for the same app.
    Full,
    /// It had to leave for others.
    Displaced,
}

impl Outcome {
    /// All of them, in the order of their counters.
    const ALL: [Self; 11] = [
        Self::Served,
        Self::Gateway,
        Self::BadHello,
        Self::NoName,
        Self::UnknownName,
        Self::Nobody,
        Self::HandshakeFailed,
        Self::Timeout,
        Self::NotTaken,
        Self::Full,
        Self::Displaced,
    ];

    /// Why, if the app could have done something about it.
    pub(super) fn why_of_app(self) -> Option<&'static str> {
        match self {
            Self::NotTaken => Some("no instance took it in time"),
            Self::Full => Some("too many wait for the app"),
            Self::Nobody => Some("no instance serves the name"),
            _ => None,
        }
    }

    /// Its name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Gateway => "gateway",
            Self::BadHello => "bad_hello",
            Self::NoName => "no_name",
            Self::UnknownName => "unknown_name",
            Self::Nobody => "nobody",
            Self::HandshakeFailed => "handshake_failed",
            Self::Timeout => "timeout",
            Self::NotTaken => "not_taken",
            Self::Full => "full",
            Self::Displaced => "displaced",
        }
    }
}

/// Where a connection is that no guest has yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    /// Being read, or agreeing on keys.
    Handshake,
    /// Waiting for an app to start.
    Parked,
    /// Waiting for a guest to take it.
    Ready,
}

/// All counters.
#[derive(Default)]
pub(crate) struct Figures {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    handshake: AtomicUsize,
    parked: AtomicUsize,
    ready: AtomicUsize,
}

impl Figures {
    pub(super) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection in a state until the value is dropped.
    pub(super) fn enter(&self, at: At) -> Present<'_> {
        let count = self.gauge(at);
        count.fetch_add(1, Ordering::Relaxed);
        Present(count)
    }

    fn gauge(&self, at: At) -> &AtomicUsize {
        match at {
            At::Handshake => &self.handshake,
            At::Parked => &self.parked,
            At::Ready => &self.ready,
        }
    }

    /// How many connections have gone each way.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Outcome::ALL.iter().zip(&self.outcomes);
        all.map(|(outcome, count)| (outcome.name(), count.load(Ordering::Relaxed)))
    }

    /// How many connections are in each state.
    pub(crate) fn waiting(&self) -> [(&'static str, usize); 3] {
        [
            ("handshake", At::Handshake),
            ("parked", At::Parked),
            ("ready", At::Ready),
        ]
        .map(|(name, at)| (name, self.gauge(at).load(Ordering::Relaxed)))
    }
}

/// A connection that is counted.
pub(super) struct Present<'a>(&'a AtomicUsize);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_counter_of_its_own() {
        let figures = Figures::default();
        for (count, outcome) in Outcome::ALL.into_iter().enumerate() {
            for _ in 0..=count {
                figures.count(outcome);
            }
        }
        let read: Vec<_> = figures.outcomes().collect();
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(read[index], (outcome.name(), index as u64 + 1));
        }
    }
}
