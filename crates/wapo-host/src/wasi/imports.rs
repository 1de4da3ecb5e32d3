//! The imports of WASI, each wrapped so that the host's work counts in the guest's
//! slice.
//!
//! The functions themselves are wasmtime's. Each is wrapped with what they lack: the
//! call counts as work (a refused one, too), a guest that was asked to stop is ended,
//! and a number of the guest's that drives the time of a call (vectors,
//! subscriptions, lengths of paths) has a bound beyond which the call is refused with
//! an error of WASI. Output is handed over in bounded parts, and random bytes are
//! filled in pieces, between which the instance can be suspended.
//!
//! Linked by the engine, for both releases of WASI that guests import.

use rand::Rng as _;
use wasmtime::{Caller, Linker};
use wasmtime_wasi::p0::wasi_unstable;
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1 as _};
use wiggle::GuestMemory;

use crate::calls::{
    WORK_CALL, WORK_PARSED_BYTE, WORK_SYSCALL, begin_import, end_import, split, work_off,
};
use crate::limits::{
    WASI_PATH_BYTES_MAX, WASI_RANDOM_PIECE_BYTES, WASI_SUBSCRIPTIONS_MAX, WASI_VECTORS_MAX,
    WASI_WRITE_BYTES_MAX,
};
use crate::memory::GuestSlice;
use crate::state::InstanceState;

/// Outcome of a call: a number of WASI's, 0 for success.
type Errno = i32;

const BADF: Errno = 8;
const FAULT: Errno = 21;
const INVAL: Errno = 28;
const NAMETOOLONG: Errno = 37;

/// Host time of copying all arguments or the environment, in fuel's worth.
///
/// A manifest has at most 16 KiB.
const WORK_ENVIRONMENT: u64 = 16 * 1024;
/// Host time of one subscription: a clock and an entry of two tables.
const WORK_SUBSCRIPTION: u64 = 20_000;

// What calls take beyond `WORK_CALL`, which each one takes, refused or not.

/// The work of a call that no number of the guest's drives.
fn plain() -> Result<u64, Errno> {
    Ok(0)
}

/// The work of a call that copies what the app was started with.
fn environment() -> Result<u64, Errno> {
    Ok(WORK_ENVIRONMENT)
}

/// The work of a call with so many vectors, if it may have them.
fn vectors(count: i32) -> Result<u64, Errno> {
    within(count, WASI_VECTORS_MAX, WORK_CALL, INVAL)
}

/// The work of a wait for so many events, if it may have them.
fn subscriptions(count: i32) -> Result<u64, Errno> {
    within(count, WASI_SUBSCRIPTIONS_MAX, WORK_SUBSCRIPTION, INVAL)
}

/// The work of a call with a path of this length.
fn path(len: i32) -> Result<u64, Errno> {
    within(len, WASI_PATH_BYTES_MAX, WORK_PARSED_BYTE, NAMETOOLONG)
}

/// The work of a call with two paths.
fn paths(first: i32, second: i32) -> Result<u64, Errno> {
    Ok(path(first)? + path(second)?)
}

fn within(count: i32, max: u32, work_each: u64, excess: Errno) -> Result<u64, Errno> {
    let count = count.cast_unsigned();
    if count > max {
        return Err(excess);
    }
    Ok(WORK_SYSCALL + work_each * u64::from(count))
}

/// A guest without memory has no business with WASI.
fn no_memory(_: wapo_abi::Errno) -> wasmtime::Error {
    wasmtime::Error::msg("the module exports no memory")
}

/// Links a function that answers at once.
macro_rules! at_once {
    ($linker:ident, $module:ident, $name:ident ($($arg:ident: $type:ty),*) if $admit:expr) => {
        $linker.func_wrap(
            stringify!($module),
            stringify!($name),
            |mut caller: Caller<'_, InstanceState>, $($arg: $type),*| -> wasmtime::Result<Errno> {
                caller.data_mut().add_work(WORK_CALL);
                let errno = match $admit {
                    Ok(work) => {
                        caller.data_mut().add_work(work);
                        let (memory, state) = split(&mut caller).map_err(no_memory)?;
                        let mut memory = GuestMemory::Unshared(memory);
                        $module::$name(&mut state.wasi, &mut memory $(, $arg)*)?
                    }
                    Err(errno) => errno,
                };
                end_import(&mut caller)?;
                Ok(errno)
            },
        )?;
    };
}

/// Links a function that may wait.
macro_rules! may_wait {
    ($linker:ident, $module:ident, $name:ident ($($arg:ident: $type:ty),*) if $admit:expr) => {
        $linker.func_wrap_async(
            stringify!($module),
            stringify!($name),
            |mut caller: Caller<'_, InstanceState>, ($($arg,)*): ($($type,)*)| {
                Box::new(async move {
                    begin_import(&mut caller)?;
                    let errno = match $admit {
                        Ok(work) => {
                            caller.data_mut().add_work(work);
                            let (memory, state) = split(&mut caller).map_err(no_memory)?;
                            let mut memory = GuestMemory::Unshared(memory);
                            // The bounds above stand in place of wasmtime's own.
                            state.wasi.set_hostcall_fuel(usize::MAX);
                            let waits = state.context.control.wait_in_host();
                            let errno =
                                $module::$name(&mut state.wasi, &mut memory $(, $arg)*).await?;
                            drop(waits);
                            errno
                        }
                        Err(errno) => errno,
                    };
                    work_off(&mut caller).await?;
                    wasmtime::Result::<Errno>::Ok(errno)
                })
            },
        )?;
    };
}

/// Links the functions that both releases have.
macro_rules! link {
    ($linker:ident, $module:ident) => {{
        at_once!($linker, $module, args_get(list: i32, bytes: i32) if environment());
        at_once!($linker, $module, args_sizes_get(count: i32, size: i32) if environment());
        at_once!($linker, $module, environ_get(list: i32, bytes: i32) if environment());
        at_once!($linker, $module, environ_sizes_get(count: i32, size: i32) if environment());
        at_once!($linker, $module, clock_res_get(clock: i32, time: i32) if plain());
        at_once!($linker, $module, clock_time_get(clock: i32, precision: i64, time: i32) if plain());
        at_once!($linker, $module, fd_allocate(fd: i32, offset: i64, len: i64) if plain());
        at_once!($linker, $module, fd_fdstat_set_flags(fd: i32, flags: i32) if plain());
        at_once!($linker, $module, fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64) if plain());
        at_once!($linker, $module, fd_prestat_get(fd: i32, stat: i32) if plain());
        at_once!($linker, $module, fd_prestat_dir_name(fd: i32, path: i32, len: i32) if plain());
        at_once!($linker, $module, fd_tell(fd: i32, offset: i32) if plain());
        at_once!($linker, $module, proc_raise(signal: i32) if plain());
        at_once!($linker, $module, sched_yield() if plain());
        may_wait!($linker, $module, fd_advise(fd: i32, offset: i64, len: i64, advice: i32) if plain());
        may_wait!($linker, $module, fd_close(fd: i32) if plain());
        may_wait!($linker, $module, fd_datasync(fd: i32) if plain());
        may_wait!($linker, $module, fd_fdstat_get(fd: i32, stat: i32) if plain());
        may_wait!($linker, $module, fd_filestat_get(fd: i32, stat: i32) if plain());
        may_wait!($linker, $module, fd_filestat_set_size(fd: i32, size: i64) if plain());
        may_wait!($linker, $module, fd_filestat_set_times(fd: i32, atim: i64, mtim: i64, flags: i32) if plain());
        may_wait!($linker, $module, fd_pread(fd: i32, list: i32, count: i32, offset: i64, size: i32) if vectors(count));
        may_wait!($linker, $module, fd_pwrite(fd: i32, list: i32, count: i32, offset: i64, size: i32) if vectors(count));
        may_wait!($linker, $module, fd_read(fd: i32, list: i32, count: i32, size: i32) if vectors(count));
        may_wait!($linker, $module, fd_readdir(fd: i32, buffer: i32, len: i32, cookie: i64, size: i32) if plain());
        may_wait!($linker, $module, fd_renumber(fd: i32, to: i32) if plain());
        may_wait!($linker, $module, fd_seek(fd: i32, offset: i64, whence: i32, new: i32) if plain());
        may_wait!($linker, $module, fd_sync(fd: i32) if plain());
        may_wait!($linker, $module, path_create_directory(fd: i32, at: i32, len: i32) if path(len));
        may_wait!($linker, $module, path_filestat_get(fd: i32, flags: i32, at: i32, len: i32, stat: i32) if path(len));
        may_wait!($linker, $module, path_filestat_set_times(fd: i32, flags: i32, at: i32, len: i32, atim: i64, mtim: i64, set: i32) if path(len));
        may_wait!($linker, $module, path_link(fd: i32, flags: i32, at: i32, len: i32, new_fd: i32, new: i32, new_len: i32) if paths(len, new_len));
        may_wait!($linker, $module, path_open(fd: i32, flags: i32, at: i32, len: i32, open: i32, base: i64, inheriting: i64, fd_flags: i32, opened: i32) if path(len));
        may_wait!($linker, $module, path_readlink(fd: i32, at: i32, len: i32, buffer: i32, buffer_len: i32, size: i32) if path(len));
        may_wait!($linker, $module, path_remove_directory(fd: i32, at: i32, len: i32) if path(len));
        may_wait!($linker, $module, path_rename(fd: i32, at: i32, len: i32, new_fd: i32, new: i32, new_len: i32) if paths(len, new_len));
        may_wait!($linker, $module, path_symlink(at: i32, len: i32, fd: i32, new: i32, new_len: i32) if paths(len, new_len));
        may_wait!($linker, $module, path_unlink_file(fd: i32, at: i32, len: i32) if path(len));
        may_wait!($linker, $module, poll_oneoff(list: i32, events: i32, count: i32, size: i32) if subscriptions(count));
        $linker.func_wrap(
            stringify!($module),
            "proc_exit",
            |mut caller: Caller<'_, InstanceState>, code: i32| -> wasmtime::Result<()> {
                let wasi = &mut caller.data_mut().wasi;
                $module::proc_exit(wasi, &mut GuestMemory::Unshared(&mut []), code)
            },
        )?;
        $linker.func_wrap_async(
            stringify!($module),
            "fd_write",
            |mut caller: Caller<'_, InstanceState>, (fd, list, count, size): (i32, i32, i32, i32)| {
                Box::new(async move {
                    begin_import(&mut caller)?;
                    let errno = match collect(&mut caller, list, count).map_err(no_memory)? {
                        Ok(mut parcel) => {
                            let wasi = &mut caller.data_mut().wasi;
                            wasi.set_hostcall_fuel(usize::MAX);
                            let mut memory = GuestMemory::Unshared(&mut parcel);
                            let (at, to) = (PARCEL_VECTOR, PARCEL_SIZE);
                            let errno =
                                $module::fd_write(wasi, &mut memory, fd, at, 1, to).await?;
                            match errno {
                                0 => deliver_size(&mut caller, &parcel, size),
                                failed => failed,
                            }
                        }
                        Err(errno) => errno,
                    };
                    work_off(&mut caller).await?;
                    wasmtime::Result::<Errno>::Ok(errno)
                })
            },
        )?;
        link_own($linker, stringify!($module))?;
    }};
}

/// Links both releases of WASI.
///
/// # Errors
///
/// When a name is linked already.
pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    link!(linker, wasi_snapshot_preview1);
    link!(linker, wasi_unstable);
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "sock_accept",
        |caller: Caller<'_, InstanceState>, _: i32, _: i32, _: i32| no_sockets(caller),
    )?;
    Ok(())
}

/// Links the functions that need nothing of wasmtime's.
fn link_own(linker: &mut Linker<InstanceState>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap_async(module, "random_get", |caller, (buffer, len): (i32, i32)| {
        Box::new(random_get(caller, buffer, len))
    })?;
    linker.func_wrap(
        module,
        "sock_recv",
        |caller: Caller<'_, InstanceState>, _: i32, _: i32, _: i32, _: i32, _: i32, _: i32| {
            no_sockets(caller)
        },
    )?;
    linker.func_wrap(
        module,
        "sock_send",
        |caller: Caller<'_, InstanceState>, _: i32, _: i32, _: i32, _: i32, _: i32| {
            no_sockets(caller)
        },
    )?;
    linker.func_wrap(
        module,
        "sock_shutdown",
        |caller: Caller<'_, InstanceState>, _: i32, _: i32| no_sockets(caller),
    )?;
    Ok(())
}

/// There are no sockets: wasmtime says the same, and a line in the daemon's log
/// besides, as often as a guest asks.
fn no_sockets(mut caller: Caller<'_, InstanceState>) -> wasmtime::Result<Errno> {
    caller.data_mut().add_work(WORK_CALL);
    end_import(&mut caller)?;
    Ok(BADF)
}

/// Fills a buffer of any size with random bytes.
async fn random_get(
    mut caller: Caller<'_, InstanceState>,
    buffer: i32,
    len: i32,
) -> wasmtime::Result<Errno> {
    begin_import(&mut caller)?;
    let slice = GuestSlice::new((buffer.cast_unsigned(), len.cast_unsigned()));
    let mut filled = 0;
    loop {
        let (memory, state) = split(&mut caller).map_err(no_memory)?;
        let Ok(bytes) = slice.write(memory) else {
            work_off(&mut caller).await?;
            return Ok(FAULT);
        };
        let left = &mut bytes[filled..];
        let piece_bytes = left.len().min(WASI_RANDOM_PIECE_BYTES);
        rand::rng().fill_bytes(&mut left[..piece_bytes]);
        filled += piece_bytes;
        let done = filled == bytes.len();
        state.add_work(WORK_SYSCALL + piece_bytes as u64);
        work_off(&mut caller).await?;
        if done {
            return Ok(0);
        }
    }
}

// What a guest writes is put together in a memory of its own, in which wasmtime
// finds one vector: however many the guest has, and however long they are.

/// Where the vector lies: address and length of the bytes.
const PARCEL_VECTOR: i32 = 0;
/// Where wasmtime puts how many bytes were written.
const PARCEL_SIZE: i32 = 8;
/// Where the bytes begin.
const PARCEL_BYTES: usize = 16;
/// Bytes of a vector in memory: address and length.
const VECTOR_BYTES: u32 = 8;

/// Collects what the vectors of a guest hold, up to what one call writes.
///
/// # Errors
///
/// When the guest has no memory.
fn collect(
    caller: &mut Caller<'_, InstanceState>,
    list: i32,
    count: i32,
) -> Result<Result<Vec<u8>, Errno>, wapo_abi::Errno> {
    let (memory, state) = split(caller)?;
    let work = match vectors(count) {
        Ok(work) => work,
        Err(errno) => return Ok(Err(errno)),
    };
    let parcel = gather(memory, list.cast_unsigned(), count.cast_unsigned());
    let bytes = parcel.as_ref().map_or(0, Vec::len) as u64;
    state.add_work(work + bytes + WORK_PARSED_BYTE * bytes);
    Ok(parcel)
}

fn gather(memory: &[u8], list: u32, count: u32) -> Result<Vec<u8>, Errno> {
    let list = GuestSlice::new((list, count * VECTOR_BYTES));
    let list = list.read(memory).map_err(|_| FAULT)?;
    let (vectors, _) = list.as_chunks::<{ VECTOR_BYTES as usize }>();
    let mut parcel = vec![0; PARCEL_BYTES];
    for &[a, b, c, d, e, f, g, h] in vectors {
        let (address, len) = (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        let bytes = GuestSlice::new((address, len))
            .read(memory)
            .map_err(|_| FAULT)?;
        let room = PARCEL_BYTES + WASI_WRITE_BYTES_MAX - parcel.len();
        parcel.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let number = |bytes: usize| u32::try_from(bytes).map_err(|_| INVAL);
    let (address, len) = (number(PARCEL_BYTES)?, number(parcel.len() - PARCEL_BYTES)?);
    parcel[..4].copy_from_slice(&address.to_le_bytes());
    parcel[4..8].copy_from_slice(&len.to_le_bytes());
    Ok(parcel)
}

/// Tells a guest how many bytes were written.
fn deliver_size(caller: &mut Caller<'_, InstanceState>, parcel: &[u8], at: i32) -> Errno {
    let written = &parcel[8..12];
    let Ok((memory, _)) = split(caller) else {
        return FAULT;
    };
    match GuestSlice::new((at.cast_unsigned(), 4)).write(memory) {
        Ok(size) => {
            size.copy_from_slice(written);
            0
        }
        Err(_) => FAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_guest_have_bounds() {
        let max = |number: u32| number.cast_signed();
        assert!(vectors(max(WASI_VECTORS_MAX)).is_ok());
        assert_eq!(vectors(max(WASI_VECTORS_MAX + 1)), Err(INVAL));
        assert_eq!(vectors(-1), Err(INVAL));
        assert!(subscriptions(max(WASI_SUBSCRIPTIONS_MAX)).is_ok());
        assert_eq!(subscriptions(max(WASI_SUBSCRIPTIONS_MAX + 1)), Err(INVAL));
        assert!(path(max(WASI_PATH_BYTES_MAX)).is_ok());
        assert_eq!(paths(1, max(WASI_PATH_BYTES_MAX + 1)), Err(NAMETOOLONG));
    }

    #[test]
    fn vectors_are_put_together_up_to_the_bound() {
        let mut memory = vec![b'x'; 1 << 16];
        let vector = |memory: &mut [u8], at: usize, address: u32, len: u32| {
            memory[at..at + 4].copy_from_slice(&address.to_le_bytes());
            memory[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
        };
        memory[100..103].copy_from_slice(b"one");
        memory[200..203].copy_from_slice(b"two");
        vector(&mut memory, 0, 100, 3);
        vector(&mut memory, 8, 0, 0);
        vector(&mut memory, 16, 200, 3);
        let parcel = gather(&memory, 0, 3).expect("inside");
        assert_eq!(&parcel[PARCEL_BYTES..], b"onetwo");
        assert_eq!(&parcel[..8], [16, 0, 0, 0, 6, 0, 0, 0]);
        vector(&mut memory, 8, 300, 60_000);
        let parcel = gather(&memory, 0, 3).expect("inside");
        assert_eq!(parcel.len(), PARCEL_BYTES + WASI_WRITE_BYTES_MAX);
        vector(&mut memory, 8, 65_535, 2);
        assert_eq!(gather(&memory, 0, 3), Err(FAULT));
        assert_eq!(gather(&memory, 65_530, 1), Err(FAULT));
    }
}
