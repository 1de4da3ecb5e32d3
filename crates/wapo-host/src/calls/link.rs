//! The two imports, under both of their names, and what surrounds every call:
//! the stop request, traces, the burden of host time.

use std::sync::Arc;

use wapo_abi::wire::{self, Slots};
use wapo_abi::{
    Errno, IMPORT_FAST, IMPORT_MODULE, IMPORT_SLOW, LEGACY_IMPORT_FAST, LEGACY_IMPORT_MODULE,
    LEGACY_IMPORT_SLOW,
};
use wasmtime::{AsContext as _, AsContextMut as _, Caller, Linker};

use super::{SlowOutcome, WORK_CALL, call_fast, call_slow, work_moved};
use crate::control::Interrupted;
use crate::limits::{FUEL_PER_GAS, SHORT_SLICE_FUEL, URGENT_SLICE_FUEL};
use crate::state::InstanceState;

/// Links both imports under the present and the older module name.
///
/// # Errors
///
/// When a name is linked already.
pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    for (module, fast, slow) in [
        (IMPORT_MODULE, IMPORT_FAST, IMPORT_SLOW),
        (LEGACY_IMPORT_MODULE, LEGACY_IMPORT_FAST, LEGACY_IMPORT_SLOW),
    ] {
        linker.func_wrap(module, fast, ocall_fast)?;
        linker.func_wrap_async(
            module,
            slow,
            |caller, (task, id, p0, p1, p2, p3): (i32, i32, i32, i32, i32, i32)| {
                ocall_slow(caller, task, id, [p0, p1, p2, p3])
            },
        )?;
    }
    Ok(())
}

fn ocall_fast(
    mut caller: Caller<'_, InstanceState>,
    task: i32,
    id: i32,
    p0: i32,
    p1: i32,
    p2: i32,
    p3: i32,
) -> wasmtime::Result<i64> {
    let id = id.cast_unsigned();
    let slots = slots([p0, p1, p2, p3]);
    enter(&mut caller, task);
    let outcome = call_fast(&mut caller, id, slots);
    let state = caller.data();
    if state.work >= state.attention_at {
        attend(&mut caller, id, slots, outcome)?;
    }
    Ok(wire::pack(outcome))
}

fn ocall_slow<'a>(
    mut caller: Caller<'a, InstanceState>,
    task: i32,
    id: i32,
    args: [i32; 4],
) -> Box<dyn Future<Output = wasmtime::Result<i64>> + Send + 'a> {
    let id = id.cast_unsigned();
    let slots = slots(args);
    enter(&mut caller, task);
    if let Err(interrupted) = check_goes_on(caller.data()) {
        return Box::new(std::future::ready(Err(interrupted.into())));
    }
    let outcome = match call_slow(&mut caller, id, slots) {
        Ok(SlowOutcome::Wait(future)) => {
            return Box::new(async move {
                let control = Arc::clone(&caller.data().context.control);
                let waits = control.wait_in_host();
                let outcome = future.await;
                drop(waits);
                let outcome = outcome.map(|waited| {
                    caller.data_mut().answer_charge = waited.charge;
                    waited.value
                });
                let result = finish_slow(&mut caller, id, slots, outcome);
                work_off(&mut caller).await?;
                result
            });
        }
        Ok(SlowOutcome::Ready(answer)) => Ok(answer),
        Err(errno) => Err(errno),
    };
    let result = finish_slow(&mut caller, id, slots, outcome);
    if caller.data().has_worked_a_slice() {
        return Box::new(async move {
            work_off(&mut caller).await?;
            result
        });
    }
    Box::new(std::future::ready(result))
}

/// Lets others run if the host has worked for a slice on the guest's behalf.
///
/// For imports that can suspend the guest; the fast one can only shorten the way
/// to the next yield ([`balance`]).
///
/// # Errors
///
/// When the guest has to end.
pub(crate) async fn work_off(caller: &mut Caller<'_, InstanceState>) -> wasmtime::Result<()> {
    let state = caller.data_mut();
    if state.has_worked_a_slice() {
        state.work = 0;
        state.publish_call_gas();
        check_gas(caller)?;
        let state = caller.data_mut();
        let control = Arc::clone(&state.context.control);
        let waits = control.wait_in_host();
        tokio::task::yield_now().await;
        drop(waits);
    }
    Ok(())
}

/// Ends a guest whose calls have used up what its gas limit leaves.
///
/// The tank holds the fuel that the limit allows; prices of calls are taken from
/// it when a poll is over, which a guest that only calls the host can put off.
///
/// # Errors
///
/// [`Interrupted::GasExhausted`].
fn check_gas(caller: &Caller<'_, InstanceState>) -> wasmtime::Result<()> {
    let state = caller.data();
    if let Some(gas_max) = state.context.config.gas_max {
        let gas_left = caller.as_context().get_fuel()? / FUEL_PER_GAS;
        if state.call_gas >= gas_left {
            return Err(Interrupted::GasExhausted(gas_max).into());
        }
    }
    Ok(())
}

/// Keeps the answer for `get_return` and gives its length.
fn finish_slow(
    caller: &mut Caller<'_, InstanceState>,
    id: u32,
    slots: Slots,
    outcome: Result<Vec<u8>, Errno>,
) -> wasmtime::Result<i64> {
    let state = caller.data_mut();
    // A failing call leaves an answer that was not fetched yet where it is.
    let outcome = outcome.and_then(|answer| {
        state.add_work(work_moved(answer.len()));
        state.keep_answer(answer)
    });
    if state.trace {
        trace(state, id, slots, outcome);
    }
    Ok(wire::pack(outcome))
}

fn slots(args: [i32; 4]) -> Slots {
    Slots::new(args.map(i32::cast_unsigned))
}

/// Notes who calls, and that a call was made.
#[inline]
fn enter(caller: &mut Caller<'_, InstanceState>, task: i32) {
    let state = caller.data_mut();
    state.task = task;
    state.work += WORK_CALL;
}

/// What only some calls need: a trace, the stop request, the burden of host time.
///
/// One comparison in every call decides whether to come here.
#[cold]
fn attend(
    caller: &mut Caller<'_, InstanceState>,
    id: u32,
    slots: Slots,
    outcome: Result<u32, Errno>,
) -> wasmtime::Result<()> {
    let state = caller.data();
    check_goes_on(state)?;
    if state.trace {
        trace(state, id, slots, outcome);
    }
    balance(caller)
}

/// What precedes an import that is no host call of the table: it counts, however
/// it ends.
///
/// # Errors
///
/// When the guest has to end.
pub(crate) fn begin_import(caller: &mut Caller<'_, InstanceState>) -> wasmtime::Result<()> {
    let state = caller.data_mut();
    state.add_work(WORK_CALL);
    Ok(check_goes_on(state)?)
}

/// What follows an import that cannot suspend the guest: see [`attend`].
///
/// # Errors
///
/// When the guest has to end.
#[inline]
pub(crate) fn end_import(caller: &mut Caller<'_, InstanceState>) -> wasmtime::Result<()> {
    let state = caller.data();
    if state.work >= state.attention_at {
        check_goes_on(state)?;
        balance(caller)?;
    }
    Ok(())
}

/// Whether the guest may go on at all.
///
/// Every slow call asks, and the fast ones once in a slice: a guest that floods
/// its queue must not be heard to the end of its poll.
fn check_goes_on(state: &InstanceState) -> Result<(), Interrupted> {
    if state.context.control.is_stopped() {
        return Err(Interrupted::Stopped);
    }
    if state.wakes.has_overflowed() {
        return Err(Interrupted::Overflowed);
    }
    Ok(())
}

/// Makes a guest yield soon that has kept the host busy for a slice.
///
/// Fuel does not see host time. After a slice's worth of it the interval to the
/// next yield shrinks, after a second one still more;
/// the first call after the yield restores it. (Setting the interval starts it
/// anew, so it must not be set again while the guest is on its way to a yield.)
fn balance(caller: &mut Caller<'_, InstanceState>) -> wasmtime::Result<()> {
    let state = caller.data_mut();
    let step = state.context.control.step();
    let pending = state.short_since == Some(step);
    let interval = if state.has_worked_a_slice() {
        state.work = 0;
        state.short_since = Some(step);
        state.publish_call_gas();
        check_gas(caller)?;
        match pending {
            true if caller.data().context.control.fuel().interval() == URGENT_SLICE_FUEL => {
                return Ok(());
            }
            true => URGENT_SLICE_FUEL,
            false => SHORT_SLICE_FUEL,
        }
    } else if pending || state.short_since.is_none() {
        return Ok(());
    } else {
        state.short_since = None;
        state.context.slice_fuel()
    };
    let state = caller.data_mut();
    state.pay_attention();
    let control = Arc::clone(&state.context.control);
    let mut store = caller.as_context_mut();
    control.fuel().observe(store.get_fuel()?, interval);
    store.fuel_async_yield_interval(Some(interval))
}

#[cold]
fn trace(state: &InstanceState, id: u32, slots: Slots, outcome: Result<u32, Errno>) {
    let mut rest = slots;
    let args = [rest.take(), rest.take(), rest.take(), rest.take()];
    let name = wapo_abi::calls::name_of(id);
    let text = match outcome {
        Ok(value) => format!("call {name}{args:?} = {value}"),
        Err(errno) => format!("call {name}{args:?} = {errno:?}"),
    };
    state
        .context
        .log_event(wapo_abi::message::LogLevel::Trace, &text);
}
