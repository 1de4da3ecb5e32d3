//! Slices of long computations: other tasks of the instance go between them,
//! and the processor time is that of the request which wants the result.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::operation;
use crate::engine::{Account, Failure};

/// Time after which a slice gives way to others.
const SLICE_TIME: Duration = Duration::from_millis(5);

/// Measures the slices of one computation.
pub(super) struct Pace {
    account: Rc<Account>,
    begin: Instant,
}

impl Pace {
    /// At the cost of an account.
    pub(super) fn new(account: Rc<Account>) -> Self {
        Self {
            account,
            begin: Instant::now(),
        }
    }

    /// Lets others go first when the slice has lasted long enough; call it
    /// every millisecond or so.
    ///
    /// # Errors
    ///
    /// `OperationError`: the account's processor time is used up.
    pub(super) async fn step(&mut self) -> Result<(), Failure> {
        let slice = self.begin.elapsed();
        if slice < SLICE_TIME {
            return Ok(());
        }
        self.account.spend(slice);
        if self.account.left().is_zero() {
            return Err(operation(
                "the computation was ended: the processor time of the request is used up",
            ));
        }
        wapo::task::yield_now().await;
        self.begin = Instant::now();
        Ok(())
    }
}
