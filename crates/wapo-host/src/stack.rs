//! How much of its stack a guest has used.
//!
//! The engine keeps one stack for an instance from its first call to its end, and
//! code of the guest traps when it is so many bytes below the place where it was
//! entered. That place is found once, by a function of the host that `state` calls in the
//! way in which the guest's exports are called; from then on the address of a local variable
//! tells how deep a host call is ([`StackGauge`], asked by the call `stack_left`).
//!
//! What of it is memory is counted by `stack_account`.

use crate::limits::STACK_ENTRY_BYTES;

/// The stack of one instance, for the guest.
#[derive(Debug)]
pub(crate) struct StackGauge {
    /// Stack of the guest's code.
    bytes: usize,
    /// An address above the place where the guest is entered; 0 before it is known.
    top: usize,
}

impl StackGauge {
    /// Nothing is known yet of a stack on which the guest's code may have so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, top: 0 }
    }

    /// Takes the place of the call that asks for the one where the guest is entered.
    /// Gives the lowest address of the stack, and its bytes.
    #[inline]
    pub(crate) fn begin(&mut self) -> (usize, usize) {
        self.top = depth().saturating_add(STACK_ENTRY_BYTES);
        (self.top.saturating_sub(self.bytes), self.bytes)
    }

    /// Bytes that code of the guest may use below the call that asks: never more than
    /// there are. 0 on a stack that is not the instance's.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.bytes.saturating_sub(self.top.wrapping_sub(depth()))
    }
}

/// An address of the present stack, not above that of the code that called into the
/// host.
#[inline]
fn depth() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
