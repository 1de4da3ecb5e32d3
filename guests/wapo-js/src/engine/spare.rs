//! What scripts leave to natives: code of ours that gets no memory ends the instance,
//! so scripts get none before that.
//!
//! An allocation of a script is refused, which it sees as an exception, unless so much
//! more could be had afterwards. Natives that make or copy something large ask themselves
//! (`room_for`). Asked by the allocators of engines (`heap` for isolates, [`ProgramHeap`]
//! here).

#![allow(unsafe_code)]

use std::cell::Cell;
use std::hint::black_box;

use rquickjs::allocator::{Allocator, RustAllocator};
use rquickjs::{Ctx, Exception};

use super::memory;

/// Bytes that scripts leave: what natives allocate without asking, and a copy of a text or
/// of bytes of up to half of it.
const SPARE_BYTES: usize = 4 * 1024 * 1024;

/// Blocks from this size on are looked at more closely: whether the spare is there.
const LARGE_BYTES: usize = 64 * 1024;

/// Bytes that a program has allocated before its spare is looked at.
///
/// Looking takes the spare for a moment, and an instance never gives memory back: one
/// that needs little would have twice as much on its worker's budget. A program whose limit
/// is below this and the spare is not guarded.
const LOOK_FROM_BYTES: usize = 8 * 1024 * 1024;

thread_local! {
    /// Something was refused, and garbage was not collected since.
    static IS_SHORT: Cell<bool> = const { Cell::new(false) };
    /// Allocated since the spare was looked at.
    static SINCE: Cell<usize> = const { Cell::new(LARGE_BYTES) };
}

/// Whether a block of a size could be had, and the spare would still be there.
pub(crate) fn has_room_for(bytes: usize) -> bool {
    let mut block = Vec::<u8>::new();
    let wanted = bytes.saturating_add(SPARE_BYTES);
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
    match bytes < LARGE_BYTES || is_small(bytes) || has_room_for(bytes) {
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

/// The same for the program, once it is no small one.
fn program_has_spare(bytes: usize) -> bool {
    is_small(bytes) || has_spare(bytes)
}

/// Whether the instance is far from any limit with so many bytes more.
fn is_small(bytes: usize) -> bool {
    memory::allocated().saturating_add(bytes) < LOOK_FROM_BYTES
}

/// The heap of the program's own engine: blocks of the global allocator, as long as the
/// spare is there.
pub(super) struct ProgramHeap(RustAllocator);

impl ProgramHeap {
    pub(super) fn new() -> Self {
        Self(RustAllocator)
    }
}

// SAFETY: all blocks are the other allocator's.
unsafe impl Allocator for ProgramHeap {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        match program_has_spare(size) {
            true => self.0.alloc(size),
            false => std::ptr::null_mut(),
        }
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        match count.checked_mul(size) {
            Some(whole) if program_has_spare(whole) => self.0.calloc(count, size),
            _ => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        // SAFETY: the caller names a block of this allocator, once.
        unsafe { self.0.dealloc(block) };
    }

    unsafe fn realloc(&mut self, block: *mut u8, size: usize) -> *mut u8 {
        if block.is_null() {
            return self.alloc(size);
        }
        // SAFETY: the caller names a block of this allocator.
        unsafe {
            let old = RustAllocator::usable_size(block);
            if size > old && !program_has_spare(size - old) {
                return std::ptr::null_mut();
            }
            self.0.realloc(block, size)
        }
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        // SAFETY: the caller names a block of this allocator.
        unsafe { RustAllocator::usable_size(block) }
    }
}
