//! The only door to guest memory.
//!
//! A pointer and a length from a guest are a claim ([`GuestSlice`]) until they
//! were checked against the memory as it is now. Called by the dispatch of host
//! calls; nobody else turns guest numbers into bytes.

use std::ops::Range;

use wapo_abi::Errno;

/// A piece of memory that a guest claims to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GuestSlice {
    pointer: u32,
    len: u32,
}

impl GuestSlice {
    pub(crate) fn new((pointer, len): (u32, u32)) -> Self {
        Self { pointer, len }
    }

    /// Length in bytes, as claimed.
    pub(crate) fn len(self) -> u32 {
        self.len
    }

    fn range(self) -> Range<usize> {
        // Both are 32 bits, so the sum cannot overflow where the host runs.
        let start = self.pointer as usize;
        start..start + self.len as usize
    }

    /// The bytes, if they are all inside `memory`.
    ///
    /// # Errors
    ///
    /// [`Errno::INVALID_PARAMETER`] when any part lies outside.
    pub(crate) fn read(self, memory: &[u8]) -> Result<&[u8], Errno> {
        memory.get(self.range()).ok_or(Errno::INVALID_PARAMETER)
    }

    /// As [`read`](Self::read), to write to.
    pub(crate) fn write(self, memory: &mut [u8]) -> Result<&mut [u8], Errno> {
        memory.get_mut(self.range()).ok_or(Errno::INVALID_PARAMETER)
    }

    /// The bytes as text.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and [`Errno::INVALID_ENCODING`] when it is not UTF-8.
    pub(crate) fn read_str(self, memory: &[u8]) -> Result<&str, Errno> {
        std::str::from_utf8(self.read(memory)?).map_err(|_| Errno::INVALID_ENCODING)
    }
}

const _: () = assert!(usize::BITS >= 64, "guest addresses must fit twice");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_inside_is_memory() {
        let mut memory = [7; 100];
        for (pointer, len, inside) in [
            (0, 100, true),
            (100, 0, true),
            (1, 0, true),
            (99, 1, true),
            (99, 2, false),
            (101, 0, false),
            (u32::MAX, u32::MAX, false),
            (0, u32::MAX, false),
        ] {
            let slice = GuestSlice::new((pointer, len));
            assert_eq!(slice.read(&memory).is_ok(), inside, "{pointer}+{len}");
            assert_eq!(slice.write(&mut memory).is_ok(), inside, "{pointer}+{len}");
        }
    }

    #[test]
    fn text_must_be_utf8() {
        let memory = [b'a', 0xff];
        assert_eq!(GuestSlice::new((0, 1)).read_str(&memory), Ok("a"));
        assert_eq!(
            GuestSlice::new((0, 2)).read_str(&memory),
            Err(Errno::INVALID_ENCODING)
        );
    }
}
