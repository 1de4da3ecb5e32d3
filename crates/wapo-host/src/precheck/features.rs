//! Parts of WebAssembly that are switched off here, and what to do instead.

use wasmparser::Operator;

use crate::load_error::LoadError;

/// A part that is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Feature {
    Exceptions,
    Threads,
    Memory64,
    MultiMemory,
    Gc,
    RelaxedSimd,
    StackSwitching,
    WideArithmetic,
    CustomPages,
}

impl Feature {
    /// The refusal of a module that uses it.
    pub(super) fn refused(self) -> LoadError {
        LoadError::Feature(format!("the module uses {}", self.advice()))
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Exceptions => {
                "exceptions of WebAssembly, which are off here; build it with panic = \"abort\" \
                 (Rust) or -fno-exceptions (C++)"
            }
            Self::Threads => {
                "threads (shared memory or atomic instructions), which are off here; build it for \
                 wasm32-wasip1 without the target feature `atomics`"
            }
            Self::Memory64 => {
                "64-bit memory (memory64), which is off here; build it for a 32-bit target such as \
                 wasm32-wasip1"
            }
            Self::MultiMemory => {
                "several memories (multi-memory), which are off here; give it one memory"
            }
            Self::Gc => {
                "types of the garbage collector (GC), which is off here; build it with a compiler \
                 for linear memory"
            }
            Self::RelaxedSimd => {
                "relaxed SIMD, which is off here because its results depend on the machine; build \
                 it with `simd128` only"
            }
            Self::StackSwitching => "stack switching, which is off here",
            Self::WideArithmetic => {
                "wide arithmetic, which is off here; build it without that target feature"
            }
            Self::CustomPages => "pages of another size than 64 KiB, which are off here",
        }
    }
}

/// Names the group of each instruction.
macro_rules! groups {
    ($(@$group:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($rest:tt)*))*) => {
        /// The part that is off and to which an instruction belongs.
        pub(super) fn of(operator: &Operator<'_>) -> Option<Feature> {
            match operator {
                $(Operator::$op { .. } => group!($group),)*
                _ => None,
            }
        }
    };
}

macro_rules! group {
    (exceptions) => {
        Some(Feature::Exceptions)
    };
    (legacy_exceptions) => {
        Some(Feature::Exceptions)
    };
    (threads) => {
        Some(Feature::Threads)
    };
    (shared_everything_threads) => {
        Some(Feature::Threads)
    };
    (gc) => {
        Some(Feature::Gc)
    };
    (custom_descriptors) => {
        Some(Feature::Gc)
    };
    (relaxed_simd) => {
        Some(Feature::RelaxedSimd)
    };
    (stack_switching) => {
        Some(Feature::StackSwitching)
    };
    (wide_arithmetic) => {
        Some(Feature::WideArithmetic)
    };
    ($other:ident) => {
        None
    };
}

wasmparser::for_each_operator!(groups);
