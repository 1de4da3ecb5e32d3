//! Wakers across the wasm boundary.
//!
//! A guest passes a [`WakerId`] with every call that may have to wait. The host
//! answers with [`WakeCode`]s: *wake* as often as it likes, then *released*
//! exactly once. A second release of the same id would let two futures of the
//! guest share one waker, so the host guarantees exactly one for each call that
//! reached its implementation (and none for a call whose arguments were bad).
//!
//! A guest that waits with its plain task waker needs none of this: it passes
//! [`WakerId::NONE`] and the host only marks the task ready (Wapo 1.0 and later).

use parity_scale_codec::{Decode, Encode};

/// A guest's number for one of its wakers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WakerId(pub i32);

impl WakerId {
    /// "Mark my task ready, report no waker." Any negative number means this.
    pub const NONE: Self = Self(-1);

    /// Whether the guest wants to hear about this waker.
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

/// What the host reports about a waker, as the `i32` of the call `awake_wakers`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WakeCode {
    /// The waker's wait is over.
    Wake(WakerId),
    /// The host holds the waker no more; its id may be used again.
    Released(WakerId),
}

impl WakeCode {
    /// The code as a number: the id itself, or `-1 - id` for a release.
    pub const fn to_i32(self) -> i32 {
        match self {
            Self::Wake(id) => id.0,
            Self::Released(id) => -1 - id.0,
        }
    }

    /// The code that a number stands for.
    pub const fn from_i32(code: i32) -> Self {
        if code >= 0 {
            Self::Wake(WakerId(code))
        } else {
            Self::Released(WakerId(-1 - code))
        }
    }
}

impl Encode for WakeCode {
    fn size_hint(&self) -> usize {
        4
    }

    fn encode_to<T: parity_scale_codec::Output + ?Sized>(&self, dest: &mut T) {
        self.to_i32().encode_to(dest);
    }
}

impl Decode for WakeCode {
    fn decode<I: parity_scale_codec::Input>(
        input: &mut I,
    ) -> Result<Self, parity_scale_codec::Error> {
        i32::decode(input).map(Self::from_i32)
    }
}

/// One entry of what the call `next_events` writes into guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// This task has something to do.
    TaskReady(i32),
    /// As [`WakeCode`].
    Waker(WakeCode),
}

/// Bytes of one [`Event`] in memory: kind as u32, then the number, both little endian.
pub const EVENT_SIZE: usize = 8;
const EVENT_TASK: u32 = 0;
const EVENT_WAKER: u32 = 1;

impl Event {
    /// The event as it stands in guest memory.
    pub const fn to_bytes(self) -> [u8; EVENT_SIZE] {
        let (kind, number) = match self {
            Self::TaskReady(task) => (EVENT_TASK, task),
            Self::Waker(code) => (EVENT_WAKER, code.to_i32()),
        };
        ((kind as u64) | ((number.cast_unsigned() as u64) << 32)).to_le_bytes()
    }

    /// Reads an event; `None` for a kind that this build does not know.
    pub const fn from_bytes(bytes: [u8; EVENT_SIZE]) -> Option<Self> {
        let word = u64::from_le_bytes(bytes);
        let number = ((word >> 32) as u32).cast_signed();
        match (word & 0xffff_ffff) as u32 {
            EVENT_TASK => Some(Self::TaskReady(number)),
            EVENT_WAKER => Some(Self::Waker(WakeCode::from_i32(number))),
            _ => None,
        }
    }
}

/// What a guest's poll export returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollOutcome {
    /// 0: the program goes on.
    Pending,
    /// 1: the program is finished.
    Finished,
}

impl PollOutcome {
    /// The outcome for a returned number.
    ///
    /// # Errors
    ///
    /// The number itself when it is neither 0 nor 1; the guest is broken.
    pub const fn from_i32(returned: i32) -> Result<Self, i32> {
        match returned {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Finished),
            other => Err(other),
        }
    }

    /// The number that a guest returns.
    pub const fn to_i32(self) -> i32 {
        match self {
            Self::Pending => 0,
            Self::Finished => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_is_minus_one_minus_id() {
        assert_eq!(WakeCode::Released(WakerId(0)).to_i32(), -1);
        assert_eq!(WakeCode::Released(WakerId(7)).to_i32(), -8);
        for code in [-8, -1, 0, 1, i32::MAX, i32::MIN] {
            assert_eq!(WakeCode::from_i32(code).to_i32(), code);
        }
    }

    #[test]
    fn events_round_trip() {
        for event in [
            Event::TaskReady(0),
            Event::TaskReady(-5),
            Event::Waker(WakeCode::Wake(WakerId(9))),
            Event::Waker(WakeCode::Released(WakerId(9))),
        ] {
            assert_eq!(Event::from_bytes(event.to_bytes()), Some(event));
        }
        assert_eq!(Event::from_bytes([9; EVENT_SIZE]), None);
    }
}
