//! The memory of the guest that calls, beside its state.
//!
//! Only finds it: what a guest may name in it is checked by `memory`. Called by the
//! dispatch of host calls and by the imports of WASI.

use wapo_abi::{Errno, MEMORY_EXPORT};
use wasmtime::{AsContextMut as _, Caller, Memory};

use crate::state::InstanceState;

/// Memory and state at once, for calls with a slice.
///
/// # Errors
///
/// [`Errno::NO_MEMORY`] when there is none, which loading a module rules out.
#[inline]
pub(crate) fn split<'a>(
    caller: &'a mut Caller<'_, InstanceState>,
) -> Result<(&'a mut [u8], &'a mut InstanceState), Errno> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => find_memory(caller)?,
    };
    Ok(memory.data_and_store_mut(caller.as_context_mut()))
}

/// Finds the memory at the first call, which may come from the start function.
#[cold]
fn find_memory(caller: &mut Caller<'_, InstanceState>) -> Result<Memory, Errno> {
    let memory = caller
        .get_export(MEMORY_EXPORT)
        .and_then(|export| export.into_memory())
        .ok_or(Errno::NO_MEMORY)?;
    caller.data_mut().memory = Some(memory);
    Ok(memory)
}
