//! The ABI of modules that export a poll function (`wapo_abi`): their start, their poll,
//! and what their state says to the run loop.
//!
//! The host calls of the ABI are in `calls`, on the same state. Called by `drive`
//! through `guest_abi`.

use std::sync::Arc;

use tokio::time::Instant;
use wapo_abi::message::InputChannel;
use wapo_abi::{LEGACY_POLL_EXPORT, POLL_EXPORT, PollOutcome};
use wasmtime::{Instance, InstancePre, Store, TypedFunc};

use crate::context::InstanceContext;
use crate::guest_abi::{GuestAbi, GuestState, PollUse, StartError};
use crate::intake::Intake;
use crate::limits::{QUOTA_TICK, ROOM_LOOK_INTERVAL};
use crate::memory_image;
use crate::request::RequestError;
use crate::resource::{Handle, Resource};
use crate::state::InstanceState;

/// Export of a reactor (WASI application ABI): called once, before the first poll.
const INITIALIZE_EXPORT: &str = "_initialize";

/// Modules that export a poll function.
pub(crate) enum PollAbi {}

impl GuestAbi for PollAbi {
    type State = InstanceState;
    type Code = InstancePre<InstanceState>;
    type Entry = TypedFunc<(), i32>;

    async fn prepare(
        code: &Self::Code,
        store: &mut Store<InstanceState>,
    ) -> Result<(), StartError> {
        let found = InstanceState::find_stack(store).await;
        found.map_err(StartError::at("the engine"))?;
        let made = memory_image::make(code.module()).await;
        made.map_err(StartError::at("the memory image"))
    }

    async fn start(
        code: &Self::Code,
        store: &mut Store<InstanceState>,
    ) -> Result<Self::Entry, StartError> {
        let instance = code.instantiate_async(&mut *store).await;
        let instance = instance.map_err(StartError::at("the start function"))?;
        let entry = find_poll(store, &instance)?;
        let initialize: wasmtime::Result<TypedFunc<(), ()>> =
            instance.get_typed_func(&mut *store, INITIALIZE_EXPORT);
        if let Ok(initialize) = initialize {
            // A poll of its own, for the limit that the guest may have set itself.
            store.data().context.control.clock().begin_poll();
            let called = initialize.call_async(store, ()).await;
            called.map_err(StartError::at(INITIALIZE_EXPORT))?;
        }
        Ok(entry)
    }

    fn poll(
        entry: &Self::Entry,
        store: &mut Store<InstanceState>,
    ) -> impl Future<Output = wasmtime::Result<i32>> + Send {
        entry.call_async(store, ())
    }

    fn outcome(number: i32) -> Result<PollOutcome, String> {
        PollOutcome::from_i32(number)
            .map_err(|number| format!("`{POLL_EXPORT}` returned {number} instead of 0 or 1"))
    }
}

fn find_poll(
    store: &mut Store<InstanceState>,
    instance: &Instance,
) -> Result<TypedFunc<(), i32>, StartError> {
    let found = [POLL_EXPORT, LEGACY_POLL_EXPORT]
        .into_iter()
        .find_map(|name| instance.get_typed_func(&mut *store, name).ok());
    found.ok_or_else(|| {
        let text = format!("the module exports no function `{POLL_EXPORT}` of type () -> i32");
        StartError::Unfit(text)
    })
}

impl GuestState for InstanceState {
    fn context(&self) -> &InstanceContext {
        &self.context
    }

    fn context_mut(&mut self) -> &mut InstanceContext {
        &mut self.context
    }

    fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    fn begin_poll(&mut self) {
        self.wakes.begin_poll();
    }

    fn take_use(&mut self) -> PollUse {
        let (gas, gas_unpublished) = self.take_call_gas();
        PollUse {
            work: std::mem::take(&mut self.work),
            requests: std::mem::take(&mut self.requests_taken),
            gas,
            gas_unpublished,
        }
    }

    fn note_poll(&mut self) -> bool {
        !std::mem::replace(&mut self.is_ready, true)
    }

    fn has_overflowed(&self) -> bool {
        self.wakes.has_overflowed()
    }

    fn renew_slices(&mut self) {
        self.short_since = None;
        self.pay_attention();
    }

    fn advance(&mut self) -> bool {
        self.announce_requests();
        self.push_out_streams();
        self.wake_rate_waits();
        self.wakes.wants_poll()
    }

    fn next_look(&mut self) -> Option<Instant> {
        let rates = self.rate_waits.due();
        let handles = self.lacks_handles().then_some(ROOM_LOOK_INTERVAL);
        let requests = self.requests_pause().map(|time| time.max(QUOTA_TICK));
        self.requests_held_up = handles.is_some() || requests.is_some();
        let others = handles.into_iter().chain(requests).min();
        let others = others.map(|time| Instant::now() + time);
        rates.into_iter().chain(others).min()
    }

    fn news(&self) -> impl Fn() -> bool + Send + use<> {
        let wakes = Arc::clone(&self.wakes);
        let intake = Arc::clone(&self.intake);
        let wanted = [InputChannel::Query, InputChannel::HttpRequest]
            .map(|channel| self.watches_requests(channel).then_some(channel));
        move || {
            wakes.wants_poll()
                || wakes.wants_flush()
                || wanted
                    .into_iter()
                    .flatten()
                    .any(|one| !intake.is_empty(one))
        }
    }

    fn refuse_replies(&mut self, error: &RequestError) {
        self.resources.refuse_replies(error);
    }
}

impl InstanceState {
    /// Moves buffered output of streams whose peers can take it again.
    fn push_out_streams(&mut self) {
        while let Some(handle) = self.wakes.take_flush() {
            // The stream may be closed, its number in other use: both harmless.
            if let Ok(Resource::Stream(stream)) = self.resources.get(Handle(handle)) {
                stream.push_out();
            }
        }
    }

    /// Wakes the guest where its app may move bytes again.
    fn wake_rate_waits(&mut self) {
        if self.rate_waits.due().is_none() {
            return;
        }
        let config = &self.context.config;
        self.rate_waits
            .wake_due(Instant::now(), &config.quotas, &config.meter);
    }
}
