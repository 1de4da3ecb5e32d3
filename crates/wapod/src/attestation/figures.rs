//! Quotes and evidence, counted. Shown by `api::figures`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::request::{Asker, QuoteError};

/// What evidence is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About {
    /// The worker.
    Worker,
    /// An app.
    App,
    /// An app, in a certificate.
    Certificate,
}

const ASKERS: [(Asker, &str); 3] = [
    (Asker::Worker, "worker"),
    (Asker::Guest, "guest"),
    (Asker::Stranger, "stranger"),
];
const OUTCOMES: [&str; 4] = ["made", "refused", "timeout", "failed"];
const ABOUT: [&str; 3] = ["worker", "app", "certificate"];

/// The counters.
#[derive(Default)]
pub(crate) struct Figures {
    quotes: [[AtomicU64; OUTCOMES.len()]; ASKERS.len()],
    evidence: [AtomicU64; ABOUT.len()],
}

impl Figures {
    pub(super) fn count_quote(&self, asker: Asker, error: Option<&QuoteError>) {
        let outcome = match error {
            None => 0,
            Some(QuoteError::Busy(_) | QuoteError::TooMany) => 1,
            Some(QuoteError::Timeout) => 2,
            Some(QuoteError::Failed | QuoteError::None) => 3,
        };
        self.quotes[asker as usize][outcome].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts evidence that was made.
    pub(crate) fn count_evidence(&self, about: About) {
        self.evidence[about as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Quotes by who asked and what became of it.
    pub(crate) fn quotes(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        ASKERS.iter().flat_map(|(asker, name)| {
            let counts = &self.quotes[*asker as usize];
            let counts = OUTCOMES.iter().zip(counts);
            counts.map(|(outcome, count)| (*name, *outcome, count.load(Ordering::Relaxed)))
        })
    }

    /// Evidence by what it is about.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = ABOUT.iter().zip(&self.evidence);
        counts.map(|(about, count)| (*about, count.load(Ordering::Relaxed)))
    }
}
