//! Slices of long computations: other tasks of the instance go between them,
//! and a computation that takes too long ends.

use std::time::{Duration, Instant};

use super::operation;
use crate::engine::Failure;

/// Processor time of one computation, all its slices together.
///
/// A program chooses iterations and sizes; what takes longer than this is a
/// mistake of it or of whoever gave it the numbers. A key of RSA with 4,096
/// bits, the longest that is useful, is found in it with near certainty.
const COMPUTATION_TIME_MAX: Duration = Duration::from_secs(30);

/// Time after which a slice gives way to others.
const SLICE_TIME: Duration = Duration::from_millis(5);

/// Measures the slices of one computation.
pub(super) struct Pace {
    begin: Instant,
    used: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            used: Duration::ZERO,
        }
    }

    /// Lets others go first when the slice has lasted long enough; call it
    /// every millisecond or so.
    ///
    /// # Errors
    ///
    /// `OperationError`: the time of the computation is used up.
    pub(super) async fn step(&mut self) -> Result<(), Failure> {
        let slice = self.begin.elapsed();
        if slice < SLICE_TIME {
            return Ok(());
        }
        self.used += slice;
        if self.used > COMPUTATION_TIME_MAX {
            let seconds = COMPUTATION_TIME_MAX.as_secs();
            return Err(operation(format!(
                "the computation was ended after {seconds} s of processor time"
            )));
        }
        wapo::task::yield_now().await;
        self.begin = Instant::now();
        Ok(())
    }
}
