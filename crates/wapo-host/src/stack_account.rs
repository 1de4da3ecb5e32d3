//! What of an instance's stack is memory.
//!
//! Pages that were touched stay until the instance ends. The embedder has them
//! measured now and then, where the kernel tells; beyond what every instance has they
//! are on the budget of memory, and an instance that does not get them there is ended
//! by `drive`. Where the stack is, `stack` says.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::budget::MemoryShare;
use crate::limits::STACK_FREE_BYTES;

/// Bytes of what the kernel tells of one page.
const ENTRY_BYTES: usize = size_of::<u64>();

/// Bits of a page that takes memory: it is there, or was moved to the disk.
const TAKES_MEMORY: u64 = 0b11 << 62;

/// The memory that the stack of one instance takes.
#[derive(Debug, Default)]
pub(crate) struct StackAccount {
    /// Lowest address of the guest's part; 0 while there is no stack.
    bottom: AtomicUsize,
    bytes: AtomicUsize,
    /// Counts stacks: addresses are used again.
    number: AtomicU64,
    is_overdrawn: AtomicBool,
    charged: Mutex<Charged>,
}

/// What was charged last.
#[derive(Debug, Default)]
struct Charged {
    share: Option<MemoryShare>,
    bytes: u64,
    /// The step of the instance after which it was measured.
    step: u64,
    /// Why it was refused.
    refusal: String,
}

impl StackAccount {
    /// Says whose memory it is.
    pub(crate) fn belongs_to(&self, share: MemoryShare) {
        self.charged().share = Some(share);
    }

    /// There is a stack, at this place.
    pub(crate) fn begins(&self, bottom: usize, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.bottom.store(bottom, Ordering::Relaxed);
        self.number.fetch_add(1, Ordering::Release);
    }

    /// The stack is given back.
    pub(crate) fn ends(&self) {
        // What is measured at this moment is charged first.
        let mut charged = self.charged();
        self.bottom.store(0, Ordering::Relaxed);
        self.number.fetch_add(1, Ordering::Release);
        self.is_overdrawn.store(false, Ordering::Relaxed);
        charged.exchange(0);
    }

    /// Why the guest has to end, if its stack takes memory that is not to be had.
    #[inline]
    pub(crate) fn overdrawn(&self) -> Option<String> {
        if !self.is_overdrawn.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.charged().refusal.clone())
    }

    fn charged(&self) -> MutexGuard<'_, Charged> {
        // A number and a text, each whole.
        self.charged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures the stack if the instance ran since the last time, which is so if the
    /// number of its step is another one, and charges it. Whether that was granted: if
    /// not, the instance has to be told. Blocks for some ten microseconds.
    pub(crate) fn measure(&self, step: u64) -> bool {
        let mut charged = self.charged();
        if charged.step == step {
            return true;
        }
        let number = self.number.load(Ordering::Acquire);
        let bottom = self.bottom.load(Ordering::Relaxed);
        if bottom == 0 {
            return true;
        }
        let touched = resident_bytes(bottom, self.bytes.load(Ordering::Relaxed));
        if self.number.load(Ordering::Acquire) != number {
            // It may be another one's already; the next time is soon.
            return true;
        }
        let Some(touched) = touched else { return true };
        charged.step = step;
        let granted = charged.exchange(touched.saturating_sub(STACK_FREE_BYTES));
        if !granted {
            self.is_overdrawn.store(true, Ordering::Relaxed);
        }
        granted
    }
}

impl Charged {
    fn exchange(&mut self, bytes: u64) -> bool {
        let Some(share) = &mut self.share else {
            return true;
        };
        let granted = share.exchange(self.bytes, bytes);
        if granted {
            self.bytes = bytes;
        } else {
            let reason = share.refusal(bytes - self.bytes);
            self.refusal = format!("its stack has {} KiB: {reason}", bytes.div_ceil(1024));
        }
        granted
    }
}

/// Bytes of this part of the address space that take memory; `None` where the kernel
/// does not tell.
fn resident_bytes(bottom: usize, bytes: usize) -> Option<u64> {
    static PAGES: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/pagemap").ok());
    let pages = PAGES.as_ref()?;
    let page = rustix::param::page_size();
    let mut entries = vec![0; bytes / page * ENTRY_BYTES];
    let offset = u64::try_from(bottom.div_ceil(page) * ENTRY_BYTES).ok()?;
    pages.read_exact_at(&mut entries, offset).ok()?;
    let (entries, _) = entries.as_chunks::<ENTRY_BYTES>();
    let takes = |entry: &&[u8; ENTRY_BYTES]| u64::from_le_bytes(**entry) & TAKES_MEMORY != 0;
    Some((entries.iter().filter(takes).count() * page) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_touched_pages_take_memory() {
        const PAGES: usize = 256;
        let page = rustix::param::page_size();
        // As large as this, it is a mapping of its own, of zeros.
        let mut memory = vec![0_u8; (PAGES + 1) * page];
        let first = memory.as_ptr().addr().div_ceil(page) * page;
        let before = resident_bytes(first, PAGES * page).expect("Linux tells");
        let start = first - memory.as_ptr().addr();
        for touched in [3, 70, 200] {
            memory[start + touched * page] = 1;
        }
        let after = resident_bytes(first, PAGES * page).expect("Linux tells");
        assert_eq!(after - before, 3 * page as u64);
    }
}
