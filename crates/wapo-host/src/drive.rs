//! The loop that polls one guest from its first instruction to its end.
//!
//! Tells of requests, enters the poll export, settles fuel, and waits when
//! there is nothing to do, or when its app has used up what it may use for the
//! moment (`pace`). A stop request or the time limit ends it at any
//! point at which the guest can be interrupted, a slice apart at most. Called
//! by `supervise`, which decides what happens afterwards.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::time::Instant;
use wapo_abi::message::InputChannel;
use wapo_abi::{LEGACY_POLL_EXPORT, POLL_EXPORT, PollOutcome};
use wasmtime::{Instance, Store, Trap, TypedFunc};
use wasmtime_wasi::I32Exit;

use crate::control::{Control, Interrupted};
use crate::halt::{Halt, TimeLimit, check_halt, interruptible};
use crate::instance::{ExitReason, Phase};
use crate::intake::Intake;
use crate::limits::{FUEL_PER_GAS, HOG_POLL_FUEL, QUOTA_TICK, ROOM_LOOK_INTERVAL};
use crate::memory_image;
use crate::meter::Meter;
use crate::module_cache::Program;
use crate::pace::Pace;
use crate::request::RequestError;
use crate::stack::StackGauge;
use crate::state::InstanceState;
use crate::trap::{self, Frames};
use crate::turn::{Left, Turn};

/// Fuel of a store without a gas limit; refilled long before it is used up.
const FUEL_TANK: u64 = u64::MAX / 4;

/// Export of a reactor (WASI application ABI): called once, before the first poll.
const INITIALIZE_EXPORT: &str = "_initialize";

/// Exit codes from here on are crashes, as guests of Wapo 0.x know it.
const FIRST_CRASH_CODE: i32 = 126;

impl From<Interrupted> for ExitReason {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Stopped => Self::Stopped,
            Interrupted::Overflowed => Self::Violation(interrupted.to_string()),
            Interrupted::GasExhausted(max) => Self::GasExhausted(max),
        }
    }
}

/// Gas of an instance over all its starts.
#[derive(Debug, Default)]
pub(crate) struct GasAccount {
    total: u64,
    /// Fuel that does not make a gas yet.
    fuel_remainder: u64,
    /// Gas of fuel since the last settlement that the meter has already.
    published: u64,
}

impl GasAccount {
    /// Lets the meter see fuel that was burnt by a poll that still runs.
    fn publish(&mut self, meter: &Meter, burnt: u64) {
        let gas = (self.fuel_remainder + burnt) / FUEL_PER_GAS;
        meter.add_gas(gas.saturating_sub(self.published));
        self.published = self.published.max(gas);
    }

    /// Settles exactly: the gas of the fuel, and how much of it the meter lacks.
    fn settle(&mut self, used: u64) -> (u64, u64) {
        let fuel = self.fuel_remainder + used;
        self.fuel_remainder = fuel % FUEL_PER_GAS;
        let gas = fuel / FUEL_PER_GAS;
        (gas, gas.saturating_sub(std::mem::take(&mut self.published)))
    }
}

/// A guest in its poll loop.
pub(crate) struct Driver<'a> {
    store: Store<InstanceState>,
    control: Arc<Control>,
    turn: Turn,
    gas: &'a mut GasAccount,
    time_limit: Option<&'a mut TimeLimit>,
    /// What its app's quotas let it compute.
    pace: Pace,
    /// Fuel in the store at the last settlement.
    fuel_left: u64,
    /// Fuel burnt since the guest last let others run.
    slice_used: u64,
    /// The slice that the store was told of.
    slice: u64,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        engine: &wasmtime::Engine,
        state: InstanceState,
        gas: &'a mut GasAccount,
        time_limit: Option<&'a mut TimeLimit>,
    ) -> Self {
        let control = Arc::clone(&state.context.control);
        control.clock().reset();
        let pace = Pace::new(&state.context.config.quotas, &state.context.config.meter);
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.context);
        Self {
            store,
            turn: Turn::new(&control),
            control,
            gas,
            time_limit,
            pace,
            fuel_left: 0,
            slice_used: 0,
            slice: 0,
        }
    }

    /// Runs the guest to its end.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped run leaves the fuel of the present poll
    /// unsettled. Use the stop request.
    pub(crate) async fn run(mut self, program: &Program) -> ExitReason {
        // Nothing was used yet, so there is nothing to settle either.
        if let Err(reason) = self.refuel() {
            return reason;
        }
        // Boxed: an instance that waits would keep the room of it.
        let started = match Box::pin(self.start(program)).await {
            Ok(poll) => poll,
            Err(reason) => return self.finish(reason),
        };
        let status = &self.store.data().context.status;
        status.send_modify(|status| status.has_run = true);
        let reason = self.poll_loop(&started).await;
        self.finish(reason)
    }

    async fn start(&mut self, program: &Program) -> Result<TypedFunc<(), i32>, ExitReason> {
        let meter = Arc::clone(&self.store.data().context.config.meter);
        let intake = Arc::clone(&self.store.data().intake);
        StackGauge::find(&mut self.store)
            .await
            .map_err(|error| self.start_failure(&error, "the engine"))?;
        let making = pin!(memory_image::make(program.pre().module()));
        interruptible(&self.control, &mut self.time_limit, making)
            .await?
            .map_err(|error| self.start_failure(&error, "the memory image"))?;
        let instantiated = interruptible(
            &self.control,
            &mut self.time_limit,
            pin!(metered(
                &self.turn,
                self.gas,
                &mut self.pace,
                (&meter, &intake),
                pin!(program.pre().instantiate_async(&mut self.store)),
            )),
        )
        .await;
        self.settle();
        let instance = instantiated
            .flatten()?
            .map_err(|error| self.start_failure(&error, "the start function"))?;
        let poll = self.find_poll(&instance)?;
        self.initialize(&instance, &meter).await?;
        Ok(poll)
    }

    /// Calls what a reactor of WASI exports to be called once, before all else.
    async fn initialize(&mut self, instance: &Instance, meter: &Meter) -> Result<(), ExitReason> {
        let initialize: wasmtime::Result<TypedFunc<(), ()>> =
            instance.get_typed_func(&mut self.store, INITIALIZE_EXPORT);
        let Ok(initialize) = initialize else {
            return Ok(());
        };
        self.control.clock().begin_poll();
        let intake = Arc::clone(&self.store.data().intake);
        let returned = interruptible(
            &self.control,
            &mut self.time_limit,
            pin!(metered(
                &self.turn,
                self.gas,
                &mut self.pace,
                (meter, &intake),
                pin!(initialize.call_async(&mut self.store, ())),
            )),
        )
        .await;
        self.settle();
        returned
            .flatten()?
            .map_err(|error| self.start_failure(&error, INITIALIZE_EXPORT))?;
        self.refuel()
    }

    /// Why the guest did not come to life.
    fn start_failure(&self, error: &wasmtime::Error, place: &str) -> ExitReason {
        let state = self.store.data();
        match self.exit_reason(error) {
            ExitReason::Trapped(message) if error.is::<Trap>() => {
                ExitReason::Trapped(format!("in {place}: {message}"))
            }
            ExitReason::Trapped(_) => {
                ExitReason::FailedToStart(match state.context.memory_refused {
                    // The limiter can only say no; this is why it did.
                    Some(wanted) => state.context.memory_share.refusal(wanted),
                    None => format!("{error:#}"),
                })
            }
            reason => reason,
        }
    }

    fn find_poll(&mut self, instance: &Instance) -> Result<TypedFunc<(), i32>, ExitReason> {
        [POLL_EXPORT, LEGACY_POLL_EXPORT]
            .into_iter()
            .find_map(|name| instance.get_typed_func(&mut self.store, name).ok())
            .ok_or_else(|| {
                ExitReason::FailedToStart(format!(
                    "the module exports no function `{POLL_EXPORT}` of type () -> i32"
                ))
            })
    }

    async fn poll_loop(&mut self, poll: &TypedFunc<(), i32>) -> ExitReason {
        let meter = Arc::clone(&self.store.data().context.config.meter);
        let intake = Arc::clone(&self.store.data().intake);
        loop {
            let wakes = Arc::clone(&self.store.data().wakes);
            wakes.begin_poll();
            self.control.clock().begin_poll();
            let returned = interruptible(
                &self.control,
                &mut self.time_limit,
                pin!(metered(
                    &self.turn,
                    self.gas,
                    &mut self.pace,
                    (&meter, &intake),
                    pin!(poll.call_async(&mut self.store, ())),
                )),
            )
            .await;
            self.settle();
            let outcome = match returned.flatten() {
                Ok(Ok(number)) => PollOutcome::from_i32(number),
                Ok(Err(error)) => return self.exit_reason(&error),
                Err(halt) => return halt.into(),
            };
            match outcome {
                Ok(PollOutcome::Pending) => {}
                Ok(PollOutcome::Finished) => return ExitReason::Finished,
                Err(number) => {
                    return ExitReason::Violation(format!(
                        "`{POLL_EXPORT}` returned {number} instead of 0 or 1"
                    ));
                }
            }
            if wakes.has_overflowed() {
                return Interrupted::Overflowed.into();
            }
            if !std::mem::replace(&mut self.store.data_mut().is_ready, true) {
                let status = &self.store.data().context.status;
                status.send_modify(|status| status.phase = Phase::Running);
            }
            if let Err(reason) = self.refuel() {
                return reason;
            }
            if let Err(halt) = self.next_work().await {
                return halt.into();
            }
        }
    }

    /// Lets others run after a slice, and waits while there is nothing to do.
    async fn next_work(&mut self) -> Result<(), Halt> {
        if self.slice_used >= self.store.data().context.slice_fuel() {
            self.slice_used = 0;
            interruptible(
                &self.control,
                &mut self.time_limit,
                pin!(tokio::task::yield_now()),
            )
            .await?;
        }
        loop {
            self.store.data_mut().announce_requests();
            self.push_out_streams();
            self.wake_rate_waits();
            if self.store.data().wakes.wants_poll() {
                return Ok(());
            }
            self.slice_used = 0;
            self.control.set_idle(true);
            let woken = self.wait().await;
            self.control.set_idle(false);
            woken?;
        }
    }

    /// Moves buffered output of streams whose peers can take it again.
    fn push_out_streams(&mut self) {
        let state = self.store.data_mut();
        while let Some(handle) = state.wakes.take_flush() {
            let handle = crate::resource::Handle(handle);
            // The stream may be closed, its number in other use: both harmless.
            if let Ok(crate::resource::Resource::Stream(stream)) = state.resources.get(handle) {
                stream.push_out();
            }
        }
    }

    /// Wakes the guest where its app may move bytes again.
    fn wake_rate_waits(&mut self) {
        let state = self.store.data_mut();
        if state.rate_waits.due().is_none() {
            return;
        }
        let config = &state.context.config;
        state
            .rate_waits
            .wake_due(Instant::now(), &config.quotas, &config.meter);
    }

    /// When to look again whether something can go on that quotas hold up.
    fn next_look(&mut self) -> Option<Instant> {
        let state = self.store.data_mut();
        let rates = state.rate_waits.due();
        let handles = state.lacks_handles().then_some(ROOM_LOOK_INTERVAL);
        let requests = state.requests_pause().map(|time| time.max(QUOTA_TICK));
        let others = handles.into_iter().chain(requests).min();
        let others = others.map(|time| Instant::now() + time);
        rates.into_iter().chain(others).min()
    }

    /// Waits for a wake, a request, a stop or the deadline.
    async fn wait(&mut self) -> Result<(), Halt> {
        let mut look = self
            .next_look()
            .map(|at| Box::pin(tokio::time::sleep_until(at)));
        // Only what is needed is held while waiting: the state is not `Sync`.
        let state = self.store.data();
        let wakes = Arc::clone(&state.wakes);
        let intake = Arc::clone(&state.intake);
        let wanted = [InputChannel::Query, InputChannel::HttpRequest]
            .map(|channel| state.wants_requests(channel).then_some(channel));
        let Self {
            control,
            time_limit,
            ..
        } = self;
        std::future::poll_fn(|cx| {
            control.register(cx);
            check_halt(control, time_limit, cx)?;
            if wakes.wants_poll()
                || wakes.wants_flush()
                || wanted
                    .into_iter()
                    .flatten()
                    .any(|one| !intake.is_empty(one))
            {
                return Poll::Ready(Ok(()));
            }
            if let Some(look) = &mut look {
                return look.as_mut().poll(cx).map(Ok);
            }
            Poll::Pending
        })
        .await
    }

    /// Settles exactly what the last poll has used. Fuel becomes gas in whole units;
    /// the remainder is kept. While a poll runs, [`metered`] publishes what is known.
    fn settle(&mut self) {
        let left = self.store.get_fuel().unwrap_or(self.fuel_left);
        let used = self.fuel_left.saturating_sub(left);
        self.fuel_left = left;
        let state = self.store.data_mut();
        let work = std::mem::take(&mut state.work);
        let taken = std::mem::take(&mut state.requests_taken);
        if is_heavy(used.saturating_add(work), taken) {
            self.control.note_heavy();
        }
        self.slice_used = self.slice_used.saturating_add(used).saturating_add(work);
        let (gas, fuel_unpublished) = self.gas.settle(used);
        let (call_gas, calls_unpublished) = state.take_call_gas();
        self.gas.total = self.gas.total.saturating_add(gas + call_gas);
        state
            .context
            .config
            .meter
            .add_gas(fuel_unpublished + calls_unpublished);
        self.control.fuel().settle(left);
    }

    /// Fills the tank: as far as the gas limit allows, else when it runs low. A
    /// weight that has changed holds from here on.
    ///
    /// # Errors
    ///
    /// [`ExitReason::GasExhausted`] when nothing may be filled in.
    fn refuel(&mut self) -> Result<(), ExitReason> {
        let tank = match self.store.data().context.config.gas_max {
            Some(gas_max) => {
                let gas_left = gas_max.saturating_sub(self.gas.total);
                if gas_left == 0 {
                    return Err(ExitReason::GasExhausted(gas_max));
                }
                gas_left.saturating_mul(FUEL_PER_GAS).min(FUEL_TANK)
            }
            None if self.fuel_left > FUEL_TANK / 2 => self.fuel_left,
            None => FUEL_TANK,
        };
        let slice = self.store.data().context.slice_fuel();
        if tank == self.fuel_left && slice == self.slice {
            return Ok(());
        }
        self.slice = slice;
        let state = self.store.data_mut();
        state.short_since = None;
        state.pay_attention();
        self.store
            .set_fuel(tank)
            .and_then(|()| self.store.fuel_async_yield_interval(Some(slice)))
            .map_err(|error| ExitReason::Violation(error.to_string()))?;
        self.fuel_left = tank;
        self.control.fuel().settle(tank);
        self.control.fuel().begin_slices(tank, slice);
        Ok(())
    }

    /// Why the guest ended that did not return from a call into it.
    fn exit_reason(&self, error: &wasmtime::Error) -> ExitReason {
        let config = &self.store.data().context.config;
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            return (*interrupted).into();
        }
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return if *code < FIRST_CRASH_CODE {
                ExitReason::Exited(*code)
            } else {
                ExitReason::Trapped(format!("exit with code {code}"))
            };
        }
        match (error.downcast_ref::<Trap>(), config.gas_max) {
            (Some(Trap::OutOfFuel), Some(gas_max)) => ExitReason::GasExhausted(gas_max),
            _ => ExitReason::Trapped(trap::text(error, Frames::asked_for(&config.env))),
        }
    }

    /// Settles what is left and lets go of everything the guest held.
    fn finish(mut self, reason: ExitReason) -> ExitReason {
        self.settle();
        if matches!(reason, ExitReason::PollTooLong(_)) {
            // No fault of these requests: another instance may answer them.
            let resources = &mut self.store.data_mut().resources;
            resources.refuse_replies(&RequestError::Ended);
        }
        reason
    }
}

/// Whether a poll that took so many requests has burned too much for them.
fn is_heavy(fuel: u64, requests: u32) -> bool {
    fuel >= HOG_POLL_FUEL.saturating_mul(u64::from(requests) + 1)
}

/// Runs a future that is guest code, as fast as its app's quotas let it. Whenever it
/// is suspended its gas is published, and requests that wait for room get the room
/// that the guest has made.
///
/// # Errors
///
/// [`Halt::GasUsedUp`], and [`Halt::PollTooLong`] as soon as the guest is suspended.
async fn metered<F: Future>(
    turn: &Turn,
    gas: &mut GasAccount,
    pace: &mut Pace,
    (meter, intake): (&Meter, &Intake),
    mut guest: Pin<&mut F>,
) -> Result<F::Output, Halt> {
    let control = turn.control();
    loop {
        let left = std::future::poll_fn(|cx| {
            if let Some(max) = pace.gas_used_up() {
                return Poll::Ready(Err(Halt::GasUsedUp(max)));
            }
            if pace.poll_turn(cx).is_pending() {
                control.note_pause();
                return Poll::Pending;
            }
            let step = pace.begin();
            control.clock().begin_step();
            let left = loop {
                let left = turn.run(cx, |cx| guest.as_mut().poll(cx));
                let is_slice = matches!(left, Left::InLine) && !control.is_in_host();
                if !is_slice || control.fuel().note_suspension() {
                    break left;
                }
            };
            let in_time = control.clock().end_step();
            pace.end(&step);
            if !matches!(left, Left::Done(_)) {
                gas.publish(meter, control.fuel().burnt());
            }
            intake.tell_freed();
            match left {
                Left::Done(output) => Poll::Ready(Ok(Some(output))),
                Left::InLine => Poll::Ready(in_time.map(|()| None).map_err(Halt::from)),
                Left::Waiting => {
                    in_time?;
                    Poll::Pending
                }
            }
        })
        .await?;
        match left {
            Some(output) => return Ok(output),
            None => tokio::task::yield_now().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_requests_in_one_poll_make_no_hog_and_one_long_request_does() {
        assert!(is_heavy(HOG_POLL_FUEL, 0));
        assert!(!is_heavy(HOG_POLL_FUEL - 1, 0));
        assert!(!is_heavy(8 * HOG_POLL_FUEL, 32));
        assert!(is_heavy(2 * HOG_POLL_FUEL, 1));
    }

    #[test]
    fn gas_that_was_published_early_is_not_counted_twice() {
        let meter = Meter::default();
        let mut account = GasAccount::default();
        let settle = |account: &mut GasAccount, used| {
            let (gas, unpublished) = account.settle(used);
            meter.add_gas(unpublished);
            gas
        };
        assert_eq!(settle(&mut account, 1000), 0);
        account.publish(&meter, 500);
        assert_eq!(meter.read().gas, 1);
        account.publish(&meter, 500);
        account.publish(&meter, 5000);
        assert_eq!(meter.read().gas, 5);
        assert_eq!(settle(&mut account, 10_000), 10);
        assert_eq!(meter.read().gas, 10, "11,000 fuel so far");
        assert_eq!(settle(&mut account, 264), 1);
        assert_eq!(meter.read().gas, 11, "as if it had been settled at once");
    }
}
