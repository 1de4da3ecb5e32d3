//! What an enclave has room for: memory beside instances, and threads.
//!
//! Numbers only. The daemon keeps to them, and `cargo xtask dist --sgx`, which
//! includes this file by path, writes them into the enclave's manifest.

/// Bytes that the daemon needs besides its instances.
///
/// Program, libraries, stacks of threads, compiler, connections. Without it an enclave
/// full of instances would have nothing left to answer a request with.
pub const ENCLAVE_RESERVE_BYTES: u64 = 256 << 20;

/// Bytes that an instance needs beside its linear memory: stack, tables, buffers.
pub const ENCLAVE_RESERVE_BYTES_EACH: u64 = 1 << 20;

/// Threads that run the daemon's tasks, unless the manifest says otherwise.
///
/// Outside an enclave there is one for each core. Inside, the host says how many
/// cores there are, and could say 1,000.
pub const ENCLAVE_WORKERS: usize = 4;

/// Threads for work that blocks: files, hashes, compiled modules.
///
/// tokio would start up to 512. An enclave has a fixed number of places for threads,
/// and a start beyond it fails; tokio ends the process when that happens to its first
/// thread.
pub const ENCLAVE_BLOCKING_THREADS: usize = 16;

/// Threads of the daemon besides those two kinds: the first one, signals, watchdog,
/// log, store, its check at start, large bodies, compilers, hogs, the allocator's, one
/// that reads a small file; and as many again in reserve.
pub const ENCLAVE_OTHER_THREADS: usize = 24;

/// Threads that Gramine has for itself: IPC, asynchronous events, TLS handshakes.
pub const GRAMINE_THREADS: usize = 4;

/// Places for threads that the manifest asks for.
pub const fn enclave_threads(workers: usize) -> usize {
    workers + ENCLAVE_BLOCKING_THREADS + ENCLAVE_OTHER_THREADS + GRAMINE_THREADS
}

/// Instances of that much memory each for which an enclave has room.
pub fn enclave_room(memory_bytes: u64, size_bytes: u64) -> u32 {
    let each = memory_bytes.saturating_add(ENCLAVE_RESERVE_BYTES_EACH);
    let room = size_bytes.saturating_sub(ENCLAVE_RESERVE_BYTES) / each;
    u32::try_from(room).unwrap_or(u32::MAX)
}
