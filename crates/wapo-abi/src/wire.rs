//! How arguments and results travel: four 32-bit slots in, one `i64` out.
//!
//! Used by the guest's stubs to lower arguments and by the host's dispatch to
//! lift them. A slice takes two slots (pointer, length), a 64-bit integer two
//! (high half first), everything else one. Rows in [`Mode::encodes_input`]
//! pass one slice that holds a SCALE tuple.
//!
//! [`Mode::encodes_input`]: crate::Mode::encodes_input

use crate::Errno;

/// Number of argument slots of a call.
pub const SLOTS: usize = 4;

/// Packs the outcome of a call into the `i64` that the import returns.
pub const fn pack(outcome: Result<u32, Errno>) -> i64 {
    match outcome {
        Ok(value) => value as i64,
        Err(errno) => (1 << 32) | errno.0 as i64,
    }
}

/// Unpacks what an import returned.
///
/// # Errors
///
/// The number the host answered with. A high half that is neither 0 nor 1 is
/// not something a host may send and reads as [`Errno::INVALID_ENCODING`].
pub const fn unpack(result: i64) -> Result<u32, Errno> {
    let value = (result.cast_unsigned() & 0xffff_ffff) as u32;
    match result >> 32 {
        0 => Ok(value),
        1 => Err(Errno((value & 0xff) as u8)),
        _ => Err(Errno::INVALID_ENCODING),
    }
}

/// Splits a 64-bit argument into its two slots, high half first.
pub const fn split_u64(value: u64) -> [u32; 2] {
    [(value >> 32) as u32, (value & 0xffff_ffff) as u32]
}

/// Joins the two slots of a 64-bit argument.
pub const fn join_u64(high: u32, low: u32) -> u64 {
    ((high as u64) << 32) | low as u64
}

/// Reads the slots of one call from left to right.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    slots: [u32; SLOTS],
    next: usize,
}

impl Slots {
    /// Starts at the first slot.
    pub const fn new(slots: [u32; SLOTS]) -> Self {
        Self { slots, next: 0 }
    }

    /// The next slot; 0 after the last, which the table's own test rules out.
    #[inline(always)]
    pub fn take(&mut self) -> u32 {
        let slot = self.slots.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        slot
    }

    /// The next slot as the signed number it was before it travelled.
    #[inline(always)]
    pub fn take_i32(&mut self) -> i32 {
        self.take().cast_signed()
    }

    /// The next two slots as pointer and length.
    #[inline(always)]
    pub fn take_slice(&mut self) -> (u32, u32) {
        (self.take(), self.take())
    }

    /// The next two slots as one 64-bit number.
    #[inline(always)]
    pub fn take_u64(&mut self) -> u64 {
        let high = self.take();
        join_u64(high, self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_round_trip() {
        for outcome in [
            Ok(0),
            Ok(7),
            Ok(u32::MAX),
            Err(Errno::PENDING),
            Err(Errno(255)),
        ] {
            assert_eq!(unpack(pack(outcome)), outcome);
        }
        assert_eq!(unpack(2 << 32), Err(Errno::INVALID_ENCODING));
        assert_eq!(unpack(-1), Err(Errno::INVALID_ENCODING));
    }

    #[test]
    fn u64_travels_high_half_first_and_whole() {
        assert_eq!(split_u64(0x1_0000_0005), [1, 5]);
        for value in [0, 1, 0xffff_ffff, 0x8000_0000, u64::MAX] {
            let [high, low] = split_u64(value);
            assert_eq!(join_u64(high, low), value);
        }
    }
}
