//! Linear memory for enclaves: plain buffers, kept and used again.
//!
//! An enclave cannot reserve terabytes of address space or catch faults, so its
//! guests run with explicit bounds checks on buffers of a fixed capacity. A
//! buffer never moves; it takes the pages that were touched and no others, and
//! before it is used again everything a guest could have written is zero. Handed
//! to wasmtime by `engine`; nothing else calls in here.

#![allow(
    unsafe_code,
    reason = "wasmtime asks its embedder for raw memory; JUSTIFICATION: without guard regions there is no safe interface for it"
)]

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// A buffer is a whole number of these, which are pages on every machine.
const GRANULE_BYTES: usize = 64 * 1024;

/// Bytes that are cleared by hand and stay resident for the next guest; a buffer
/// of which more was used gives its pages back to the kernel.
const KEEP_RESIDENT_BYTES: usize = 64 * 1024;

/// A pool of equally large buffers.
pub(crate) struct MemoryPool {
    capacity_bytes: usize,
    buffers_max: usize,
    state: Arc<Mutex<PoolState>>,
}

#[derive(Default)]
struct PoolState {
    free: Vec<Buffer>,
    /// Buffers that exist, free or in use.
    made: usize,
}

/// Memory of its own; zero throughout whenever it is in the pool.
struct Buffer {
    pointer: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a buffer is owned memory without any tie to a thread.
unsafe impl Send for Buffer {}
// SAFETY: shared access gives out nothing but the address.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn new(capacity_bytes: usize) -> Option<Self> {
        let bytes = capacity_bytes
            .max(1)
            .checked_next_multiple_of(GRANULE_BYTES)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // Pages are zero, and taken when they are touched.
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping where the kernel likes it; nothing is there.
        let pointer = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) };
        let pointer = NonNull::new(pointer.ok()?.cast())?;
        Some(Self { pointer, bytes })
    }

    /// Makes everything zero; false when that is impossible.
    fn clear(&mut self, used_bytes: usize) -> bool {
        let used_bytes = used_bytes.min(self.bytes);
        if used_bytes <= KEEP_RESIDENT_BYTES {
            // SAFETY: the range lies in the buffer, which nobody else uses now.
            unsafe { self.pointer.as_ptr().write_bytes(0, used_bytes) };
            return true;
        }
        let pages = self.pointer.as_ptr().cast();
        // SAFETY: the mapping is ours and nobody else uses it now. Private pages
        // without a file are zero after this (madvise(2), MADV_DONTNEED).
        unsafe { madvise(pages, self.bytes, Advice::LinuxDontNeed) }.is_ok()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length and unmapped only here. What it
        // may fail for, a wrong range, is ruled out by that.
        let _ = unsafe { munmap(self.pointer.as_ptr().cast(), self.bytes) };
    }
}

impl MemoryPool {
    /// A pool of at most `buffers_max` buffers, made when first needed.
    pub(crate) fn new(capacity_bytes: usize, buffers_max: usize) -> Self {
        Self {
            capacity_bytes,
            buffers_max,
            state: Arc::default(),
        }
    }

    fn take(&self) -> Result<Buffer, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buffer) = state.free.pop() {
            return Ok(buffer);
        }
        if state.made >= self.buffers_max {
            return Err(format!(
                "all {} memories are in use: the instance limit is reached",
                self.buffers_max
            ));
        }
        let buffer = Buffer::new(self.capacity_bytes)
            .ok_or_else(|| format!("no {} bytes of memory left", self.capacity_bytes))?;
        state.made += 1;
        Ok(buffer)
    }
}

// SAFETY: (1) memories start zeroed, (2) their bytes stay where they are, and
// (3) `byte_capacity` bytes at `as_ptr` are valid until the memory is dropped.
unsafe impl MemoryCreator for MemoryPool {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum_bytes: usize,
        _maximum_bytes: Option<usize>,
        _reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if guard_size_in_bytes != 0 {
            return Err("this pool has no guard regions".to_owned());
        }
        if minimum_bytes > self.capacity_bytes {
            return Err(format!(
                "the module needs {minimum_bytes} bytes of memory, the limit is {}",
                self.capacity_bytes
            ));
        }
        Ok(Box::new(PooledMemory {
            buffer: Some(self.take()?),
            size_bytes: minimum_bytes,
            capacity_bytes: self.capacity_bytes,
            state: Arc::clone(&self.state),
        }))
    }
}

struct PooledMemory {
    /// There until the memory is dropped.
    buffer: Option<Buffer>,
    size_bytes: usize,
    capacity_bytes: usize,
    state: Arc<Mutex<PoolState>>,
}

// SAFETY: as for `MemoryPool`; growing changes a number, never the address.
unsafe impl LinearMemory for PooledMemory {
    fn byte_size(&self) -> usize {
        self.size_bytes
    }

    fn byte_capacity(&self) -> usize {
        self.capacity_bytes
    }

    fn grow_to(&mut self, new_size_bytes: usize) -> wasmtime::Result<()> {
        if new_size_bytes > self.capacity_bytes {
            return Err(wasmtime::Error::msg("memory limit reached"));
        }
        self.size_bytes = new_size_bytes;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        match &self.buffer {
            Some(buffer) => buffer.pointer.as_ptr(),
            None => std::ptr::null_mut(),
        }
    }
}

impl Drop for PooledMemory {
    fn drop(&mut self) {
        if let Some(mut buffer) = self.buffer.take() {
            let is_clear = buffer.clear(self.size_bytes);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match is_clear {
                true => state.free.push(buffer),
                false => state.made -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(pool: &MemoryPool, minimum: usize) -> Result<Box<dyn LinearMemory>, String> {
        pool.new_memory(MemoryType::new(1, None), minimum, None, None, 0)
    }

    #[test]
    fn a_buffer_is_clean_when_it_is_used_again() {
        let pool = MemoryPool::new(1 << 16, 1);
        let first = memory(&pool, 100).expect("a buffer");
        // SAFETY: the memory has at least 100 bytes.
        unsafe { first.as_ptr().write_bytes(7, 100) };
        assert!(memory(&pool, 1).is_err(), "the pool has one buffer");
        drop(first);
        let second = memory(&pool, 1 << 16).expect("the buffer again");
        // SAFETY: the memory has 64 KiB.
        let bytes = unsafe { std::slice::from_raw_parts(second.as_ptr(), 1 << 16) };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    fn resident_bytes() -> usize {
        let numbers = std::fs::read_to_string("/proc/self/statm").expect("statm");
        let pages = numbers.split(' ').nth(1).expect("a second number");
        pages.parse::<usize>().expect("a number") * rustix::param::page_size()
    }

    #[test]
    fn only_what_is_touched_is_resident_and_it_is_given_back() {
        const CAPACITY: usize = 1 << 30;
        const USED: usize = 256 << 20;
        const SLACK: usize = 64 << 20;
        let pool = MemoryPool::new(CAPACITY, 4);
        let before = resident_bytes();
        let memories: Vec<_> = (0..4)
            .map(|_| memory(&pool, CAPACITY).expect("a buffer"))
            .collect();
        for memory in &memories {
            // SAFETY: the memory has at least 100 bytes.
            unsafe { memory.as_ptr().write_bytes(7, 100) };
        }
        assert!(
            resident_bytes() < before + SLACK,
            "nothing else was touched"
        );
        // SAFETY: the memory has a gibibyte.
        unsafe { memories[0].as_ptr().write_bytes(7, USED) };
        assert!(resident_bytes() > before + USED - SLACK);
        drop(memories);
        assert!(resident_bytes() < before + SLACK, "given back");
    }

    #[test]
    fn growth_ends_at_the_capacity() {
        let pool = MemoryPool::new(1 << 16, 1);
        assert!(memory(&pool, (1 << 16) + 1).is_err());
        let mut memory = memory(&pool, 0).expect("a buffer");
        let before = memory.as_ptr();
        assert!(memory.grow_to(1 << 16).is_ok());
        assert!(memory.grow_to((1 << 16) + 1).is_err());
        assert_eq!(memory.as_ptr(), before);
        assert_eq!(memory.byte_size(), 1 << 16);
    }
}
