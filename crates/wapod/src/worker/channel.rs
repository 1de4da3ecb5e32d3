//! The kinds of requests, and whether a guest takes them.
//!
//! Queues nothing: requests that wait are in `seats`. Called by `instance` and `lease`.

use wapo_abi::message::InputChannel;
use wapo_host::Status;

/// Which kind of request a client wants to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Channel {
    Http,
    Query,
}

impl Channel {
    /// Whether a guest in this state takes such requests.
    pub(super) fn is_open(self, status: &Status) -> bool {
        match self {
            Self::Http => status.takes_http,
            Self::Query => status.takes_queries,
        }
    }

    pub(super) fn input(self) -> InputChannel {
        match self {
            Self::Http => InputChannel::HttpRequest,
            Self::Query => InputChannel::Query,
        }
    }
}
