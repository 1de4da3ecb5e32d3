//! How much of its stack a guest has used.
//!
//! The engine keeps one stack for an instance from its first call to its end, and
//! code of the guest traps when it is [`WASM_STACK_BYTES`] below the place where it
//! was entered. That place is found once, by a function of the host that is called
//! in the way in which the guest's exports are; from then on the address of a local
//! variable tells how deep a host call is. Filled in by `drive`, asked by the call
//! `stack_left`. Bounds nothing: that is the engine's.

use wasmtime::{AsContextMut as _, Caller, Func, Store};

use crate::limits::{STACK_ENTRY_BYTES, WASM_STACK_BYTES};
use crate::state::InstanceState;

/// The stack of one instance.
#[derive(Debug, Default)]
pub(crate) struct StackGauge {
    /// An address above the place where the guest is entered; 0 before it is known.
    top: usize,
}

impl StackGauge {
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
            caller.data_mut().stack.top = depth().saturating_add(STACK_ENTRY_BYTES);
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
        WASM_STACK_BYTES.saturating_sub(self.top.wrapping_sub(depth()))
    }
}

/// An address of the present stack, not above that of whoever called into the host.
#[inline]
fn depth() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
