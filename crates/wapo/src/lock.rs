//! Named locks that all instances of an app share.
//!
//! For work that only one instance may do at a time. Locks of an instance that
//! ends are given back by the host.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::sys::calls;
use crate::time::sleep;

/// First pause between two attempts of [`acquire`]; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Longest pause, and so the longest that a free lock stays unnoticed.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Holds a lock; dropping it gives the lock back.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct Guard {
    name: String,
}

impl Guard {
    /// Name of the lock.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Fails only when the lock is not ours, and then there is nothing to do.
        let _ = calls::app_unlock(&self.name);
    }
}

/// Takes a lock if it is free; `None` when it is taken, when the name is longer
/// than 64 bytes, or when the app holds too many locks.
///
/// # Errors
///
/// When the host fails otherwise.
pub fn try_acquire(name: &str) -> Result<Option<Guard>> {
    match calls::app_try_lock(name) {
        Ok(()) => Ok(Some(Guard {
            name: name.to_owned(),
        })),
        Err(Error::CONDITION_ERROR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for a lock. Asks again and again, at most 100 ms apart.
///
/// # Errors
///
/// When the host fails.
///
/// ```no_run
/// # async fn demo() -> wapo::Result<()> {
/// let _guard = wapo::lock::acquire("nightly-report").await?;
/// // ... only one instance is here ...
/// # Ok(())
/// # }
/// ```
pub async fn acquire(name: &str) -> Result<Guard> {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(guard) = try_acquire(name)? {
            return Ok(guard);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
