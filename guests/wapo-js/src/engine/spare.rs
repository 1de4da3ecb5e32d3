//! What scripts leave to natives: code of ours that gets no memory ends the instance,
//! so scripts get none before that.
//!
//! An allocation of a script is refused, which it sees as an exception, unless so much
//! more could be had afterwards: a fixed amount, and room for a copy of the largest block
//! that scripts have, because natives take texts and bytes by copying them. What is larger
//! than most things, natives ask for before they copy it (`room_for`). Asked by the
//! allocators of engines (`heap` for isolates, [`ProgramHeap`] here), and by natives
//! before they make something large.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use rquickjs::allocator::{Allocator, RustAllocator};
use rquickjs::{Ctx, Exception};

/// Bytes that scripts leave, beside those for a copy of their largest block.
const SPARE_BYTES: usize = 2 * 1024 * 1024;

/// Blocks from this size on are looked at more closely: whether the spare is there.
const LARGE_BYTES: usize = 64 * 1024;

/// Bytes of the largest block for whose copy scripts leave room.
///
/// Room for a copy of everything would halve the memory of a program that has one large
/// body in it.
const COPY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Blocks from this size on are known one by one; copies of all others fit into the
/// spare.
const KNOWN_BYTES: usize = 1024 * 1024;

thread_local! {
    /// Sizes of the blocks of scripts that are known: few, as they are large.
    static KNOWN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// The largest of them.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Something was refused, and garbage was not collected since.
    static IS_SHORT: Cell<bool> = const { Cell::new(false) };
    /// Allocated since the spare was looked at.
    static SINCE: Cell<usize> = const { Cell::new(LARGE_BYTES) };
}

/// Whether a block of a size could be had, and the spare would still be there.
pub(crate) fn has_room_for(bytes: usize) -> bool {
    let copy = LARGEST.get().max(bytes).min(COPY_BYTES_MAX);
    let mut block = Vec::<u8>::new();
    let wanted = bytes.saturating_add(copy).saturating_add(SPARE_BYTES);
    let has = block.try_reserve_exact(wanted).is_ok();
    // Seen, so that the compiler does not leave it out.
    black_box(&block);
    if !has {
        IS_SHORT.set(true);
    }
    has
}

/// Whether something was refused since the last question. Then garbage is worth
/// collecting: the engine does so by what its own blocks take, and does not see what
/// they hold outside of its heap.
pub(super) fn was_short() -> bool {
    IS_SHORT.replace(false)
}

/// Whether a native may make something of so many bytes. Asks only for what is large.
///
/// # Errors
///
/// A `RangeError` where it may not.
pub(crate) fn room_for(ctx: &Ctx<'_>, bytes: usize) -> rquickjs::Result<()> {
    match has_spare(bytes) {
        true => Ok(()),
        false => Err(Exception::throw_range(ctx, "out of memory")),
    }
}

/// Whether the spare would still be there. Asking costs a block, so small ones are
/// not asked for: they are answered by the last large one.
pub(super) fn has_spare(bytes: usize) -> bool {
    let since = SINCE.get().saturating_add(bytes);
    if since < LARGE_BYTES {
        SINCE.set(since);
        return true;
    }
    let has = has_room_for(bytes);
    SINCE.set(if has { 0 } else { LARGE_BYTES });
    has
}

/// A block of a script is there.
#[inline]
pub(super) fn taken(bytes: usize) {
    if bytes >= KNOWN_BYTES {
        LARGEST.set(LARGEST.get().max(bytes));
        KNOWN.with_borrow_mut(|known| known.push(bytes));
    }
}

/// A block of a script is gone.
#[inline]
pub(super) fn given_back(bytes: usize) {
    if bytes >= KNOWN_BYTES {
        KNOWN.with_borrow_mut(|known| {
            if let Some(at) = known.iter().position(|size| *size == bytes) {
                known.swap_remove(at);
            }
            LARGEST.set(known.iter().copied().max().unwrap_or(0));
        });
    }
}

/// The heap of the program's own engine: blocks of the global allocator, as long as the
/// spare is there.
pub(super) struct ProgramHeap(RustAllocator);

impl ProgramHeap {
    pub(super) fn new() -> Self {
        Self(RustAllocator)
    }

    fn noted(block: *mut u8) -> *mut u8 {
        if !block.is_null() {
            // SAFETY: the block was just made by the allocator that is asked.
            taken(unsafe { RustAllocator::usable_size(block) });
        }
        block
    }
}

// SAFETY: all blocks are the other allocator's.
unsafe impl Allocator for ProgramHeap {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        match has_spare(size) {
            true => Self::noted(self.0.alloc(size)),
            false => std::ptr::null_mut(),
        }
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        match count.checked_mul(size) {
            Some(whole) if has_spare(whole) => Self::noted(self.0.calloc(count, size)),
            _ => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        // SAFETY: the caller names a block of this allocator, once.
        unsafe {
            given_back(RustAllocator::usable_size(block));
            self.0.dealloc(block);
        }
    }

    unsafe fn realloc(&mut self, block: *mut u8, size: usize) -> *mut u8 {
        if block.is_null() {
            return self.alloc(size);
        }
        // SAFETY: the caller names a block of this allocator.
        unsafe {
            let old = RustAllocator::usable_size(block);
            if size > old && !has_spare(size - old) {
                return std::ptr::null_mut();
            }
            let moved = self.0.realloc(block, size);
            if !moved.is_null() {
                given_back(old);
                taken(RustAllocator::usable_size(moved));
            }
            moved
        }
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        // SAFETY: the caller names a block of this allocator.
        unsafe { RustAllocator::usable_size(block) }
    }
}
