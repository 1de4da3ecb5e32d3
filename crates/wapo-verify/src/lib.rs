//! Checks what a worker claims: evidence, bills, answers. Bytes in, a verdict out.
//!
//! Each check of a [`Verdict`] says what it found, and what that proves and what it
//! does not. The time, trust anchors and limits are arguments: this crate has no
//! clock, reads no file, opens no socket, draws no random number and starts no task,
//! so a guest or a page can verify as the command does: it compiles for
//! `wasm32-wasip1` and `wasm32-unknown-unknown`, with a C compiler that knows the
//! target (`CC_wasm32_wasip1=clang`, `CC_wasm32_unknown_unknown=clang`). For the
//! second, a crate that uses it says what `getrandom` does there, as
//! `wapo-verify-page` does. Called by the command `wapo verify`, by
//! `wapo-verify-page`, by tests, and by the daemon when a key goes from one worker to
//! another.

#![forbid(unsafe_code)]

pub mod answer;
pub mod app;
pub mod collateral;
pub mod demands;
pub mod evidence_file;
pub mod handover;
pub mod policy;
pub mod quote;
pub mod report;
pub mod roots;
mod text;
pub mod usage;
pub mod verdict;
pub mod worker;

pub use policy::Policy;
pub use quote::Context;
pub use roots::Roots;
pub use verdict::{Check, Outcome, Verdict};
