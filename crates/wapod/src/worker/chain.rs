//! What the worker knows of its chain of reports between two of them.
//!
//! Reports are made in `reports`; when, is decided there and in `usage`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::clock::unix_ms;
use crate::store::ChainEnd;

/// What the worker knows of its chain.
pub(super) struct Chain {
    /// `None` when a write has ended in doubt: the store knows.
    pub(super) end: Mutex<Option<ChainEnd>>,
    /// Where the first report of all begins.
    pub(super) begun_ms: u64,
    pub(super) interval: Duration,
    /// Whether an app may have left whose last entry is due.
    pub(super) finals_due: AtomicBool,
    /// When usage was last reported on request.
    pub(super) settled: Mutex<Option<Instant>>,
}

/// The right to make reports.
pub(super) type ChainGuard<'a> = MutexGuard<'a, Option<ChainEnd>>;

/// Which apps a report is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// Those that have left.
    Finals,
    /// And those that did something.
    Busy,
    /// And those that only held something.
    All,
}

impl Chain {
    pub(super) fn new(end: ChainEnd, interval: Duration) -> Self {
        Self {
            end: Mutex::new(Some(end)),
            begun_ms: unix_ms(),
            interval,
            // Of apps that have left before.
            finals_due: AtomicBool::new(true),
            settled: Mutex::default(),
        }
    }

    /// An app has left.
    pub(super) fn app_has_left(&self) {
        self.finals_due.store(true, Ordering::Relaxed);
    }

    /// Nobody makes a report as long as this is held.
    pub(super) async fn lock(&self) -> ChainGuard<'_> {
        self.end.lock().await
    }
}
