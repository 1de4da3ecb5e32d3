//! Calls of the family `guard`: what a guest may ask about itself, so that it
//! ends what it runs before the host ends the guest, and the alarm for the case that
//! it cannot.

use std::time::Duration;

use wapo_abi::Errno;

use super::family;
use crate::state::InstanceState;

/// Host time of reading a clock, in fuel's worth; that of the thread is a system call.
const WORK_CLOCK: u64 = 500;

impl family::guard::Calls for InstanceState {
    fn stack_left(&mut self) -> Result<usize, Errno> {
        Ok(self.stack.left())
    }

    fn limit_poll(&mut self, limit_ms: i32) -> Result<(), Errno> {
        self.add_work(WORK_CLOCK);
        let ms = u64::try_from(limit_ms).map_err(|_| Errno::INVALID_PARAMETER)?;
        let limit = (ms > 0).then(|| Duration::from_millis(ms));
        self.context.control.clock().set_limit(limit);
        Ok(())
    }

    fn cpu_time(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        self.add_work(WORK_CLOCK);
        let time = self.context.control.clock().read_ns().to_le_bytes();
        if buffer.len() < time.len() {
            return Err(Errno::INVALID_PARAMETER);
        }
        buffer.copy_from_slice(&time);
        Ok(())
    }
}
