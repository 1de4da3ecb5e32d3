//! Calls of the family `guard`: what a guest may ask about itself, so that it
//! ends what it runs before the host ends the guest.

use wapo_abi::Errno;

use super::family;
use crate::state::InstanceState;

impl family::guard::Calls for InstanceState {
    fn stack_left(&mut self) -> Result<usize, Errno> {
        Ok(self.stack.left())
    }
}
