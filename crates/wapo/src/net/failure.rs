//! Errors of the network with their reason.
//!
//! Calls answer with one number; the host tells the reason of the last failure
//! when it is asked. This module asks right after a call has failed, and makes
//! an [`io::Error`] of the answer: a kind for programs, a text for people.

use std::cell::RefCell;
use std::{fmt, io};

use wapo_abi::NetFailure;

use crate::error::Error;
use crate::sys::calls;

/// Stands for calls without a handle.
pub(crate) const NO_HANDLE: i32 = -1;

/// Why a call on the network failed. Found inside of an [`io::Error`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetError {
    error: Error,
    kind: NetFailure,
    text: String,
}

impl NetError {
    /// The number that the call answered with.
    pub const fn error(&self) -> Error {
        self.error
    }

    /// The kind of the failure.
    pub const fn kind(&self) -> NetFailure {
        self.kind
    }

    fn io_kind(&self) -> io::ErrorKind {
        use io::ErrorKind as K;
        match self.kind {
            NetFailure::REFUSED => K::ConnectionRefused,
            NetFailure::RESET => K::ConnectionReset,
            NetFailure::ABORTED => K::ConnectionAborted,
            NetFailure::TIMED_OUT => K::TimedOut,
            NetFailure::NO_SUCH_NAME => K::NotFound,
            NetFailure::HOST_UNREACHABLE => K::HostUnreachable,
            NetFailure::NETWORK_UNREACHABLE => K::NetworkUnreachable,
            NetFailure::DENIED | NetFailure::LISTEN_DENIED => K::PermissionDenied,
            NetFailure::ADDRESS_IN_USE => K::AddrInUse,
            NetFailure::ADDRESS_NOT_AVAILABLE => K::AddrNotAvailable,
            NetFailure::BROKEN_PIPE => K::BrokenPipe,
            NetFailure::TLS => K::InvalidData,
            NetFailure::UNEXPECTED_END => K::UnexpectedEof,
            NetFailure::LIMIT => K::QuotaExceeded,
            _ => K::Other,
        }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for NetError {}

impl From<NetError> for io::Error {
    fn from(error: NetError) -> Self {
        Self::new(error.io_kind(), error)
    }
}

thread_local! {
    /// The reason of the last failure that became a plain [`Error`].
    static LAST: RefCell<Option<NetError>> = const { RefCell::new(None) };
}

/// Asks the host why a call has just failed; `None` if it has no more to say.
fn reason(handle: i32, error: Error) -> Option<NetError> {
    if !matches!(
        error,
        Error::IO_ERROR | Error::FORBIDDEN | Error::RESOURCE_LIMITED
    ) {
        return None;
    }
    ask(handle, error)
}

fn ask(handle: i32, error: Error) -> Option<NetError> {
    // Hosts of Wapo 0.x do not know the call.
    let (kind, text) = calls::net_failure(handle).ok()?;
    Some(NetError {
        error,
        kind: NetFailure(kind),
        text,
    })
}

/// The error of a call on a handle that has just failed.
pub(crate) fn io_error(handle: i32, error: Error) -> io::Error {
    match reason(handle, error) {
        Some(reason) => reason.into(),
        // Without what is remembered: that may be another call's.
        None => io::Error::new(error.io_kind(), error),
    }
}

/// Remembers why a call has just failed whose error is a number only, for
/// the code that shows it.
pub(crate) fn remember(handle: i32, error: Error) -> Error {
    LAST.set(reason(handle, error));
    error
}

/// As [`remember`], of a call without a handle for which the host has a reason whatever
/// its number is.
pub(crate) fn remember_any(error: Error) -> Error {
    LAST.set(ask(NO_HANDLE, error));
    error
}

/// Forgets the reason of the last failure: another call has failed since.
pub(crate) fn forget() {
    // A handle may be closed, in vain, when the thread's own values are gone.
    let _ = LAST.try_with(RefCell::take);
}

/// What is known of an error besides its number.
pub(crate) fn recall(error: Error) -> Option<NetError> {
    LAST.with_borrow(|last| last.clone().filter(|last| last.error == error))
}

#[cfg(test)]
mod tests {
    use parity_scale_codec::Encode as _;
    use wapo_abi::Errno;

    use super::*;
    use crate::sys::fake::{self, Answer};

    fn answer(kind: NetFailure, text: &str) {
        fake::answer("net_failure", Answer::Bytes((kind.0, text).encode()));
    }

    #[test]
    fn an_error_has_the_kind_and_the_words_of_the_host() {
        fake::install();
        answer(
            NetFailure::REFUSED,
            "cannot connect to a:1: connection refused",
        );
        let error = io_error(3, Error::IO_ERROR);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            error.to_string(),
            "cannot connect to a:1: connection refused"
        );
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let inner: &NetError = inner.expect("the reason");
        assert_eq!(
            (inner.error(), inner.kind()),
            (Error::IO_ERROR, NetFailure::REFUSED)
        );
        assert_eq!(Error::from(error), Error::IO_ERROR);
    }

    #[test]
    fn a_host_that_knows_no_reasons_gives_the_number() {
        fake::install();
        fake::answer("net_failure", Answer::Fails(Errno::UNKNOWN_CALL_NUMBER));
        let error = io_error(3, Error::FORBIDDEN);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(Error::from(error), Error::FORBIDDEN);
    }

    #[test]
    fn a_plain_error_is_shown_with_its_reason() {
        fake::install();
        answer(
            NetFailure::LISTEN_DENIED,
            "cannot listen on 127.0.0.1:1: not allowed",
        );
        let error = remember(NO_HANDLE, Error::FORBIDDEN);
        assert_eq!(
            error.to_string(),
            "cannot listen on 127.0.0.1:1: not allowed"
        );
        assert_eq!(Error::NOT_FOUND.to_string(), "not found");
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_later_failure_with_the_same_number_has_nothing_of_an_earlier_one() {
        fake::install();
        let refused = "cannot listen on 127.0.0.1:1: not allowed";
        answer(NetFailure::LISTEN_DENIED, refused);
        let error = remember(NO_HANDLE, Error::FORBIDDEN);
        // A call that waits has not failed.
        assert_eq!(calls::poll_res(1, 2), Err(Error::PENDING));
        assert_eq!(error.to_string(), refused);
        fake::answer("tcp_accept", Answer::Fails(Errno::FORBIDDEN));
        let error = calls::tcp_accept(1, 2).expect_err("forbidden");
        assert_eq!(error.to_string(), "forbidden by policy");
        let inner = io::Error::from(error);
        let inner = inner.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(inner, Some(&Error::FORBIDDEN));
    }

    #[test]
    fn a_call_whose_reason_is_not_known_has_not_that_of_another_handle() {
        fake::install();
        answer(NetFailure::LIMIT, "too many connections");
        remember(3, Error::RESOURCE_LIMITED);
        fake::answer("net_failure", Answer::Fails(Errno::UNKNOWN_CALL_NUMBER));
        let error = io_error(4, Error::RESOURCE_LIMITED);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(inner, Some(&Error::RESOURCE_LIMITED));
    }
}
