//! Calls of the family `timer`.

use std::time::Duration;

use tokio::time::Instant;
use wapo_abi::Errno;

use super::family;
use crate::resource::{Handle, Resource, Timer};
use crate::state::InstanceState;

/// A timer for a guest's number of milliseconds; negative ones never fire.
fn timer(timeout_ms: i32) -> Timer {
    match u64::try_from(timeout_ms) {
        Ok(millis) => Timer::At(Box::pin(tokio::time::sleep(Duration::from_millis(millis)))),
        Err(_) => Timer::Never,
    }
}

impl family::timer::Calls for InstanceState {
    fn create_timer(&mut self, timeout_ms: i32) -> Result<Handle, Errno> {
        self.resources.insert(Resource::Timer(timer(timeout_ms)))
    }

    fn reset_timer(&mut self, handle: Handle, timeout_ms: i32) -> Result<(), Errno> {
        let Resource::Timer(current) = self.resources.get(handle)? else {
            return Err(Errno::INVALID_PARAMETER);
        };
        match (&mut *current, u64::try_from(timeout_ms)) {
            // In place, so that a wait that was registered goes on.
            (Timer::At(sleep), Ok(millis)) => sleep
                .as_mut()
                .reset(Instant::now() + Duration::from_millis(millis)),
            _ => *current = timer(timeout_ms),
        }
        Ok(())
    }
}
