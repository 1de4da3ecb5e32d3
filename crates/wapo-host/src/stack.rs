//! How much of its stack a guest has used, and what of it is memory.
//!
//! The engine keeps one stack for an instance from its first call to its end, and
//! code of the guest traps when it is so many bytes below the place where it was
//! entered. That place is found once, by a function of the host that is called in the
//! way in which the guest's exports are; from then on the address of a local variable
//! tells how deep a host call is ([`StackGauge`], asked by the call `stack_left`).
//!
//! Pages that were touched stay until the instance ends. The embedder has them
//! measured now and then, where the kernel tells ([`StackAccount`]); beyond what every
//! instance has they are on the budget of memory, and an instance that does not get
//! them there is ended by `drive`.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use wasmtime::{AsContextMut as _, Caller, Func, Store};

use crate::budget::MemoryShare;
use crate::control::Control;
use crate::limits::{STACK_ENTRY_BYTES, STACK_FREE_BYTES};
use crate::state::InstanceState;

/// Bytes of what the kernel tells of one page.
const ENTRY_BYTES: usize = size_of::<u64>();

/// Bits of a page that takes memory: it is there, or was moved to the disk.
const TAKES_MEMORY: u64 = 0b11 << 62;

/// The stack of one instance, for the guest.
#[derive(Debug)]
pub(crate) struct StackGauge {
    /// Stack of the guest's code.
    bytes: usize,
    /// An address above the place where the guest is entered; 0 before it is known.
    top: usize,
}

impl StackGauge {
    /// Nothing is known yet of a stack on which the guest's code may have so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, top: 0 }
    }

    /// Finds the place where the guest of this store is entered. No code of the guest
    /// runs for it.
    ///
    /// # Errors
    ///
    /// When there is no stack to be had.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; nothing is known then.
    pub(crate) async fn find(store: &mut Store<InstanceState>) -> wasmtime::Result<()> {
        let mark = |mut caller: Caller<'_, InstanceState>| {
            let state = caller.data_mut();
            state.stack.top = depth().saturating_add(STACK_ENTRY_BYTES);
            let bottom = state.stack.top.saturating_sub(state.stack.bytes);
            state.control.stack().begins(bottom, state.stack.bytes);
        };
        let mark = Func::wrap(store.as_context_mut(), mark);
        mark.typed::<(), ()>(&*store)?
            .call_async(store.as_context_mut(), ())
            .await
    }

    /// Bytes that code of the guest may use below the call that asks: never more than
    /// there are. 0 on a stack that is not the instance's.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.bytes.saturating_sub(self.top.wrapping_sub(depth()))
    }
}

/// An address of the present stack, not above that of the code that called into the
/// host.
#[inline]
fn depth() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

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

    fn begins(&self, bottom: usize, bytes: usize) {
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

    /// Measures the stack if the instance ran since the last time, and charges it.
    /// Blocks for some ten microseconds.
    pub(crate) fn measure(&self, control: &Control) {
        let step = control.step();
        let mut charged = self.charged();
        if charged.step == step {
            return;
        }
        let number = self.number.load(Ordering::Acquire);
        let bottom = self.bottom.load(Ordering::Relaxed);
        if bottom == 0 {
            return;
        }
        let touched = resident_bytes(bottom, self.bytes.load(Ordering::Relaxed));
        if self.number.load(Ordering::Acquire) != number {
            // It may be another one's already; the next time is soon.
            return;
        }
        let Some(touched) = touched else { return };
        charged.step = step;
        if !charged.exchange(touched.saturating_sub(STACK_FREE_BYTES)) {
            self.is_overdrawn.store(true, Ordering::Relaxed);
            control.notify();
        }
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
