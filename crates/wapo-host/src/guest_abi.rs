//! What the run loop asks of an ABI: how a guest is started and polled, and what its
//! state says about waiting and use.
//!
//! `drive` runs guests of any ABI through these traits, without a table of functions at
//! run time. What every guest has, whatever its ABI, is in `context`; the ABI of modules
//! that export a poll function is in `poll_abi`. Another ABI is another implementation
//! and another variant of `module_cache::Code`.

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;
use wapo_abi::PollOutcome;
use wasmtime::Store;

use crate::context::InstanceContext;
use crate::intake::Intake;
use crate::request::RequestError;

/// A way in which guests and host talk to each other.
pub(crate) trait GuestAbi {
    /// What the host keeps for one start of a guest: the data of its store.
    type State: GuestState;
    /// A program that is linked and ready to start.
    type Code: Sync;
    /// What of a guest is called at each poll.
    type Entry;

    /// Does the host's part of a start. No code of the guest runs.
    fn prepare(
        code: &Self::Code,
        store: &mut Store<Self::State>,
    ) -> impl Future<Output = Result<(), StartError>> + Send;

    /// Makes the guest and runs all of its code that comes before the first poll.
    fn start(
        code: &Self::Code,
        store: &mut Store<Self::State>,
    ) -> impl Future<Output = Result<Self::Entry, StartError>> + Send;

    /// Polls the guest once; gives a number that [`outcome`](Self::outcome) explains.
    fn poll(
        entry: &Self::Entry,
        store: &mut Store<Self::State>,
    ) -> impl Future<Output = wasmtime::Result<i32>> + Send;

    /// What a poll has returned.
    ///
    /// # Errors
    ///
    /// What the guest did wrong.
    fn outcome(number: i32) -> Result<PollOutcome, String>;
}

/// Why a guest did not come to life.
pub(crate) enum StartError {
    /// A step of the start has failed.
    Failed {
        /// Which, in words that follow "in".
        place: &'static str,
        error: wasmtime::Error,
    },
    /// The program is none of this ABI, in words for its author.
    Unfit(String),
}

impl StartError {
    pub(crate) fn at(place: &'static str) -> impl FnOnce(wasmtime::Error) -> Self {
        move |error| Self::Failed { place, error }
    }
}

/// What a poll has used besides its fuel.
pub(crate) struct PollUse {
    /// Work of the host, in fuel's worth of time.
    pub(crate) work: u64,
    /// Requests that the guest has taken.
    pub(crate) requests: u32,
    /// Price of host calls.
    pub(crate) gas: u64,
    /// What of it the meter lacks.
    pub(crate) gas_unpublished: u64,
}

/// The host's state of one guest, as the run loop sees it.
pub(crate) trait GuestState: Send + 'static {
    /// What does not depend on the ABI.
    fn context(&self) -> &InstanceContext;

    /// The same, for the limiter of the store.
    fn context_mut(&mut self) -> &mut InstanceContext;

    /// The requests of the instance.
    fn intake(&self) -> &Arc<Intake>;

    /// A poll begins.
    fn begin_poll(&mut self);

    /// Takes what was used since the last time.
    fn take_use(&mut self) -> PollUse;

    /// A poll has returned; whether it was the first.
    fn note_poll(&mut self) -> bool;

    /// Whether the guest has made more waits than it will ever hear of.
    fn has_overflowed(&self) -> bool;

    /// The guest has whole slices again.
    fn renew_slices(&mut self);

    /// Moves on what needs no code of the guest; whether the guest is to be polled.
    fn advance(&mut self) -> bool;

    /// When to look again whether something can go on that quotas hold up. Called before each
    /// wait, and before [`news`](Self::news).
    fn next_look(&mut self) -> Option<Instant>;

    /// What tells whether something has come for the guest while it waits. It borrows
    /// nothing of the state, which threads must not share.
    fn news(&self) -> impl Fn() -> bool + Send + use<Self>;

    /// Answers the requests that the guest has in hand.
    fn refuse_replies(&mut self, error: &RequestError);
}
