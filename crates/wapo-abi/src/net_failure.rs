//! Why a network call failed, beyond the one number that the call answers with.
//!
//! Guests ask with the call `net_failure`. An open newtype like [`crate::Errno`]:
//! a number that this build does not know is a value and never undefined.

use core::fmt;

use parity_scale_codec::{Decode, Encode};

/// The kind of a network failure, as one byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct NetFailure(pub u8);

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl NetFailure {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The kind in words, when the number has some.
            pub const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }

            /// Every assigned kind in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

failures! {
    /// Something else; the text says what.
    OTHER = 0, "network failure";
    /// No socket listens there.
    REFUSED = 1, "connection refused";
    /// The peer broke the connection off.
    RESET = 2, "connection reset by the peer";
    /// The connection or exchange was broken off.
    ABORTED = 3, "connection aborted";
    /// Nobody answered in time.
    TIMED_OUT = 4, "timed out";
    /// The name does not exist or has no address.
    NO_SUCH_NAME = 5, "no such name";
    /// No name server could be asked.
    LOOKUP_FAILED = 6, "the name could not be looked up";
    /// There is no way to the host.
    HOST_UNREACHABLE = 7, "host unreachable";
    /// There is no way to the network.
    NETWORK_UNREACHABLE = 8, "network unreachable";
    /// The app's egress policy does not allow it.
    DENIED = 9, "not allowed by the egress policy";
    /// Another listener has the address already.
    ADDRESS_IN_USE = 10, "address in use";
    /// The machine has no such address.
    ADDRESS_NOT_AVAILABLE = 11, "no such address on this machine";
    /// The app may not listen on this address or port.
    LISTEN_DENIED = 12, "not allowed to listen";
    /// Nobody reads what is written.
    BROKEN_PIPE = 13, "broken pipe";
    /// The peers did not agree on TLS, or a certificate is not trusted.
    TLS = 14, "TLS failure";
    /// The peer closed the connection in the middle of something.
    UNEXPECTED_END = 15, "unexpected end of the connection";
    /// A limit of the app or the worker is reached.
    LIMIT = 16, "limit reached";
}

impl fmt::Debug for NetFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetFailure({}: {self})", self.0)
    }
}

impl fmt::Display for NetFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().unwrap_or("network failure"))
    }
}
