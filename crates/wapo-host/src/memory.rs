//! The only door to guest memory.
//!
//! A pointer and a length from a guest are a claim ([`GuestSlice`]) until they were
//! checked against the memory as it is now. Called by the dispatch of host calls; no
//! other code turns guest numbers into bytes.

use std::ops::Range;

use wapo_abi::{Cap, Errno, Excess};

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

    /// The bytes, if they are all inside `memory`. Looks at none of them.
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

    /// The bytes as far as `cap` lets the host look at them.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and the error of the cap when there are more.
    pub(crate) fn read_capped(self, memory: &[u8], cap: Cap) -> Result<&[u8], Errno> {
        let bytes = self.read(memory)?;
        Ok(&bytes[..capped_len(bytes.len(), cap)?])
    }

    /// As [`read_capped`](Self::read_capped), to write to.
    pub(crate) fn write_capped(self, memory: &mut [u8], cap: Cap) -> Result<&mut [u8], Errno> {
        let bytes = self.write(memory)?;
        let len = capped_len(bytes.len(), cap)?;
        Ok(&mut bytes[..len])
    }

    /// As [`read_capped`](Self::read_capped), as text; cut between characters.
    ///
    /// # Errors
    ///
    /// As there, and [`Errno::INVALID_ENCODING`] when the text is not UTF-8.
    pub(crate) fn read_str_capped(self, memory: &[u8], cap: Cap) -> Result<&str, Errno> {
        let bytes = self.read(memory)?;
        let mut len = capped_len(bytes.len(), cap)?;
        // A character has up to three bytes behind its first one.
        for _ in 0..3 {
            if bytes.get(len).is_some_and(|next| next & 0xc0 == 0x80) {
                len = len.saturating_sub(1);
            }
        }
        std::str::from_utf8(&bytes[..len]).map_err(|_| Errno::INVALID_ENCODING)
    }
}

/// How much of a slice the host looks at.
fn capped_len(len: usize, cap: Cap) -> Result<usize, Errno> {
    match cap.excess {
        _ if len <= cap.bytes => Ok(len),
        Excess::Cut => Ok(cap.bytes),
        Excess::Refused(errno) => Err(errno),
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

    const fn cap(bytes: usize, excess: Excess) -> Cap {
        Cap { bytes, excess }
    }

    #[test]
    fn text_must_be_utf8() {
        let memory = [b'a', 0xff];
        let cap = cap(2, Excess::Cut);
        let read = |len| GuestSlice::new((0, len)).read_str_capped(&memory, cap);
        assert_eq!(read(1), Ok("a"));
        assert_eq!(read(2), Err(Errno::INVALID_ENCODING));
    }

    #[test]
    fn a_slice_beyond_its_cap_is_refused_or_cut() {
        let mut memory = *b"0123456789";
        let slice = |len| GuestSlice::new((0, len));
        let refused = cap(4, Excess::Refused(Errno::CONDITION_ERROR));
        assert_eq!(slice(4).read_capped(&memory, refused), Ok(&b"0123"[..]));
        let error = Err(Errno::CONDITION_ERROR);
        assert_eq!(slice(5).read_capped(&memory, refused), error);
        assert_eq!(
            slice(5).read_str_capped(&memory, refused),
            Err(Errno::CONDITION_ERROR)
        );
        assert_eq!(
            slice(11).read_capped(&memory, refused),
            Err(Errno::INVALID_PARAMETER),
            "what lies outside is told first"
        );
        let cut = cap(4, Excess::Cut);
        assert_eq!(slice(10).read_capped(&memory, cut), Ok(&b"0123"[..]));
        let written = slice(10).write_capped(&mut memory, cut);
        assert_eq!(written.map(|bytes| bytes.len()), Ok(4));
    }

    #[test]
    fn text_is_cut_between_characters() {
        let memory = "aé日𝄞".as_bytes();
        let all = u32::try_from(memory.len()).expect("short");
        let read =
            |bytes| GuestSlice::new((0, all)).read_str_capped(memory, cap(bytes, Excess::Cut));
        for (bytes, text) in [
            (0, ""),
            (1, "a"),
            (2, "a"),
            (3, "aé"),
            (5, "aé"),
            (6, "aé日"),
            (9, "aé日"),
            (10, "aé日𝄞"),
        ] {
            assert_eq!(read(bytes), Ok(text), "{bytes}");
        }
        // Bytes that no text begins with are no reason to look further back.
        let memory = [0x80; 8];
        let slice = GuestSlice::new((0, 8));
        let read = slice.read_str_capped(&memory, cap(2, Excess::Cut));
        assert_eq!(read, Ok(""));
        let read = slice.read_str_capped(&memory, cap(6, Excess::Cut));
        assert_eq!(read, Err(Errno::INVALID_ENCODING));
    }
}
