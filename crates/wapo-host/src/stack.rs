//! How much of its stack a guest has used.
//!
//! The engine keeps one stack for an instance from its first call to its end, and
//! code of the guest traps when it is so many bytes below the place where it was
//! entered. That place is found once, by a function of the host that is called in the
//! way in which the guest's exports are; from then on the address of a local variable
//! tells how deep a host call is ([`StackGauge`], asked by the call `stack_left`).
//!
//! What of it is memory is counted by `stack_account`.

use wasmtime::{AsContextMut as _, Caller, Func, Store};

use crate::limits::STACK_ENTRY_BYTES;
use crate::state::InstanceState;

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

    /// Finds the place where the guest of this store is entered. No code of the guest
    /// runs for it.
    ///
    /// # Errors
    ///
    /// When there is no stack to be had.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; nothing is known then.
    pub(crate) async fn find(store: &mut Store<InstanceState>) -> wasmtime::Result<()> {
        let mark = |mut caller: Caller<'_, InstanceState>| {
            let state = caller.data_mut();
            state.stack.top = depth().saturating_add(STACK_ENTRY_BYTES);
            let bottom = state.stack.top.saturating_sub(state.stack.bytes);
            state
                .context
                .control
                .stack()
                .begins(bottom, state.stack.bytes);
        };
        let mark = Func::wrap(store.as_context_mut(), mark);
        mark.typed::<(), ()>(&*store)?
            .call_async(store.as_context_mut(), ())
            .await
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
