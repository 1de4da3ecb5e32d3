//! Calls of the family `timer`.

use std::time::Duration;

use tokio::time::Instant;
use wapo_abi::Errno;

use super::family;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

/// Host time of entering a timer into the runtime's wheel, in fuel's worth.
const WORK_TIMER: u64 = 500;

/// As good as never: some thirty years.
///
/// A timer that never fires is an ordinary one, so that a wait that was
/// registered goes on when it is set anew. Far larger values overflow clocks.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// When a timer with a guest's number of milliseconds fires.
fn deadline(timeout_ms: i32) -> Instant {
    let timeout = u64::try_from(timeout_ms).map_or(NEVER, Duration::from_millis);
    Instant::now() + timeout
}

impl family::timer::Calls for InstanceState {
    fn create_timer(&mut self, timeout_ms: i32) -> Result<Handle, Errno> {
        self.add_work(WORK_TIMER);
        // Made only when there is room, since it is thrown away otherwise.
        let room = self.resources.check_room_for_timer();
        room.map_err(|reason| self.over_quota(&reason))?;
        let timer = Box::pin(tokio::time::sleep_until(deadline(timeout_ms)));
        let timer = self.resources.insert(Resource::Timer(timer));
        timer.map_err(|reason| self.over_quota(&reason))
    }

    fn reset_timer(&mut self, handle: Handle, timeout_ms: i32) -> Result<(), Errno> {
        self.add_work(WORK_TIMER);
        let Resource::Timer(timer) = self.resources.get(handle)? else {
            return Err(Errno::INVALID_PARAMETER);
        };
        timer.as_mut().reset(deadline(timeout_ms));
        Ok(())
    }
}
