//! The waker ids that the host has let go of and the guest has not heard of.
//!
//! A guest that makes calls under wakers of its own uses a fresh id for each
//! call, and hears only between two polls that it may use them again. So the
//! number of releases in one poll has no bound that is not in the way of some
//! honest program; what has a bound is the memory of the host. Ids are numbers
//! of a table in the guest's memory and lie close together, so they are kept as
//! bits: a million of them take 128 KiB here, and some 16 MiB there.

use std::collections::BTreeMap;

use crate::limits::RELEASED_CHUNKS_MAX;

/// Ids that one chunk has bits for.
const CHUNK_IDS: u32 = 4096;
const WORDS: u32 = CHUNK_IDS / u64::BITS;

/// Which of [`CHUNK_IDS`] neighbours are released.
#[derive(Debug)]
struct Chunk {
    words: [u64; WORDS as usize],
    /// No word before this one has a bit.
    first_word: u32,
}

impl Chunk {
    const EMPTY: Self = Self {
        words: [0; WORDS as usize],
        first_word: WORDS,
    };

    fn insert(&mut self, bit: u32) {
        let word = bit / u64::BITS;
        self.words[word as usize] |= 1 << (bit % u64::BITS);
        self.first_word = self.first_word.min(word);
    }

    fn pop(&mut self) -> Option<u32> {
        while let Some(word) = self.words.get_mut(self.first_word as usize) {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some(self.first_word * u64::BITS + bit);
            }
            self.first_word += 1;
        }
        None
    }
}

/// A set of ids, smallest first.
#[derive(Debug, Default)]
pub(super) struct ReleasedIds {
    chunks: BTreeMap<u32, Box<Chunk>>,
    /// An empty chunk for the next one.
    spare: Option<Box<Chunk>>,
}

impl ReleasedIds {
    /// Adds an id; false when the guest's ids lie too far apart.
    ///
    /// One that is there already stays once: releasing an id twice would let two
    /// futures of the guest share it.
    pub(super) fn insert(&mut self, id: u32) -> bool {
        let (number, bit) = (id / CHUNK_IDS, id % CHUNK_IDS);
        if let Some(chunk) = self.chunks.get_mut(&number) {
            chunk.insert(bit);
            return true;
        }
        if self.chunks.len() >= RELEASED_CHUNKS_MAX {
            return false;
        }
        let spare = self.spare.take();
        let mut chunk = spare.unwrap_or_else(|| Box::new(Chunk::EMPTY));
        chunk.insert(bit);
        self.chunks.insert(number, chunk);
        true
    }

    /// Takes the smallest id.
    pub(super) fn pop(&mut self) -> Option<u32> {
        loop {
            // The last chunk stays for the next id, which is likely a neighbour.
            let is_last = self.chunks.len() == 1;
            let mut first = self.chunks.first_entry()?;
            let number = *first.key();
            if let Some(bit) = first.get_mut().pop() {
                return Some(number * CHUNK_IDS + bit);
            }
            if is_last {
                return None;
            }
            self.spare = Some(first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_out_once_each() {
        let mut ids = ReleasedIds::default();
        assert_eq!(ids.pop(), None);
        let scattered = [7, 0, 4095, 4096, 63, 64, 7, 1 << 30, 0x7fff_ffff];
        for id in scattered {
            assert!(ids.insert(id));
        }
        for id in [0, 7, 63, 64, 4095, 4096, 1 << 30, 0x7fff_ffff] {
            assert_eq!(ids.pop(), Some(id));
        }
        assert_eq!(ids.pop(), None);
        assert!(ids.insert(3), "also after it was empty");
        assert_eq!((ids.pop(), ids.pop()), (Some(3), None));
    }

    #[test]
    fn a_smaller_id_may_follow_while_others_are_taken() {
        let mut ids = ReleasedIds::default();
        assert!(ids.insert(100) && ids.insert(300));
        assert_eq!(ids.pop(), Some(100));
        assert!(ids.insert(1) && ids.insert(200));
        let rest: Vec<u32> = std::iter::from_fn(|| ids.pop()).collect();
        assert_eq!(rest, [1, 200, 300]);
    }

    #[test]
    fn a_million_neighbours_fit_and_scattered_ids_do_not() {
        let mut ids = ReleasedIds::default();
        assert!((0..1_000_000).rev().all(|id| ids.insert(id)));
        assert!((0..1_000_000).all(|id| ids.pop() == Some(id)));
        let scattered = (0..).map(|number| number * CHUNK_IDS);
        let fitted = scattered.take_while(|id| ids.insert(*id)).count();
        assert_eq!(fitted, RELEASED_CHUNKS_MAX);
    }
}
