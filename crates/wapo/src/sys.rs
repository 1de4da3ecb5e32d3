//! The boundary to the host: two imports and one function per host call.
//!
//! The functions are expanded from the table in [`wapo_abi::calls`]; nothing
//! here decides anything. Called by the rest of this crate, and by programs
//! that use [`crate::ocall`]. Not for authors of apps: the modules beside this
//! one give the same calls types that cannot be misused.
//!
//! On targets other than wasm there is no host. Every call then answers
//! [`Errno::UNKNOWN_CALL_NUMBER`], so that this crate and its examples compile
//! and link anywhere; unit tests put a fake host in that place.

#![allow(
    unsafe_code,
    reason = "imports take raw pointers; every pointer below comes from a live slice"
)]

use std::mem::MaybeUninit;

use parity_scale_codec::{Decode, Encode};
use wapo_abi::message::{
    InputChannel, ListenOptions, LogLevel, MetricsToken, SniConfig, TlsClientConfig,
    TlsClientOptions, TlsServerConfig,
};
use wapo_abi::{Errno, WakeCode, wire};

use crate::error::{Error, Result};
use crate::exit;
use crate::net::failure;

/// The call that asks why the call before it has failed.
const NET_FAILURE: u32 = 306;

/// Answers up to this size are fetched to the stack.
///
/// It covers every fixed-size answer of the table (the largest is 80 bytes),
/// so that only blobs, messages and quotes allocate twice.
const INLINE_ANSWER: usize = 128;

/// The argument slots of one call, filled from left to right.
///
/// Wide enough for a pointer of the target this is compiled for; on wasm32
/// that is exactly the 32 bits of the contract.
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    values: [usize; wire::SLOTS],
    used: usize,
}

impl Slots {
    const EMPTY: Self = Self {
        values: [0; wire::SLOTS],
        used: 0,
    };

    #[inline(always)]
    fn push(mut self, value: usize) -> Self {
        self.values[self.used] = value;
        self.used += 1;
        self
    }

    #[inline(always)]
    fn push_i32(self, value: i32) -> Self {
        self.push(value.cast_unsigned() as usize)
    }

    #[inline(always)]
    fn handle(self, handle: i32) -> Self {
        self.push_i32(handle)
    }

    #[inline(always)]
    fn waker(self, waker: i32) -> Self {
        self.push_i32(waker)
    }

    #[inline(always)]
    fn task(self, task: i32) -> Self {
        self.push_i32(task)
    }

    #[inline(always)]
    fn level(self, level: LogLevel) -> Self {
        self.push(level as usize)
    }

    #[inline(always)]
    fn channel(self, channel: InputChannel) -> Self {
        self.push(channel as usize)
    }

    #[inline(always)]
    fn bool(self, value: bool) -> Self {
        self.push(usize::from(value))
    }

    #[inline(always)]
    fn u16(self, value: u16) -> Self {
        self.push(usize::from(value))
    }

    #[inline(always)]
    fn i32(self, value: i32) -> Self {
        self.push_i32(value)
    }

    #[inline(always)]
    fn u64(self, value: u64) -> Self {
        let [high, low] = wire::split_u64(value);
        self.push(high as usize).push(low as usize)
    }

    #[inline(always)]
    fn str(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8]) -> Self {
        self.push(bytes.as_ptr() as usize).push(bytes.len())
    }

    #[inline(always)]
    fn bytes_mut(self, bytes: &mut [u8]) -> Self {
        self.push(bytes.as_mut_ptr() as usize).push(bytes.len())
    }

    #[inline(always)]
    fn uninit(self, bytes: &mut [MaybeUninit<u8>]) -> Self {
        self.push(bytes.as_mut_ptr() as usize).push(bytes.len())
    }
}

#[cfg(target_family = "wasm")]
mod import {
    use super::Slots;

    // The names of `wapo_abi::{IMPORT_MODULE, IMPORT_FAST, IMPORT_SLOW}`;
    // attributes take literals only.
    #[link(wasm_import_module = "wapo")]
    unsafe extern "C" {
        fn ocall(task: i32, id: u32, a: usize, b: usize, c: usize, d: usize) -> i64;
        fn ocall_fast_return(task: i32, id: u32, a: usize, b: usize, c: usize, d: usize) -> i64;
    }

    #[inline(always)]
    pub(super) fn fast(id: u32, slots: Slots) -> i64 {
        let [a, b, c, d] = slots.values;
        // SAFETY: pointers among the slots were pushed by `Slots` from slices
        // that the caller still borrows, mutably where the host may write.
        unsafe { ocall_fast_return(crate::task::current_id(), id, a, b, c, d) }
    }

    #[inline(always)]
    pub(super) fn slow(id: u32, slots: Slots) -> i64 {
        let [a, b, c, d] = slots.values;
        // SAFETY: as in `fast`.
        unsafe { ocall(crate::task::current_id(), id, a, b, c, d) }
    }
}

#[cfg(not(target_family = "wasm"))]
mod import {
    use super::Slots;

    pub(super) fn fast(id: u32, slots: Slots) -> i64 {
        #[cfg(test)]
        if let Some(result) = super::fake::call(id, slots.values) {
            return result;
        }
        let _ = (id, slots.values);
        super::wire::pack(Err(super::Errno::UNKNOWN_CALL_NUMBER))
    }

    pub(super) fn slow(id: u32, slots: Slots) -> i64 {
        fast(id, slots)
    }
}

#[inline(always)]
fn call_fast(id: u32, slots: Slots) -> Result<u32> {
    wire::unpack(import::fast(id, slots)).map_err(|errno| failed(id, errno))
}

#[inline(never)]
fn call_slow<T: Decode>(id: u32, slots: Slots) -> Result<T> {
    let len = wire::unpack(import::slow(id, slots)).map_err(|errno| failed(id, errno))? as usize;
    if len <= INLINE_ANSWER {
        let mut answer = [0; INLINE_ANSWER];
        fetch_answer(&mut answer[..len])
    } else {
        fetch_answer(&mut vec![0; len])
    }
}

/// The error of a call that has failed. What is remembered of an earlier failure
/// is forgotten, or it would be told as the reason of this one.
#[inline(never)]
fn failed(id: u32, errno: Errno) -> Error {
    // A call that waits has not failed, and a caller that asks for a reason needs the
    // rest.
    if errno != Errno::PENDING && id != NET_FAILURE {
        failure::forget();
        exit::forget();
    }
    errno.into()
}

fn fetch_answer<T: Decode>(answer: &mut [u8]) -> Result<T> {
    let len = call_fast(wapo_abi::GET_RETURN, Slots::EMPTY.bytes_mut(answer))?;
    if len as usize != answer.len() {
        return Err(Errno::INVALID_ENCODING.into());
    }
    T::decode(&mut &answer[..]).map_err(|_| Errno::INVALID_ENCODING.into())
}

macro_rules! arg_type {
    (handle) => {
        i32
    };
    (waker) => {
        i32
    };
    (task) => {
        i32
    };
    (level) => {
        LogLevel
    };
    (channel) => {
        InputChannel
    };
    (bool) => {
        bool
    };
    (u16) => {
        u16
    };
    (i32) => {
        i32
    };
    (u64) => {
        u64
    };
    (str) => {
        &str
    };
    (bytes) => {
        &[u8]
    };
    (bytes_mut) => {
        &mut [u8]
    };
    (($encoded:ty)) => {
        $encoded
    };
}

macro_rules! result_type {
    (unit) => {
        ()
    };
    (handle) => {
        i32
    };
    (task) => {
        i32
    };
    (size) => {
        usize
    };
    (($encoded:ty)) => {
        $encoded
    };
}

macro_rules! fast_result {
    (unit, $value:expr) => {
        $value.map(|_| ())
    };
    (handle, $value:expr) => {
        $value.map(u32::cast_signed)
    };
    (task, $value:expr) => {
        $value.map(u32::cast_signed)
    };
    (size, $value:expr) => {
        $value.map(|size| size as usize)
    };
}

macro_rules! stub_body {
    (fast $id:literal ($($arg:ident: $kind:ident),*) -> $result:tt) => {
        fast_result!($result, call_fast($id, Slots::EMPTY$(.$kind($arg))*))
    };
    (fast_encoded $id:literal ($($arg:ident: $kind:tt),*) -> $result:tt) => {{
        let input = ($($arg,)*).encode();
        fast_result!($result, call_fast($id, Slots::EMPTY.bytes(&input)))
    }};
    ($slow:ident $id:literal ($($arg:ident: $kind:ident),*) -> $result:tt) => {
        call_slow($id, Slots::EMPTY$(.$kind($arg))*)
    };
}

macro_rules! stubs {
    ([] $($family:ident { $(
        $(#[doc = $doc:literal])*
        $mode:ident $id:literal $name:ident (
            $($arg:ident : $kind:tt $($rule:ident $cap:ident $(else $refusal:ident)?)?),*
        ) $(max $input_cap:ident)? -> $result:tt,
        gas $base:literal $(+ len * $mul:literal / $div:literal)?,
        errors [$($errno:ident),*];
    )* })*) => {
        /// One function per host call, as the contract has them.
        #[allow(unreachable_pub, reason = "reachable as `wapo::ocall`, all but one that it replaces")]
        pub mod calls {
            use super::*;

            $($(
                $(#[doc = $doc])*
                ///
                /// # Errors
                ///
                #[doc = concat!("Those of bad arguments", $(", `", stringify!($errno), "`",)* ".")]
                #[inline]
                pub fn $name($($arg: arg_type!($kind)),*) -> Result<result_type!($result)> {
                    stub_body!($mode $id ($($arg: $kind),*) -> $result)
                }
            )*)*
        }
    };
}
wapo_abi::for_each_host_call!(stubs);

/// As [`calls::poll_read`] into memory that need not be initialised.
///
/// The host writes the bytes it counts and touches nothing else.
///
/// # Errors
///
/// As `poll_read`; also when the host claims more bytes than there is room.
#[inline]
#[cfg_attr(
    not(any(feature = "tokio", feature = "hyper")),
    expect(dead_code, reason = "no user")
)]
fn read_uninit(waker: i32, handle: i32, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
    const POLL_READ: u32 = 103;
    let room = buffer.len();
    let slots = Slots::EMPTY.waker(waker).handle(handle).uninit(buffer);
    let count = call_fast(POLL_READ, slots)? as usize;
    if count > room {
        return Err(Errno::INVALID_ENCODING.into());
    }
    Ok(count)
}

/// Reads into the unfilled part of a tokio buffer without zeroing it first.
#[cfg(feature = "tokio")]
pub(crate) fn read_tokio(
    waker: i32,
    handle: i32,
    buffer: &mut tokio::io::ReadBuf<'_>,
) -> Result<usize> {
    // SAFETY: `read_uninit` only ever initialises bytes, it never undoes it.
    let count = read_uninit(waker, handle, unsafe { buffer.unfilled_mut() })?;
    // SAFETY: the host wrote `count` bytes, and `count` is within the part.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(count)
}

/// Reads into a hyper buffer without zeroing it first.
#[cfg(feature = "hyper")]
pub(crate) fn read_hyper(
    waker: i32,
    handle: i32,
    mut cursor: hyper::rt::ReadBufCursor<'_>,
) -> Result<usize> {
    // SAFETY: `read_uninit` only ever initialises bytes, it never undoes it.
    let count = read_uninit(waker, handle, unsafe { cursor.as_mut() })?;
    // SAFETY: the host wrote `count` bytes, and `count` is within the part.
    unsafe { cursor.advance(count) };
    Ok(count)
}

/// Lends the free part of a hyper buffer to a reader that knows tokio's.
#[cfg(feature = "hyper")]
pub(crate) fn lend_hyper_to_tokio<T>(
    mut cursor: hyper::rt::ReadBufCursor<'_>,
    read: impl FnOnce(&mut tokio::io::ReadBuf<'_>) -> T,
) -> T {
    // SAFETY: `ReadBuf` only ever initialises bytes, it never undoes it.
    let mut buffer = tokio::io::ReadBuf::uninit(unsafe { cursor.as_mut() });
    let outcome = read(&mut buffer);
    let count = buffer.filled().len();
    // SAFETY: `ReadBuf` counts a byte as filled only when it is initialised.
    unsafe { cursor.advance(count) };
    outcome
}

/// Lends the free part of a tokio buffer to a reader that knows hyper's.
#[cfg(feature = "hyper")]
pub(crate) fn lend_tokio_to_hyper<T>(
    buffer: &mut tokio::io::ReadBuf<'_>,
    read: impl FnOnce(hyper::rt::ReadBufCursor<'_>) -> T,
) -> T {
    // SAFETY: hyper's `ReadBuf` only ever initialises bytes, it never undoes it.
    let mut inner = hyper::rt::ReadBuf::uninit(unsafe { buffer.unfilled_mut() });
    let outcome = read(inner.unfilled());
    let count = inner.filled().len();
    // SAFETY: hyper counts a byte as filled only when it is initialised.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    outcome
}

/// What the C runtime does before a program's first and after its last line.
///
/// The host enters a program at its poll export and nowhere else, so nobody
/// calls the linker's functions for it but this module.
#[cfg(target_os = "wasi")]
pub(crate) mod runtime {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Whether the constructors have run.
    static IS_CONSTRUCTED: AtomicBool = AtomicBool::new(false);

    /// One constructor among the others. It notices when something else has
    /// run them before, such as the `_initialize` of a program that was linked
    /// as a reactor, which the host calls.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static NOTICE: extern "C" fn() = notice;

    extern "C" fn notice() {
        IS_CONSTRUCTED.store(true, Ordering::Relaxed);
    }

    // Naming the first of them also keeps the linker from running the
    // constructors at each call of each export.
    unsafe extern "C" {
        fn __wasm_call_ctors();
        fn __wasm_call_dtors();
    }

    /// Runs the constructors of all that is linked in, unless they have run.
    pub fn construct() {
        if !IS_CONSTRUCTED.load(Ordering::Relaxed) {
            // SAFETY: takes nothing, and runs once, by the check above.
            unsafe { __wasm_call_ctors() };
        }
    }

    /// Runs the destructors and flushes the output of C code.
    pub(crate) fn destruct() {
        // SAFETY: takes nothing; called once, by the end of the main task,
        // after which the host does not enter the program again.
        unsafe { __wasm_call_dtors() };
    }
}

/// Elsewhere the platform does it.
#[cfg(not(target_os = "wasi"))]
pub(crate) mod runtime {
    /// Nothing: constructors have run before main.
    pub fn construct() {}

    pub(crate) fn destruct() {}
}

/// Writes into memory that a call under test has lent.
#[cfg(all(test, not(target_family = "wasm")))]
fn fill_for_tests(address: usize, room: usize, bytes: &[u8]) {
    assert!(bytes.len() <= room, "{} bytes into {room}", bytes.len());
    // SAFETY: address and room come from `Slots`, whose slice the caller of the
    // import still borrows mutably.
    unsafe { (address as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
}

/// Reads memory that a call under test has lent.
#[cfg(all(test, not(target_family = "wasm")))]
fn peek_for_tests(address: usize, len: usize) -> Vec<u8> {
    // SAFETY: as above, for reading.
    unsafe { std::slice::from_raw_parts(address as *const u8, len) }.to_vec()
}

/// A scripted host for unit tests of this crate.
#[cfg(all(test, not(target_family = "wasm")))]
#[path = "sys_fake.rs"]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_host_every_call_fails_and_none_panics() {
        assert_eq!(calls::close(1), Err(Errno::UNKNOWN_CALL_NUMBER.into()));
        assert_eq!(
            calls::tcp_listen("127.0.0.1:1".into(), None),
            Err(Errno::UNKNOWN_CALL_NUMBER.into())
        );
        assert_eq!(
            calls::worker_pubkey(),
            Err(Errno::UNKNOWN_CALL_NUMBER.into())
        );
    }

    #[test]
    fn u64_takes_two_slots_high_half_first() {
        let slots = Slots::EMPTY.u64(0x1_0000_0005);
        assert_eq!(slots.values, [1, 5, 0, 0]);
    }

    #[test]
    fn the_call_that_asks_for_reasons_is_that_of_the_contract() {
        let row = wapo_abi::CALLS.iter().find(|row| row.id == NET_FAILURE);
        assert_eq!(row.map(|row| row.name), Some("net_failure"));
    }

    #[test]
    fn literals_of_the_link_attributes_are_those_of_the_contract() {
        assert_eq!(wapo_abi::IMPORT_MODULE, "wapo");
        assert_eq!(wapo_abi::IMPORT_SLOW, "ocall");
        assert_eq!(wapo_abi::IMPORT_FAST, "ocall_fast_return");
    }
}
