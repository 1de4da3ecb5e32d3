//! The harness of the end-to-end tests: a daemon, guests, clients.
//!
//! Tests (`tests/e2e`) read like sentences:
//! `Daemon::start().await.deploy(guest("hello-http")).await.get("/").await.expect_text("…")`.
//! Everything runs in the test's own process and talks over loopback; every
//! wait ends after [`TIMEOUT`]. Guests are the files that `cargo xtask guests`
//! built, or fixtures in the text format (`fixtures/*.wat`).

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a harness fails by panicking")]

pub mod app;
pub mod certificates;
pub mod client;
pub mod daemon;
pub mod dns;
pub mod forbidden;
pub mod fuzz;
pub mod guests;
pub mod namespace;
pub mod operator;
pub mod ports;
pub mod probe;
pub mod proxy;
pub mod tls_port;

pub use app::App;
pub use certificates::Authority;
pub use client::Answer;
pub use daemon::Daemon;
pub use guests::{fixture, fixture_with, guest, script, text_guest};
pub use operator::Operator;
pub use probe::{Errno, Probe};
pub use tls_port::TlsPort;

use std::future::Future;
use std::time::Duration;

/// Longest wait for anything.
///
/// Two busy cores and a debug build must make it, and code is compiled at the lowest
/// priority: the JavaScript engine took more than 30 s beside other builds. A test that
/// needs longer hangs.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// Waits for `what`, within [`TIMEOUT`].
///
/// # Panics
///
/// When it does not come in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {TIMEOUT:?} for {what}"),
    }
}
