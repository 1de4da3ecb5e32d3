//! The contract between a Wapo guest and the host that runs it.
//!
//! Guest SDK and host both depend on this crate and never on each other. It
//! holds what the two must agree on and nothing else: no I/O, no state, no
//! policy. Existing guests were compiled against these numbers, so a released
//! row may be joined by others but never changes (`tests/abi.snap` is the lock).
//!
//! # How a guest and a host talk
//!
//! A guest is a wasm module that exports `memory` and [`POLL_EXPORT`], a
//! function without arguments that returns an `i32` ([`PollOutcome`]). The host
//! calls it whenever the guest has something to do. It must return quickly; it
//! is preempted when it does not.
//!
//! While it runs, the guest calls the host through two imports of the module
//! [`IMPORT_MODULE`], both `(i32 × 6) -> i64`:
//!
//! * [`IMPORT_FAST`] for *fast* rows of the table: the `i64` is the answer.
//! * [`IMPORT_SLOW`] for *slow* rows: the answer is a SCALE value that the host
//!   keeps in a one-slot buffer; the `i64` carries its length and the guest
//!   fetches it with a fast call of id [`GET_RETURN`].
//!
//! The six arguments are the id of the guest task that is being polled, the id
//! of the call, and four slots ([`wire`]). The result holds 0 in its high half
//! and the value in its low half, or 1 and an [`Errno`].
//!
//! # Waiting and waking
//!
//! No call ever waits. A call that cannot answer yet returns
//! [`Errno::PENDING`] and remembers a [`WakerId`] that the guest chose. When
//! the wait is over the host marks the task ready, reports the waker, and polls
//! the guest again. See [`wake`] for the exactly-once rule of waker ids.
//!
//! # Handles
//!
//! Resources (timers, streams, listeners, channels) are numbers that are valid
//! inside one instance only. The lowest free number is used; `close` frees it.
//!
//! # Where to go next
//!
//! [`calls`] is the table. Everything else that names a call (guest stubs, host
//! traits, dispatch, gas, trace names, `docs/abi.md`) is an expansion of it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod calls;
pub mod caps;
pub mod datagram;
pub mod errno;
pub mod message;
pub mod net_failure;
pub mod wake;
pub mod wire;

pub use calls::{Arg, CALLS, CallInfo, Gas, Mode};
pub use caps::{Cap, Excess};
pub use datagram::DatagramHeader;
pub use errno::Errno;
pub use net_failure::NetFailure;
pub use wake::{Event, PollOutcome, WakeCode, WakerId};

/// Name of the module from which a guest imports the two call functions.
pub const IMPORT_MODULE: &str = "wapo";
/// Import for rows whose answer is the returned value.
pub const IMPORT_FAST: &str = "ocall_fast_return";
/// Import for rows whose answer is fetched with [`GET_RETURN`].
pub const IMPORT_SLOW: &str = "ocall";
/// Module name used by guests built before the project was renamed.
pub const LEGACY_IMPORT_MODULE: &str = "env";
/// [`IMPORT_FAST`] under its older name.
pub const LEGACY_IMPORT_FAST: &str = "sidevm_ocall_fast_return";
/// [`IMPORT_SLOW`] under its older name.
pub const LEGACY_IMPORT_SLOW: &str = "sidevm_ocall";
/// Export that the host polls.
pub const POLL_EXPORT: &str = "wapo_poll";
/// Export that is polled when [`POLL_EXPORT`] is missing.
pub const LEGACY_POLL_EXPORT: &str = "sidevm_poll";
/// Export that holds the guest's memory; required by every call.
pub const MEMORY_EXPORT: &str = "memory";
/// Id of the fast call that fetches the answer of a slow call.
pub const GET_RETURN: u32 = 0;
/// Most resources that one instance may hold at a time.
///
/// The number is part of the contract: guests of Wapo 0.x size their own
/// tables by it. Without it a guest could grow the host's table without bound.
pub const HANDLES_MAX: usize = 8192;
/// Most messages that wait in an input channel of a guest.
pub const CHANNEL_CAPACITY: usize = 20;
