//! Write network services that run in the Wapo sandbox.
//!
//! A Wapo app is one long-running WebAssembly program that owns its network:
//! it listens, connects and answers by itself, on ordinary async Rust. This
//! crate is all it needs.
//!
//! # A complete app
//!
//! ```toml
//! # Cargo.toml
//! [dependencies]
//! wapo = "1.0.0-alpha.1"
//! log = "0.4"
//! ```
//!
//! ```no_run
//! // src/main.rs
//! use std::time::Duration;
//! use wapo::http::{Body, Request, Response};
//!
//! #[wapo::main]
//! async fn main() {
//!     wapo::log::init();
//!
//!     // Something that runs beside the rest.
//!     wapo::spawn_named("heartbeat", async {
//!         loop {
//!             wapo::time::sleep(Duration::from_secs(60)).await;
//!             log::info!("still here");
//!         }
//!     });
//!
//!     // Every request gets a task of its own.
//!     wapo::http::serve(answer).await
//! }
//!
//! async fn answer(request: Request<Body>) -> wapo::Result<String, wapo::http::BodyError> {
//!     let path = request.uri().path().to_owned();
//!     let text = request.into_body().text(64 * 1024).await?;
//!     Ok(format!("{path}: {} characters\n", text.chars().count()))
//! }
//! ```
//!
//! Build it with `cargo build --release --target wasm32-wasip1` and run it with
//! `wapo run`. The program's arguments and environment are those of its
//! manifest; `std::env` reads them.
//!
//! # Where things are
//!
//! | to | see |
//! | --- | --- |
//! | answer web requests that come through the gateway | [`http`] |
//! | answer queries | [`query`] |
//! | listen and connect, plain or with TLS | [`net`] |
//! | speak HTTP on a port of your own, or as a client | [`hyper`] |
//! | do several things at a time | [`spawn`], [`task`] |
//! | wait | [`time`] |
//! | log | [`mod@log`] |
//! | keep a record, read blobs | [`boot`], [`blob`] |
//! | derive secrets, sign, prove what runs | [`secret`], [`attest`] |
//! | work that one instance may do at a time | [`lock`] |
//! | know the app's address and bill | [`app`] |
//! | run what others wrote, within limits | [`guard`] |
//!
//! # Rules of the sandbox
//!
//! * There is one thread. A task that computes for long holds up the others,
//!   see [`task::yield_now`]; the host preempts the guest as a whole.
//! * Nothing blocks: `std::thread::sleep` stops the whole guest, `std::net`
//!   does not work, there are no files.
//! * When the main future ends, the app ends. A panic ends it too, and so does
//!   an error that main returns; the worker starts it again then.
//! * Constructors (of crates such as `inventory` and `ctor`, and of C and C++
//!   code) run before main.
//!
//! # tokio
//!
//! Parts of tokio that need no runtime work: `sync`, `macros` (`select!`) and
//! `io-util`. `tokio::spawn`, `tokio::net` and `tokio::time` do not; ours do.
//!
//! # Features
//!
//! `tokio` (its I/O traits on our streams), `hyper` (also called `hyper-v1`)
//! and `tower` are on by default. `hyper-v0` is for hyper 0.14. The I/O traits
//! of futures are always there.
//!
//! # Coming from Wapo 0.x
//!
//! Programs for it compile; deprecation warnings name what to use instead.

pub mod app;
pub mod attest;
pub mod blob;
pub mod boot;
mod compat;
mod error;
mod exit;
pub mod guard;
mod handle;
pub mod http;
#[cfg(feature = "hyper")]
pub mod hyper;
mod inbox;
pub mod lock;
pub mod log;
pub mod net;
pub mod query;
pub mod secret;
mod sys;
pub mod task;
pub mod time;

pub use task::{spawn, spawn_named};
pub use wapo_macros::main;

#[cfg(any(feature = "hyper", feature = "hyper-v0"))]
#[allow(deprecated, reason = "re-exported at its old path")]
pub use compat::hyper_rt;
#[allow(deprecated, reason = "re-exported at their old paths")]
pub use compat::{channel, env, logger, ocall};
pub use error::{Error, Result};
#[doc(hidden)]
pub use handle::Handle as ResourceId;

/// For the expansion of [`main`], and `construct` for an export that is entered
/// before the program is; not for other code.
///
/// ```compile_fail
/// #[wapo::main]
/// async fn main() -> u32 {
///     7
/// }
/// ```
#[doc(hidden)]
pub mod __private {
    pub use crate::exit::{BoxedErrorOutput, DisplayOutput, ErrorOutput, MainOutput, Returned};
    pub use crate::sys::runtime::construct;
    pub use crate::task::poll_program;

    /// The release of Wapo that the guest is built from; the JavaScript engine says it.
    pub const VERSION: &str = env!("CARGO_PKG_VERSION");
}
