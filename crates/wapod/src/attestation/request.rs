//! Requests for quotes: who makes one, and why there is none for it.
//!
//! Made and refused by `quoter`, counted by `figures`.

use crate::limits::{QUOTE_TIMEOUT, STRANGER_QUOTES_BURST, STRANGER_QUOTES_PER_SECOND};

/// Who wants a quote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// The worker, by itself or for its operator.
    Worker,
    /// A guest.
    Guest,
    /// Any client of the user port.
    Stranger,
}

/// Why there is no quote. The texts are for remote clients.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum QuoteError {
    /// There is no hardware.
    #[error(
        "this worker attests nothing: it runs in no enclave and in no confidential machine that it knows"
    )]
    None,
    /// The line is full.
    #[error("{0} requests for quotes wait already, which is the maximum: try again")]
    Busy(usize),
    /// Strangers have asked too often.
    #[error(
        "more than {STRANGER_QUOTES_PER_SECOND} quotes a second, and {STRANGER_QUOTES_BURST} at once, are not made for everyone: try again, or ask without a nonce, which costs none"
    )]
    TooMany,
    /// It took too long.
    #[error("the hardware has made no quote within {} seconds", QUOTE_TIMEOUT.as_secs())]
    Timeout,
    /// It could not be made. The reason is in the log.
    #[error("the hardware has made no quote")]
    Failed,
}
