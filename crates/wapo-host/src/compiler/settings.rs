//! What the compiler needs to know of an engine. Used by it and by the child process.

use wasmtime::{Config, OptLevel, Strategy, WasmBacktraceDetails};

use crate::limits::{
    ENCLAVE_FIBER_STACK_BYTES, ENCLAVE_WASM_STACK_BYTES, FIBER_STACK_BYTES, WASM_STACK_BYTES,
};

/// Address space of one memory in the pool: with it no access needs a check.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

/// The settings that compiled code depends on: what the compiler needs to know
/// of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CompileSettings {
    pub(crate) is_enclave: bool,
    pub(crate) memory_max_bytes: u64,
}

impl CompileSettings {
    /// Bytes of the stack of a guest's code, and of the whole stack.
    pub(crate) fn stacks(self) -> (usize, usize) {
        match self.is_enclave {
            true => (ENCLAVE_WASM_STACK_BYTES, ENCLAVE_FIBER_STACK_BYTES),
            false => (WASM_STACK_BYTES, FIBER_STACK_BYTES),
        }
    }

    /// wasmtime's settings, without an allocator.
    pub(crate) fn config(self) -> Config {
        let mut wasmtime = Config::new();
        let (wasm_stack, fiber_stack) = self.stacks();
        wasmtime
            .strategy(Strategy::Cranelift)
            .cranelift_opt_level(OptLevel::Speed)
            .consume_fuel(true)
            .concurrency_support(false)
            .max_wasm_stack(wasm_stack)
            .async_stack_size(fiber_stack)
            .async_stack_zeroing(true)
            .wasm_backtrace_details(WasmBacktraceDetails::Enable)
            // What compilers emit today, and nothing with a large attack surface.
            // Function references in tables are always on; garbage-collected ones
            // are not even compiled into this engine.
            .wasm_bulk_memory(true)
            .wasm_multi_value(true)
            .wasm_simd(true)
            .wasm_extended_const(true)
            .wasm_tail_call(true)
            .wasm_relaxed_simd(false)
            .wasm_multi_memory(false)
            .wasm_memory64(false);
        if self.is_enclave {
            wasmtime
                .memory_reservation(0)
                .memory_guard_size(0)
                .memory_reservation_for_growth(0)
                .guard_before_linear_memory(false)
                .memory_init_cow(false)
                .signals_based_traps(false);
        } else {
            wasmtime.memory_reservation(MEMORY_RESERVATION_BYTES.max(self.memory_max_bytes));
        }
        wasmtime
    }
}
