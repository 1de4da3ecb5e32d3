//! How long the HTTP ports wait: for clients, and for apps.
//!
//! Each has a default that suits proxies and a reason beside it in
//! `wapod::limits`. Part of a [`Layer`](super::Layer), resolved by `settings`.

use std::time::Duration;

use wapod::limits::Timeouts;

use super::values::Seconds;

const TIMES: &str = "Times of HTTP";

/// The times of one source.
#[derive(clap::Args, Clone, Default, Debug)]
pub(crate) struct TimeoutOptions {
    /// Time after which a connection without a request is closed [default: 75].
    /// Should be longer than the time of a proxy in front, mostly 60.
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub(super) idle_timeout: Option<Seconds>,

    /// Time for the head of a request, from its first byte [default: 30].
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub(super) head_timeout: Option<Seconds>,

    /// Time for each KiB of a request's body, while the worker waits for the client
    /// [default: 20].
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub(super) body_timeout: Option<Seconds>,

    /// Time in which a client has to read something of an answer [default: 60].
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub(super) write_timeout: Option<Seconds>,

    /// Time for an app to begin an answer, from its last sign of life [default:
    /// 60].
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub(super) response_timeout: Option<Seconds>,

    /// Time for an app to answer a query [default: 60].
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub(super) query_timeout: Option<Seconds>,
}

/// A time: its name, where a source has it, and where it takes effect.
pub(super) struct Timeout {
    pub(super) name: &'static str,
    pub(super) of: fn(&TimeoutOptions) -> Option<Seconds>,
    pub(super) at: fn(&mut Timeouts) -> &mut Duration,
}

/// All of them.
pub(super) const TIMEOUTS: &[Timeout] = &[
    Timeout {
        name: "idle-timeout",
        of: |times| times.idle_timeout,
        at: |timeouts| &mut timeouts.idle,
    },
    Timeout {
        name: "head-timeout",
        of: |times| times.head_timeout,
        at: |timeouts| &mut timeouts.head,
    },
    Timeout {
        name: "body-timeout",
        of: |times| times.body_timeout,
        at: |timeouts| &mut timeouts.body_window,
    },
    Timeout {
        name: "write-timeout",
        of: |times| times.write_timeout,
        at: |timeouts| &mut timeouts.write,
    },
    Timeout {
        name: "response-timeout",
        of: |times| times.response_timeout,
        at: |timeouts| &mut timeouts.response,
    },
    Timeout {
        name: "query-timeout",
        of: |times| times.query_timeout,
        at: |timeouts| &mut timeouts.query,
    },
];
