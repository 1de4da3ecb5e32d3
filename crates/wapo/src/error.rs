//! The one error type of this crate: why the host refused or failed.
//!
//! It is a number with a name. Functions say in their documentation which
//! numbers they answer with; compare with the constants. What the host tells of
//! a failure of the network besides is shown with it.

use std::{fmt, io};

use parity_scale_codec::{Decode, Encode};
use wapo_abi::Errno;

use crate::net::failure::{self, NetError};

/// Why a call to the host failed.
///
/// Converts into [`std::io::Error`] with a fitting [`io::ErrorKind`], so `?`
/// works in functions that return [`io::Result`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Error(Errno);

/// [`std::result::Result`] with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// This host does not know the call.
    pub const UNKNOWN_CALL_NUMBER: Self = Self(Errno::UNKNOWN_CALL_NUMBER);
    /// A value that is refused, for instance an address that is none.
    pub const INVALID_PARAMETER: Self = Self(Errno::INVALID_PARAMETER);
    /// Text or data that cannot be decoded.
    pub const INVALID_ENCODING: Self = Self(Errno::INVALID_ENCODING);
    /// There is no such thing.
    pub const NOT_FOUND: Self = Self(Errno::NOT_FOUND);
    /// This kind of resource cannot do that.
    pub const UNSUPPORTED_OPERATION: Self = Self(Errno::UNSUPPORTED_OPERATION);
    /// The network, the disk or the peer failed.
    pub const IO_ERROR: Self = Self(Errno::IO_ERROR);
    /// A limit of the app is reached.
    pub const RESOURCE_LIMITED: Self = Self(Errno::RESOURCE_LIMITED);
    /// Not ready yet. Functions of this crate wait instead of answering it.
    pub const PENDING: Self = Self(Errno::PENDING);
    /// The other side is gone.
    pub const END_OF_FILE: Self = Self(Errno::END_OF_FILE);
    /// There can be only one and it exists.
    pub const ALREADY_EXISTS: Self = Self(Errno::ALREADY_EXISTS);
    /// The operator's policy refuses it.
    pub const FORBIDDEN: Self = Self(Errno::FORBIDDEN);
    /// The lock is taken, or is not held.
    pub const CONDITION_ERROR: Self = Self(Errno::CONDITION_ERROR);

    pub(crate) const fn from_errno(errno: Errno) -> Self {
        Self(errno)
    }

    /// The number of the error in the contract between guest and host.
    pub const fn code(self) -> u8 {
        self.0.0
    }

    pub(crate) fn io_kind(self) -> io::ErrorKind {
        match self {
            Self::UNKNOWN_CALL_NUMBER | Self::UNSUPPORTED_OPERATION => io::ErrorKind::Unsupported,
            Self::INVALID_PARAMETER => io::ErrorKind::InvalidInput,
            Self::INVALID_ENCODING => io::ErrorKind::InvalidData,
            Self::NOT_FOUND => io::ErrorKind::NotFound,
            Self::RESOURCE_LIMITED => io::ErrorKind::QuotaExceeded,
            Self::PENDING => io::ErrorKind::WouldBlock,
            Self::END_OF_FILE => io::ErrorKind::UnexpectedEof,
            Self::ALREADY_EXISTS => io::ErrorKind::AlreadyExists,
            Self::FORBIDDEN => io::ErrorKind::PermissionDenied,
            Self::CONDITION_ERROR => io::ErrorKind::ResourceBusy,
            _ => io::ErrorKind::Other,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match failure::recall(error) {
            Some(reason) => reason.into(),
            None => Self::new(error.io_kind(), error),
        }
    }
}

impl From<io::Error> for Error {
    /// The number inside, or [`Error::IO_ERROR`].
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref();
        let reason = inner.and_then(|inner| inner.downcast_ref::<NetError>());
        let plain = inner.and_then(|inner| inner.downcast_ref::<Self>());
        match (reason, plain) {
            (Some(reason), _) => reason.error(),
            (None, Some(plain)) => *plain,
            (None, None) => Self::IO_ERROR,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.describe() {
            Some((name, _)) => write!(f, "Error::{name}"),
            None => write!(f, "Error({})", self.code()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match failure::recall(*self) {
            Some(reason) => reason.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn becomes_an_io_error_of_a_fitting_kind_that_still_holds_the_number() {
        let error = io::Error::from(Error::FORBIDDEN);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert_eq!(inner, Some(&Error::FORBIDDEN));
    }
}
