//! Everything the host keeps for one running guest.
//!
//! The wasmtime store owns an [`InstanceState`]; host calls (`calls/*`) are
//! methods on it. State stands apart from the glue that lifts arguments, so
//! that another ABI could drive the same state; what any ABI needs is in `context`.
//! Touched by one task only.

use std::sync::Arc;

use wapo_abi::message::{InputChannel, LogLevel};
use wapo_abi::{Errno, WakerId};
use wasmtime::{AsContextMut as _, Caller, Func, Memory, Store};
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::context::InstanceContext;
use crate::host_memory::MemoryCharge;
use crate::intake::Intake;
use crate::limits::SMALL_ANSWER_BYTES;
use crate::net::dialer::Dialer;
use crate::net::failure::Failure;
use crate::net::rate_waits::RateWaits;
use crate::net::room::RoomWaits;
use crate::resource::{Handle, Resource, ResourceTable};
use crate::stack::StackGauge;
use crate::wake::{LazyWaker, TaskWakers, WakeQueue};

/// An input channel of a guest. What waits in it is in the instance's intake.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Whether the guest ever opened it; it can do so once.
    pub(crate) handle: Option<Handle>,
    /// Whether the guest closed it again.
    pub(crate) closed: bool,
    /// The guest's wait for the next message.
    pub(crate) waiting: Option<std::task::Waker>,
}

/// An answer that waits to be fetched, and the memory that it takes.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    _charge: Option<MemoryCharge>,
}

/// Host state of one running guest.
pub(crate) struct InstanceState {
    pub(crate) wakes: Arc<WakeQueue>,
    pub(crate) task_wakers: TaskWakers,
    pub(crate) resources: ResourceTable,
    pub(crate) queries: Inbox,
    pub(crate) requests: Inbox,
    /// Requests for both of them.
    pub(crate) intake: Arc<Intake>,
    /// Whether no start of the instance preceded this one.
    pub(crate) is_first_start: bool,
    /// Whether the first poll has returned; before, the guest takes no requests.
    pub(crate) is_ready: bool,
    pub(crate) dialer: Dialer,
    /// Listeners that wait until the guest may hold more.
    pub(crate) room_waits: RoomWaits,
    /// Streams that wait until the app may move more bytes.
    pub(crate) rate_waits: RateWaits,
    /// Whether requests wait for the same.
    pub(crate) requests_wait: bool,
    /// Whether requests wait for that or for handles, by the look before the guest waits.
    pub(crate) requests_held_up: bool,
    /// Why a call on the network failed last, and on which handle.
    pub(crate) net_failure: Option<(Handle, Failure)>,
    pub(crate) wasi: WasiP1Ctx,
    /// The guest's memory; known once it is instantiated.
    pub(crate) memory: Option<Memory>,
    /// The answer of the last slow call.
    pub(crate) answer: Option<Answer>,
    /// Memory of what the present call answers with, if it was charged before.
    pub(crate) answer_charge: Option<MemoryCharge>,
    /// The guest task that makes the present call.
    pub(crate) task: i32,
    /// Price of host calls since the last settlement.
    pub(crate) call_gas: u64,
    /// What the meter has of it already.
    pub(crate) call_gas_published: u64,
    /// Requests and queries that the guest has taken in the present poll.
    pub(crate) requests_taken: u32,
    /// Host work since the last yield, in fuel's worth of time.
    pub(crate) work: u64,
    /// The step in which the fuel interval was cut short, until it is restored.
    pub(crate) short_since: Option<u64>,
    /// Host work at which a call has to look up: a slice's worth, or at once.
    pub(crate) attention_at: u64,
    pub(crate) trace: bool,
    /// Where its code is entered.
    pub(crate) stack: StackGauge,
    /// What does not depend on the ABI. The last one: its share of memory is given back
    /// when everything else is gone.
    pub(crate) context: InstanceContext,
}

impl InstanceState {
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
    pub(crate) async fn find_stack(store: &mut Store<Self>) -> wasmtime::Result<()> {
        let mark = |mut caller: Caller<'_, Self>| {
            let state = caller.data_mut();
            let (bottom, bytes) = state.stack.begin();
            state.context.control.stack().begins(bottom, bytes);
        };
        let mark = Func::wrap(store.as_context_mut(), mark);
        mark.typed::<(), ()>(&*store)?
            .call_async(store.as_context_mut(), ())
            .await
    }

    /// Makes the waker of the present poll-type call, lazily.
    pub(crate) fn lazy_waker(&mut self, waker: WakerId) -> (LazyWaker<'_>, &mut ResourceTable) {
        (
            LazyWaker::new(&self.wakes, &mut self.task_wakers, self.task, waker),
            &mut self.resources,
        )
    }

    /// Adds to the price of host calls.
    #[inline]
    pub(crate) fn charge(&mut self, gas: u64) {
        self.call_gas = self.call_gas.saturating_add(gas);
    }

    /// Lets the meter see the price of the calls of a poll that still runs.
    pub(crate) fn publish_call_gas(&mut self) {
        self.context
            .config
            .meter
            .add_gas(self.call_gas - self.call_gas_published);
        self.call_gas_published = self.call_gas;
    }

    /// Takes the price of host calls, and how much of it the meter lacks.
    pub(crate) fn take_call_gas(&mut self) -> (u64, u64) {
        let gas = std::mem::take(&mut self.call_gas);
        (gas, gas - std::mem::take(&mut self.call_gas_published))
    }

    /// Counts host time that fuel does not see.
    #[inline]
    pub(crate) fn add_work(&mut self, fuel: u64) {
        self.work = self.work.saturating_add(fuel);
    }

    /// Decides anew whether every call has to look up, or one in a slice.
    pub(crate) fn pay_attention(&mut self) {
        let always = self.trace || self.short_since.is_some();
        self.attention_at = if always { 0 } else { self.context.slice_fuel() };
    }

    /// Whether the host has worked for a slice since the guest last let others run.
    pub(crate) fn has_worked_a_slice(&self) -> bool {
        self.work >= self.context.slice_fuel()
    }

    pub(crate) fn inbox(&self, channel: InputChannel) -> &Inbox {
        match channel {
            InputChannel::Query => &self.queries,
            InputChannel::HttpRequest => &self.requests,
        }
    }

    pub(crate) fn inbox_mut(&mut self, channel: InputChannel) -> &mut Inbox {
        match channel {
            InputChannel::Query => &mut self.queries,
            InputChannel::HttpRequest => &mut self.requests,
        }
    }

    /// Tells the app's log that a quota refused the guest something.
    pub(crate) fn over_quota(&self, reason: &impl std::fmt::Display) -> Errno {
        self.dialer.notices.warn(&reason.to_string());
        Errno::RESOURCE_LIMITED
    }

    /// Stores a stream and tells it whom to wake for its buffered output.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] when the table is full.
    pub(crate) fn insert_stream(
        &mut self,
        stream: crate::net::stream::Stream,
    ) -> Result<Handle, Errno> {
        let handle = self.resources.insert(Resource::Stream(Box::new(stream)))?;
        self.watch_flushes(handle)?;
        Ok(handle)
    }

    /// Has a stream say when what it buffers can move.
    pub(crate) fn watch_flushes(&mut self, handle: Handle) -> Result<(), Errno> {
        let wakes = &self.wakes;
        if let Resource::Stream(stream) = self.resources.get(handle)? {
            stream.set_flush_waker(|| crate::wake::flush_waker(wakes, handle.0));
        }
        Ok(())
    }

    /// Tells the embedder which requests the guest takes.
    pub(crate) fn announce_channels(&self) {
        let open = |inbox: &Inbox| inbox.handle.is_some() && !inbox.closed;
        let (takes_queries, takes_http) = (open(&self.queries), open(&self.requests));
        self.context.status.send_modify(|status| {
            status.takes_queries = takes_queries;
            status.takes_http = takes_http;
        });
    }

    /// Takes memory that the host needs for the guest; refusals are in the app's
    /// log.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`].
    pub(crate) fn charge_memory(&self, bytes: u64) -> Result<MemoryCharge, Errno> {
        self.dialer.memory.charge(bytes).map_err(|reason| {
            if self.dialer.memory.is_first_refusal() {
                self.context.log_event(LogLevel::Warn, &reason.to_string());
            }
            Errno::RESOURCE_LIMITED
        })
    }

    /// Keeps an answer until it is fetched, and gives its length.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] when the host may not keep it.
    pub(crate) fn keep_answer(&mut self, bytes: Vec<u8>) -> Result<u32, Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::RESOURCE_LIMITED)?;
        let charge = match self.answer_charge.take() {
            Some(mut charge) => {
                // A few bytes more than the message had; they may be refused.
                let _ = charge.resize(bytes.len() as u64);
                Some(charge)
            }
            None if bytes.len() <= SMALL_ANSWER_BYTES => None,
            None => Some(self.charge_memory(bytes.len() as u64)?),
        };
        self.answer = Some(Answer {
            bytes,
            _charge: charge,
        });
        Ok(len)
    }
}

impl Drop for InstanceState {
    fn drop(&mut self) {
        let (_, unpublished) = self.take_call_gas();
        self.context.end(unpublished);
    }
}
