//! Host calls: from the guest's six numbers to a method of the state.
//!
//! One `match`, expanded from the table of the contract, charges the price,
//! lifts the arguments up to their caps, counts the host's work, calls the
//! method of the row's family and lowers the answer. Families live in one file
//! each, never see a pointer, and may rely on the caps. Entered from the two
//! imports (`link`); nothing else calls in here.

mod attest;
mod caller_memory;
mod channel;
mod connect;
mod guard;
mod http;
mod http_codec;
mod link;
mod listen;
mod lock;
mod net;
mod net_sni;
mod storage;
mod task;
mod timer;
mod udp;
mod worker;

pub(crate) use caller_memory::split;
pub(crate) use link::{add_to_linker, begin_import, end_import, work_off};

use std::future::Future;
use std::pin::Pin;

use parity_scale_codec::Encode;
use wapo_abi::message::{
    InputChannel, ListenOptions, LogLevel, SniConfig, TlsClientConfig, TlsClientOptions,
    TlsServerConfig,
};
use wapo_abi::wire::Slots;
use wapo_abi::{Cap, Errno, for_each_host_call};
use wasmtime::Caller;

use crate::host_memory::MemoryCharge;
use crate::memory::GuestSlice;
use crate::resource::Handle;
use crate::state::InstanceState;

/// A future that outlives the borrow of the state while the instance waits.
pub(crate) type WaitFuture<T> = Pin<Box<dyn Future<Output = Result<Waited<T>, Errno>> + Send>>;

/// What a call answers with that had to wait, and the memory that it has.
pub(crate) struct Waited<T> {
    pub(crate) value: T,
    pub(crate) charge: Option<MemoryCharge>,
}

impl<T> From<T> for Waited<T> {
    fn from(value: T) -> Self {
        Self {
            value,
            charge: None,
        }
    }
}

impl<T: Encode> Waited<T> {
    /// Encodes it. The memory is for both while they are there, and then for the
    /// copy.
    ///
    /// # Errors
    ///
    /// [`Errno::RESOURCE_LIMITED`] when there is none for the copy.
    fn encode(self) -> Result<Waited<Vec<u8>>, Errno> {
        let Self { value, mut charge } = self;
        if let Some(charge) = &mut charge {
            let both = charge.bytes() + value.encoded_size() as u64;
            charge.resize(both).map_err(|_| Errno::RESOURCE_LIMITED)?;
        }
        let encoded = value.encode();
        Ok(Waited {
            value: encoded,
            charge,
        })
    }
}

// Host time in fuel's worth: 2000 units are a microsecond, as of ordinary wasm code.

/// Host time of an ordinary call.
pub(crate) const WORK_CALL: u64 = 100;
/// Host time of a call that enters the kernel.
pub(crate) const WORK_SYSCALL: u64 = 2_000;
/// Host time of a call that allocates and enters a lock of the worker.
pub(crate) const WORK_LOCK: u64 = 1_000;
/// Host time of a call that makes a socket and registers it: some ten microseconds.
pub(crate) const WORK_SOCKET: u64 = 20_000;
/// Host time of a call that does public-key cryptography: some fifty microseconds.
pub(crate) const WORK_CRYPTO: u64 = 100_000;
/// Host time of a byte that is hashed, escaped or parsed, beyond being copied.
pub(crate) const WORK_PARSED_BYTE: u64 = 4;

/// Host time of bytes that were moved between a guest and a socket or pipe.
///
/// Copying four bytes takes as long as an instruction.
pub(crate) const fn work_moved(bytes: usize) -> u64 {
    bytes as u64 / 4
}

/// Types of arguments as the methods of a family see them.
macro_rules! arg_type {
    (handle) => {
        Handle
    };
    (waker) => {
        wapo_abi::WakerId
    };
    (task) => {
        i32
    };
    (i32) => {
        i32
    };
    (u16) => {
        u16
    };
    (u64) => {
        u64
    };
    (bool) => {
        bool
    };
    (level) => {
        LogLevel
    };
    (channel) => {
        InputChannel
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
    (($type:ty)) => {
        $type
    };
}

/// Types of answers as the methods of a family give them.
macro_rules! result_type {
    (wait, ($type:ty)) => { WaitFuture<$type> };
    ($mode:ident, unit) => { Result<(), Errno> };
    ($mode:ident, handle) => { Result<Handle, Errno> };
    ($mode:ident, task) => { Result<i32, Errno> };
    ($mode:ident, size) => { Result<usize, Errno> };
    ($mode:ident, ($type:ty)) => { Result<$type, Errno> };
}

macro_rules! family_traits {
    ([] $($family:ident { $(
        $(#[doc = $doc:literal])*
        $mode:ident $id:literal $name:ident (
            $($arg:ident : $kind:tt $($rule:ident $cap:ident $(else $refusal:ident)?)?),*
        ) $(max $input_cap:ident)? -> $result:tt,
        gas $base:literal $(+ len * $mul:literal / $div:literal)?,
        errors [$($errno:ident),*];
    )* })*) => {
        /// One trait per family of calls; a row without a method does not compile.
        pub(crate) mod family {
            use super::*;
            use wapo_abi::WakeCode;
            use wapo_abi::message::MetricsToken;
            $(
                pub(crate) mod $family {
                    use super::*;
                    #[allow(unused_imports, reason = "not every family uses every message")]
                    use super::{MetricsToken, WakeCode};

                    pub(crate) trait Calls {
                        $(
                            $(#[doc = $doc])*
                            fn $name(&mut self $(, $arg: arg_type!($kind))*)
                                -> result_type!($mode, $result);
                        )*
                    }
                }
            )*
        }
    };
}
for_each_host_call!(family_traits);

/// What a row's arguments need of the store: memory only if one is a slice.
///
/// Finding the memory is the most expensive part of a trivial call.
macro_rules! view {
    ($caller:ident $(,)?) => {{
        let nothing: &mut [u8] = &mut [];
        (nothing, $caller.data_mut())
    }};
    ($caller:ident, str $(, $rest:tt)*) => { caller_memory::split($caller)? };
    ($caller:ident, bytes $(, $rest:tt)*) => { caller_memory::split($caller)? };
    ($caller:ident, bytes_mut $(, $rest:tt)*) => { caller_memory::split($caller)? };
    ($caller:ident, $other:tt $(, $rest:tt)*) => { view!($caller $(, $rest)*) };
}

/// The cap of a slice, as a constant.
macro_rules! cap {
    ([$($cap:tt)+]) => {{
        const CAP: Cap = match wapo_abi::__cap!($($cap)+) {
            Some(cap) => cap,
            None => unreachable!(),
        };
        CAP
    }};
}

/// Lifts one argument from the slots.
///
/// A slice is checked against memory and its cap before a byte of it is looked
/// at, and what is looked at is counted as work: text, because it is validated,
/// and bytes that are refused beyond their cap, because the call takes them as
/// a whole. Where a part is enough (`cut`) and where the call writes, the call
/// knows how many bytes it moved and counts them itself.
macro_rules! lift {
    ($slots:ident, $memory:ident, $state:ident, handle, []) => {
        Handle($slots.take_i32())
    };
    ($slots:ident, $memory:ident, $state:ident, waker, []) => {
        wapo_abi::WakerId($slots.take_i32())
    };
    ($slots:ident, $memory:ident, $state:ident, task, []) => {
        $slots.take_i32()
    };
    ($slots:ident, $memory:ident, $state:ident, i32, []) => {
        $slots.take_i32()
    };
    ($slots:ident, $memory:ident, $state:ident, u64, []) => {
        $slots.take_u64()
    };
    ($slots:ident, $memory:ident, $state:ident, u16, []) => {
        u16::try_from($slots.take()).map_err(|_| Errno::INVALID_ENCODING)?
    };
    ($slots:ident, $memory:ident, $state:ident, bool, []) => {
        match $slots.take() {
            0 => false,
            1 => true,
            _ => return Err(Errno::INVALID_ENCODING),
        }
    };
    ($slots:ident, $memory:ident, $state:ident, level, []) => {
        LogLevel::from_u32($slots.take()).ok_or(Errno::INVALID_ENCODING)?
    };
    ($slots:ident, $memory:ident, $state:ident, channel, []) => {
        InputChannel::from_u32($slots.take()).ok_or(Errno::INVALID_PARAMETER)?
    };
    ($slots:ident, $memory:ident, $state:ident, str, $cap:tt) => {{
        let text = GuestSlice::new($slots.take_slice()).read_str_capped($memory, cap!($cap))?;
        $state.add_work(text.len() as u64);
        text
    }};
    ($slots:ident, $memory:ident, $state:ident, bytes, [cut $cap:ident]) => {
        GuestSlice::new($slots.take_slice()).read_capped($memory, cap!([cut $cap]))?
    };
    ($slots:ident, $memory:ident, $state:ident, bytes, $cap:tt) => {{
        let bytes = GuestSlice::new($slots.take_slice()).read_capped($memory, cap!($cap))?;
        $state.add_work(bytes.len() as u64);
        bytes
    }};
    ($slots:ident, $memory:ident, $state:ident, bytes_mut, $cap:tt) => {
        GuestSlice::new($slots.take_slice()).write_capped($memory, cap!($cap))?
    };
}

/// Lowers the answer of a fast call.
macro_rules! lower {
    (unit, $value:expr) => {{
        let () = $value;
        0
    }};
    (handle, $value:expr) => {
        $value.0.cast_unsigned()
    };
    (task, $value:expr) => {
        i32::cast_unsigned($value)
    };
    (size, $value:expr) => {
        u32::try_from($value).map_err(|_| Errno::IO_ERROR)?
    };
}

/// Bytes that a row's price per byte counts.
macro_rules! priced_len {
    ($slots:ident, $($arg:ident : $kind:tt),*) => {{
        #[allow(unused_mut, unused_assignments, reason = "rows without a slice have no length")]
        let len = {
            let mut peek = $slots;
            let mut len = 0;
            $(priced_len!(@one peek, len, $kind);)*
            let _ = peek;
            len
        };
        len
    }};
    (@one $peek:ident, $len:ident, str) => { $len = GuestSlice::new($peek.take_slice()).len(); };
    (@one $peek:ident, $len:ident, bytes) => { $len = GuestSlice::new($peek.take_slice()).len(); };
    (@one $peek:ident, $len:ident, bytes_mut) => { $len = GuestSlice::new($peek.take_slice()).len(); };
    (@one $peek:ident, $len:ident, u64) => { $peek.take_u64(); };
    (@one $peek:ident, $len:ident, $other:tt) => { $peek.take(); };
}

/// Charges a row's price.
macro_rules! charge {
    ($state:ident, $slots:ident, $base:literal, [], $($args:tt)*) => {
        $state.charge($base);
    };
    ($state:ident, $slots:ident, $base:literal, [$mul:literal / $div:literal], $($args:tt)*) => {
        let len = priced_len!($slots, $($args)*);
        const PRICE: wapo_abi::Gas = wapo_abi::Gas { base: $base, per_bytes: $mul, bytes: $div };
        $state.charge(PRICE.of(len));
    };
}

/// The arm of a row in the dispatch of fast calls.
macro_rules! fast_arm {
    (fast, $caller:ident, $slots:ident, $family:ident :: $name:ident,
        ( $($arg:ident : $kind:tt $cap:tt),* ), $result:tt, $base:literal, $per:tt, $input:tt) => {{
        #[allow(unused_variables, reason = "rows without a slice need no memory")]
        let (memory, state) = view!($caller $(, $kind)*);
        charge!(state, $slots, $base, $per, $($arg: $kind),*);
        $(let $arg = lift!($slots, memory, state, $kind, $cap);)*
        let value = family::$family::Calls::$name(state $(, $arg)*)?;
        Ok(lower!($result, value))
    }};
    (fast_encoded, $caller:ident, $slots:ident, $family:ident :: $name:ident,
        ( $($arg:ident : $kind:tt $cap:tt),* ), $result:tt, $base:literal, $per:tt, $input:tt) => {{
        use parity_scale_codec::Decode as _;
        let (memory, state) = caller_memory::split($caller)?;
        charge!(state, $slots, $base, [], );
        let mut input = GuestSlice::new($slots.take_slice()).read_capped(memory, cap!($input))?;
        state.add_work(WORK_SYSCALL + input.len() as u64);
        $(let $arg = <arg_type!($kind)>::decode(&mut input).map_err(|_| Errno::INVALID_PARAMETER)?;)*
        let value = family::$family::Calls::$name(state $(, $arg)*)?;
        Ok(lower!($result, value))
    }};
    ($other:ident, $($rest:tt)*) => { Err(Errno::UNKNOWN_CALL_NUMBER) };
}

/// The arm of a row in the dispatch of slow calls.
macro_rules! slow_arm {
    (slow, $caller:ident, $slots:ident, $family:ident :: $name:ident,
        ( $($arg:ident : $kind:tt $cap:tt),* ), $base:literal, $per:tt) => {{
        #[allow(unused_variables, reason = "rows without a slice need no memory")]
        let (memory, state) = view!($caller $(, $kind)*);
        charge!(state, $slots, $base, $per, $($arg: $kind),*);
        $(let $arg = lift!($slots, memory, state, $kind, $cap);)*
        let value = family::$family::Calls::$name(state $(, $arg)*)?;
        Ok(SlowOutcome::Ready(value.encode()))
    }};
    (wait, $caller:ident, $slots:ident, $family:ident :: $name:ident,
        ( $($arg:ident : $kind:tt $cap:tt),* ), $base:literal, $per:tt) => {{
        #[allow(unused_variables, reason = "rows without a slice need no memory")]
        let (memory, state) = view!($caller $(, $kind)*);
        charge!(state, $slots, $base, $per, $($arg: $kind),*);
        $(let $arg = lift!($slots, memory, state, $kind, $cap);)*
        let future = family::$family::Calls::$name(state $(, $arg)*);
        Ok(SlowOutcome::Wait(Box::pin(async move { future.await?.encode() })))
    }};
    ($other:ident, $($rest:tt)*) => { Err(Errno::UNKNOWN_CALL_NUMBER) };
}

/// What a slow call leads to.
pub(crate) enum SlowOutcome {
    /// The encoded answer.
    Ready(Vec<u8>),
    /// The instance waits for the encoded answer.
    Wait(WaitFuture<Vec<u8>>),
}

macro_rules! dispatch {
    ([] $($family:ident { $(
        $(#[doc = $doc:literal])*
        $mode:ident $id:literal $name:ident (
            $($arg:ident : $kind:tt $($rule:ident $cap:ident $(else $refusal:ident)?)?),*
        ) $(max $input_cap:ident)? -> $result:tt,
        gas $base:literal $(+ len * $mul:literal / $div:literal)?,
        errors [$($errno:ident),*];
    )* })*) => {
        /// Makes a fast call.
        ///
        /// # Errors
        ///
        /// The number for the guest: of the method, or of bad arguments.
        #[inline]
        #[allow(unused_mut, reason = "rows without arguments take no slot")]
        fn call_fast(
            caller: &mut Caller<'_, InstanceState>,
            id: u32,
            mut slots: Slots,
        ) -> Result<u32, Errno> {
            match id {
                wapo_abi::GET_RETURN => get_return(caller, slots),
                $($($id => fast_arm!(
                    $mode, caller, slots, $family::$name,
                    ( $($arg: $kind [$($rule $cap $(else $refusal)?)?]),* ),
                    $result, $base, [$($mul / $div)?], [$(max $input_cap)?]
                ),)*)*
                _ => Err(Errno::UNKNOWN_CALL_NUMBER),
            }
        }

        /// Makes a slow call.
        ///
        /// # Errors
        ///
        /// The number for the guest: of the method, or of bad arguments.
        #[allow(unused_mut, reason = "rows without arguments take no slot")]
        fn call_slow(
            caller: &mut Caller<'_, InstanceState>,
            id: u32,
            mut slots: Slots,
        ) -> Result<SlowOutcome, Errno> {
            match id {
                $($($id => slow_arm!(
                    $mode, caller, slots, $family::$name,
                    ( $($arg: $kind [$($rule $cap $(else $refusal)?)?]),* ),
                    $base, [$($mul / $div)?]
                ),)*)*
                _ => Err(Errno::UNKNOWN_CALL_NUMBER),
            }
        }
    };
}
for_each_host_call!(dispatch);

/// Hands the answer of the last slow call to the guest, once.
fn get_return(caller: &mut Caller<'_, InstanceState>, mut slots: Slots) -> Result<u32, Errno> {
    let (memory, state) = split(caller)?;
    let slice = GuestSlice::new(slots.take_slice());
    let answer = state.answer.take().ok_or(Errno::NOT_FOUND)?.bytes;
    state.add_work(work_moved(answer.len()));
    if answer.len() != slice.len() as usize {
        return Err(Errno::INVALID_PARAMETER);
    }
    slice.write(memory)?.copy_from_slice(&answer);
    Ok(slice.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::MemoryBudget;
    use crate::host_memory::HostMemory;
    use crate::limits::HOST_MEMORY_FREE_BYTES;

    #[test]
    fn an_answer_and_its_copy_are_charged_while_both_are_there() {
        let answer = |budget| {
            let memory = HostMemory::new(&MemoryBudget::new(Some(budget)));
            let charge = memory.charge(HOST_MEMORY_FREE_BYTES + 1000).expect("room");
            let waited = Waited {
                value: vec![7_u8; 1000],
                charge: Some(charge),
            };
            waited.encode()
        };
        let encoded = answer(3000).expect("room for both");
        let charge = encoded.charge.expect("a charge");
        assert_eq!(encoded.value.len(), 1002);
        assert_eq!(charge.bytes(), HOST_MEMORY_FREE_BYTES + 1000 + 1002);
        assert_eq!(answer(2001).err(), Some(Errno::RESOURCE_LIMITED));
    }
}
