//! The loop that polls one guest from its first instruction to its end.
//!
//! Tells of requests, enters the poll export, settles fuel, and waits when
//! there is nothing to do, or when its app has used up what it may use for the
//! moment (`pace`). A stop request or the time limit ends it at any
//! point at which the guest can be interrupted, a slice apart at most. How guests of
//! an ABI are called, and what their state says, is in `guest_abi`. Called
//! by `supervise`, which decides what happens afterwards.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use wapo_abi::PollOutcome;
use wasmtime::{Store, Trap};
use wasmtime_wasi::I32Exit;

use crate::context::InstanceContext;
use crate::control::{Control, Interrupted};
use crate::guest_abi::{GuestAbi, GuestState, PollUse, StartError};
use crate::halt::{Halt, TimeLimit, check_halt, interruptible};
use crate::instance::{ExitReason, Phase};
use crate::intake::Intake;
use crate::limits::{FUEL_PER_GAS, HOG_POLL_FUEL};
use crate::meter::Meter;
use crate::pace::Pace;
use crate::request::RequestError;
use crate::trap::{self, Frames};
use crate::turn::{Left, Turn};

/// Fuel of a store without a gas limit; refilled long before it is used up.
const FUEL_TANK: u64 = u64::MAX / 4;

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
pub(crate) struct Driver<'a, A: GuestAbi> {
    store: Store<A::State>,
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

impl<'a, A: GuestAbi> Driver<'a, A> {
    pub(crate) fn new(
        engine: &wasmtime::Engine,
        state: A::State,
        gas: &'a mut GasAccount,
        time_limit: Option<&'a mut TimeLimit>,
    ) -> Self {
        let context = state.context();
        let control = Arc::clone(&context.control);
        control.clock().reset();
        let pace = Pace::new(&context.config.quotas, &context.config.meter);
        let mut store = Store::new(engine, state);
        store.limiter(|state| state.context_mut());
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
    pub(crate) async fn run(mut self, code: &A::Code) -> ExitReason {
        // Nothing was used yet, so there is nothing to settle either.
        if let Err(reason) = self.refuel() {
            return reason;
        }
        // Boxed: an instance that waits would keep the room of it.
        let started = match Box::pin(self.start(code)).await {
            Ok(entry) => entry,
            Err(reason) => return self.finish(reason),
        };
        let status = &self.context().status;
        status.send_modify(|status| status.has_run = true);
        let reason = self.poll_loop(&started).await;
        self.finish(reason)
    }

    fn context(&self) -> &InstanceContext {
        self.store.data().context()
    }

    async fn start(&mut self, code: &A::Code) -> Result<A::Entry, ExitReason> {
        let meter = Arc::clone(&self.context().config.meter);
        let intake = Arc::clone(self.store.data().intake());
        let prepared = interruptible(
            &self.control,
            &mut self.time_limit,
            pin!(A::prepare(code, &mut self.store)),
        )
        .await;
        prepared?.map_err(|error| self.start_failure(error))?;
        let started = interruptible(
            &self.control,
            &mut self.time_limit,
            pin!(metered(
                &self.turn,
                self.gas,
                &mut self.pace,
                (&meter, &intake),
                pin!(A::start(code, &mut self.store)),
            )),
        )
        .await;
        self.settle();
        let entry = started
            .flatten()?
            .map_err(|error| self.start_failure(error))?;
        self.refuel()?;
        Ok(entry)
    }

    /// Why the guest did not come to life.
    fn start_failure(&self, error: StartError) -> ExitReason {
        let (place, error) = match error {
            StartError::Failed { place, error } => (place, error),
            StartError::Unfit(text) => return ExitReason::FailedToStart(text),
        };
        let context = self.context();
        match self.exit_reason(&error) {
            ExitReason::Trapped(message) if error.is::<Trap>() => {
                ExitReason::Trapped(format!("in {place}: {message}"))
            }
            ExitReason::Trapped(_) => ExitReason::FailedToStart(match context.memory_refused {
                // The limiter can only say no; this is why it did.
                Some(wanted) => context.memory_share.refusal(wanted),
                None => format!("{error:#}"),
            }),
            reason => reason,
        }
    }

    async fn poll_loop(&mut self, entry: &A::Entry) -> ExitReason {
        let meter = Arc::clone(&self.context().config.meter);
        let intake = Arc::clone(self.store.data().intake());
        loop {
            self.store.data_mut().begin_poll();
            self.control.clock().begin_poll();
            let returned = interruptible(
                &self.control,
                &mut self.time_limit,
                pin!(metered(
                    &self.turn,
                    self.gas,
                    &mut self.pace,
                    (&meter, &intake),
                    pin!(A::poll(entry, &mut self.store)),
                )),
            )
            .await;
            self.settle();
            match returned.flatten() {
                Ok(Ok(number)) => match A::outcome(number) {
                    Ok(PollOutcome::Pending) => {}
                    Ok(PollOutcome::Finished) => return ExitReason::Finished,
                    Err(text) => return ExitReason::Violation(text),
                },
                Ok(Err(error)) => return self.exit_reason(&error),
                Err(halt) => return halt.into(),
            }
            if self.store.data().has_overflowed() {
                return Interrupted::Overflowed.into();
            }
            if self.store.data_mut().note_poll() {
                let status = &self.context().status;
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
        if self.slice_used >= self.context().slice_fuel() {
            self.slice_used = 0;
            interruptible(
                &self.control,
                &mut self.time_limit,
                pin!(tokio::task::yield_now()),
            )
            .await?;
        }
        loop {
            self.control.set_looking(true);
            let has_work = self.store.data_mut().advance();
            self.control.set_looking(false);
            if has_work {
                return Ok(());
            }
            self.slice_used = 0;
            self.control.set_idle(true);
            let woken = self.wait().await;
            self.control.set_idle(false);
            woken?;
        }
    }

    /// Waits for a wake, a request, a stop or the deadline.
    async fn wait(&mut self) -> Result<(), Halt> {
        let look = self.store.data_mut().next_look();
        let mut look = look.map(|at| Box::pin(tokio::time::sleep_until(at)));
        // Only what is needed is held while waiting: the state is not `Sync`.
        let has_news = self.store.data().news();
        let Self {
            control,
            time_limit,
            ..
        } = self;
        std::future::poll_fn(|cx| {
            control.register(cx);
            check_halt(control, time_limit, cx)?;
            if has_news() {
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
        let PollUse {
            work,
            requests,
            gas: call_gas,
            gas_unpublished,
        } = self.store.data_mut().take_use();
        if is_heavy(used.saturating_add(work), requests) {
            self.control.note_heavy();
        }
        self.slice_used = self.slice_used.saturating_add(used).saturating_add(work);
        let (gas, fuel_unpublished) = self.gas.settle(used);
        self.gas.total = self.gas.total.saturating_add(gas + call_gas);
        let meter = &self.context().config.meter;
        meter.add_gas(fuel_unpublished + gas_unpublished);
        self.control.fuel().settle(left);
    }

    /// Fills the tank: as far as the gas limit allows, else when it runs low. A
    /// weight that has changed holds from here on.
    ///
    /// # Errors
    ///
    /// [`ExitReason::GasExhausted`] when nothing may be filled in.
    fn refuel(&mut self) -> Result<(), ExitReason> {
        let tank = match self.context().config.gas_max {
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
        let slice = self.context().slice_fuel();
        if tank == self.fuel_left && slice == self.slice {
            return Ok(());
        }
        self.slice = slice;
        self.store.data_mut().renew_slices();
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
        let config = &self.context().config;
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
            let state = self.store.data_mut();
            state.refuse_replies(&RequestError::Ended);
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
