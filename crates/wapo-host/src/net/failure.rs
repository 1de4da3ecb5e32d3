//! Why something on the network failed: a kind for programs, a text for people.
//!
//! The one door from errors of the system, of name resolution, of TLS and of
//! the policy to the kinds of the contract ([`NetFailure`]). Guests ask for it
//! with the call `net_failure`.

use std::io;

use wapo_abi::NetFailure;

use crate::limits::FAILURE_TEXT_BYTES_MAX;
use crate::net::policy::Denied;

/// A kind and a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: NetFailure,
    text: String,
}

impl Failure {
    /// A failure with a text, which is cut to its limit.
    pub(crate) fn new(kind: NetFailure, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(FAILURE_TEXT_BYTES_MAX));
        Self { kind, text }
    }

    /// A failure that its kind describes.
    pub(crate) fn of(kind: NetFailure) -> Self {
        Self::new(kind, kind.to_string())
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same with the text that its kind does not tell behind what was tried.
    pub(crate) fn while_doing(self, what: &str) -> Self {
        Self::new(self.kind, format!("{what}: {}", self.text))
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        use io::ErrorKind as K;
        let inner = error.get_ref();
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::new(NetFailure::TLS, format!("{}: {tls}", NetFailure::TLS));
        }
        Self::of(match error.kind() {
            K::ConnectionRefused => NetFailure::REFUSED,
            K::ConnectionReset => NetFailure::RESET,
            K::ConnectionAborted | K::NotConnected => NetFailure::ABORTED,
            K::TimedOut => NetFailure::TIMED_OUT,
            K::HostUnreachable => NetFailure::HOST_UNREACHABLE,
            K::NetworkUnreachable | K::NetworkDown => NetFailure::NETWORK_UNREACHABLE,
            // By the system, not by the policy.
            K::PermissionDenied => return Self::new(NetFailure::DENIED, error.to_string()),
            K::AddrInUse => {
                let kind = NetFailure::ADDRESS_IN_USE;
                // The embedder knows who has it.
                return match inner {
                    Some(holder) => Self::new(kind, format!("{kind}: {holder}")),
                    None => Self::of(kind),
                };
            }
            K::AddrNotAvailable => NetFailure::ADDRESS_NOT_AVAILABLE,
            K::BrokenPipe | K::WriteZero => NetFailure::BROKEN_PIPE,
            K::UnexpectedEof => NetFailure::UNEXPECTED_END,
            K::QuotaExceeded => NetFailure::LIMIT,
            _ => return Self::new(NetFailure::OTHER, error.to_string()),
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Denied> for Failure {
    fn from(denied: &Denied) -> Self {
        Self::new(NetFailure::DENIED, denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind() {
        for (error, kind) in [
            (io::ErrorKind::ConnectionRefused, NetFailure::REFUSED),
            (io::ErrorKind::ConnectionReset, NetFailure::RESET),
            (io::ErrorKind::BrokenPipe, NetFailure::BROKEN_PIPE),
            (io::ErrorKind::TimedOut, NetFailure::TIMED_OUT),
            (io::ErrorKind::AddrInUse, NetFailure::ADDRESS_IN_USE),
            (io::ErrorKind::Other, NetFailure::OTHER),
        ] {
            assert_eq!(Failure::from(io::Error::from(error)).kind, kind);
        }
        let tls = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::HandshakeNotComplete,
        );
        assert_eq!(Failure::from(&tls).kind, NetFailure::TLS);
    }

    #[test]
    fn texts_are_cut() {
        let failure = Failure::new(NetFailure::OTHER, "ä".repeat(10_000));
        assert!(failure.text().len() <= FAILURE_TEXT_BYTES_MAX);
    }
}
