//! Error numbers a call may answer with.
//!
//! An open newtype, so that a number this build does not know is still a value
//! and never undefined. Used by guest and host; says nothing about which call
//! returns what (that is a column of [`crate::calls`]).

use core::fmt;

use parity_scale_codec::{Decode, Encode};

/// Why a call failed, as one byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Errno(pub u8);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The constant's name and its explanation, when the number has one.
            pub const fn describe(self) -> Option<(&'static str, &'static str)> {
                match self.0 {
                    $($number => Some((stringify!($name), $text)),)*
                    _ => None,
                }
            }
        }

        /// Every assigned number in ascending order.
        pub const ALL: &[Errno] = &[$(Errno::$name),*];
    };
}

errnos! {
    /// Not an error. Never returned in place of one.
    OK = 0, "no error";
    /// No such call, or a call through the import of the other family.
    UNKNOWN_CALL_NUMBER = 1, "no such host call";
    /// Reserved: guests know the number, this host does not use it.
    INVALID_ADDRESS = 2, "invalid address";
    /// A slice outside memory, undecodable input, or a value that is refused.
    INVALID_PARAMETER = 3, "invalid parameter";
    /// A scalar out of range or text that is not UTF-8.
    INVALID_ENCODING = 4, "invalid encoding";
    /// The guest exports no memory.
    NO_MEMORY = 5, "no memory";
    /// No such handle, blob, ready task or buffered answer.
    NOT_FOUND = 7, "not found";
    /// This kind of resource cannot do that.
    UNSUPPORTED_OPERATION = 8, "unsupported operation";
    /// The network, the disk or the peer failed.
    IO_ERROR = 9, "input/output error";
    /// A limit of the instance is reached.
    RESOURCE_LIMITED = 10, "resource limit reached";
    /// Not ready; the waker that was passed will be reported.
    PENDING = 11, "not ready yet";
    /// The other side is gone and nothing is left to read.
    END_OF_FILE = 12, "end of file";
    /// The gas limit of the instance is reached.
    GAS_EXHAUSTED = 13, "gas exhausted";
    /// Reserved: guests know the number, this host does not use it.
    STIFLED = 14, "stifled";
    /// There can be only one and it exists.
    ALREADY_EXISTS = 15, "already exists";
    /// Stored data failed its check.
    DATA_CORRUPTION = 16, "data corruption";
    /// The operator's policy refuses it.
    FORBIDDEN = 17, "forbidden by policy";
    /// The lock is taken, or is not held.
    CONDITION_ERROR = 18, "condition not met";
}

impl Errno {
    /// The number as the low half of a call's result.
    pub const fn code(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.describe() {
            Some((name, _)) => write!(f, "Errno::{name}"),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.describe() {
            Some((_, text)) => write!(f, "{text}"),
            None => write!(f, "host error {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_is_never_assigned_because_existing_guests_cannot_decode_it() {
        assert!(ALL.iter().all(|errno| errno.0 != 6));
        assert!(ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn scale_form_is_one_byte() {
        assert_eq!(Errno::FORBIDDEN.encode(), [0x11]);
    }
}
