//! The allocator of the instance, for scripts, natives and libraries, and what it
//! has given.
//!
//! Small blocks, nearly all of what scripts ask for, come from lists by size: the
//! engine takes and gives back some hundred of them for a request. They are cut
//! from chunks one after the other, so that what an instance writes to lies close
//! together. All else is the business of the standard library's allocator.
//! `Wapo.memoryStats` tells what is allocated.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::{self, null_mut};

/// Sizes of small blocks are multiples of this, and all have this alignment.
const STEP: usize = 8;
/// Kinds of small blocks: up to 512 bytes. Larger ones are few.
const KINDS: usize = 64;
/// Bytes of the largest small block.
pub(crate) const SMALL_BYTES: usize = KINDS * STEP;
/// Memory that small blocks are cut from.
const CHUNK_BYTES: usize = 32 * 1024;

#[global_allocator]
static ALLOCATOR: Instance = Instance(UnsafeCell::new(State {
    free: [null_mut(); KINDS],
    chunk: null_mut(),
    chunk_left: 0,
    stats: Stats {
        current: 0,
        spike: 0,
        peak: 0,
    },
}));

/// Bytes at three times.
#[derive(Clone, Copy)]
pub(crate) struct Stats {
    /// Allocated at present.
    pub(crate) current: usize,
    /// The most since the last query.
    pub(crate) spike: usize,
    /// The most since the start.
    pub(crate) peak: usize,
}

/// Bytes allocated at present.
pub(crate) fn allocated() -> usize {
    // SAFETY: one thread, and nothing is allocated while this lasts.
    unsafe { (*ALLOCATOR.0.get()).stats.current }
}

/// What is allocated. Begins a new spike.
pub(crate) fn stats() -> Stats {
    // SAFETY: one thread, and nothing is allocated while this lasts.
    let stats = unsafe { &mut (*ALLOCATOR.0.get()).stats };
    stats.peak = stats.peak.max(stats.spike);
    let now = *stats;
    stats.spike = stats.current;
    now
}

/// Begins an instance's life behind what the image has: with counts of its own, and
/// with small blocks that lie together, and not in what the making of the image has
/// left free between the blocks that stay. That is lost, and filled with zeros.
pub(crate) fn begin() {
    // SAFETY: as above.
    let state = unsafe { &mut *ALLOCATOR.0.get() };
    for kind in 0..KINDS {
        while !state.free[kind].is_null() {
            let block = state.take(kind);
            // SAFETY: blocks of this kind have this size.
            unsafe { block.write_bytes(0, (kind + 1) * STEP) };
        }
    }
    // SAFETY: this much is left of the chunk.
    unsafe { state.chunk.write_bytes(0, state.chunk_left) };
    state.chunk_left = 0;
    state.stats.spike = state.stats.current;
    state.stats.peak = state.stats.current;
}

struct Instance(UnsafeCell<State>);

// SAFETY: programs of this target have one thread, and no call of the allocator
// stands inside of another.
unsafe impl Sync for Instance {}

struct State {
    /// The first free block of each kind; each has the address of the next.
    free: [*mut u8; KINDS],
    /// What is left of the chunk.
    chunk: *mut u8,
    chunk_left: usize,
    stats: Stats,
}

/// The kind of a small block; `None` for others.
fn kind(size: usize, align: usize) -> Option<usize> {
    (align <= STEP && size <= SMALL_BYTES && size != 0).then(|| (size - 1) / STEP)
}

impl State {
    /// A small block, or null when there is no memory.
    #[inline]
    fn take(&mut self, kind: usize) -> *mut u8 {
        let block = self.free[kind];
        if block.is_null() {
            return self.cut((kind + 1) * STEP);
        }
        // SAFETY: free blocks have the address of the next one in them.
        self.free[kind] = unsafe { block.cast::<*mut u8>().read() };
        block
    }

    /// Cuts a block off the chunk. What is left of a chunk that is too small is lost:
    /// less than 512 bytes of 32 KiB.
    fn cut(&mut self, size: usize) -> *mut u8 {
        if self.chunk_left < size {
            // SAFETY: the layout has a size.
            let chunk = unsafe { System.alloc(CHUNK) };
            if chunk.is_null() {
                return chunk;
            }
            self.chunk = chunk;
            self.chunk_left = CHUNK_BYTES;
        }
        let block = self.chunk;
        // SAFETY: the chunk has this much left.
        self.chunk = unsafe { block.add(size) };
        self.chunk_left -= size;
        block
    }

    #[inline]
    fn give_back(&mut self, block: *mut u8, kind: usize) {
        // SAFETY: the block is free, and has room for an address.
        unsafe { block.cast::<*mut u8>().write(self.free[kind]) };
        self.free[kind] = block;
    }

    #[inline]
    fn grown(&mut self, bytes: usize) {
        let stats = &mut self.stats;
        stats.current += bytes;
        stats.spike = stats.spike.max(stats.current);
    }
}

const CHUNK: Layout = match Layout::from_size_align(CHUNK_BYTES, STEP) {
    Ok(layout) => layout,
    Err(_) => panic!("the alignment is a power of two"),
};

// SAFETY: small blocks are cut from chunks that are never given back, overlap with
// no other and are aligned; all others are those of the standard library's allocator.
unsafe impl GlobalAlloc for Instance {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and nothing below comes back here.
        let state = unsafe { &mut *self.0.get() };
        let block = match kind(layout.size(), layout.align()) {
            Some(kind) => state.take(kind),
            // SAFETY: the caller keeps to the rules of this very function.
            None => unsafe { System.alloc(layout) },
        };
        if !block.is_null() {
            state.grown(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        let block = match kind(layout.size(), layout.align()) {
            Some(kind) => {
                let block = state.take(kind);
                if !block.is_null() {
                    // SAFETY: the block has this size.
                    unsafe { block.write_bytes(0, layout.size()) };
                }
                block
            }
            // SAFETY: as above.
            None => unsafe { System.alloc_zeroed(layout) },
        };
        if !block.is_null() {
            state.grown(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        state.stats.current -= layout.size();
        match kind(layout.size(), layout.align()) {
            Some(kind) => state.give_back(block, kind),
            // SAFETY: as above.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (old, new) = (
            kind(layout.size(), layout.align()),
            kind(size, layout.align()),
        );
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        if old.is_some() && old == new {
            state.stats.current -= layout.size();
            state.grown(size);
            return block;
        }
        if old.is_none() && new.is_none() {
            // SAFETY: as above.
            let moved = unsafe { System.realloc(block, layout, size) };
            if !moved.is_null() {
                state.stats.current -= layout.size();
                state.grown(size);
            }
            return moved;
        }
        // SAFETY: the size comes with the alignment of a layout; the caller vouches for it.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks have this much, and are not the same.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
            // SAFETY: the caller gives the old block up.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}
