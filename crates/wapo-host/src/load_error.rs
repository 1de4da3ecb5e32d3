//! Why a file does not run here: texts for its author.
//!
//! Each says what is wrong, in the words of those who build programs, and what
//! would be accepted. Made by `precheck`, `compiler` and `module_cache`.

use wapo_abi::{MEMORY_EXPORT, POLL_EXPORT};

use crate::limits::MODULE_BYTES_MAX;

/// Why a file does not run here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// It does not begin as wasm files do.
    #[error("this is not a WebAssembly file: it does not begin with \"\\0asm\"")]
    NotWasm,
    /// It is a component.
    #[error(
        "this is a WebAssembly component; Wapo runs core modules (build for wasm32-wasip1 instead of wasm32-wasip2)"
    )]
    Component,
    /// It is larger than [`MODULE_BYTES_MAX`].
    #[error("the module has {0} bytes, the limit is {MODULE_BYTES_MAX}")]
    TooLarge(usize),
    /// It is damaged, or uses what is switched off here.
    #[error("the module is not valid here: {0}")]
    Invalid(String),
    /// It uses a part of WebAssembly that is switched off here.
    #[error("{0}")]
    Feature(String),
    /// It imports what no Wapo host has.
    #[error(
        "the module cannot be linked: {0}; guests may import `wapo`, `wasi_snapshot_preview1` and `wasi_unstable` only"
    )]
    Imports(String),
    /// It cannot be polled.
    #[error(
        "the module exports no function `{POLL_EXPORT}`: put #[wapo::main] on its main function, or export a function of that name and type () -> i32"
    )]
    NoPoll,
    /// It is a command: it runs from `_start` to the end and cannot be polled.
    #[error(
        "the module is a WASI command (it exports `_start` and no `{POLL_EXPORT}`); Wapo polls its guests: put #[wapo::main] on the main function, or export a function `{POLL_EXPORT}` of type () -> i32"
    )]
    Command,
    /// The poll export has another type.
    #[error("the module's export `{0}` is not a function of type () -> i32")]
    WrongPoll(&'static str),
    /// Host calls need the guest's memory.
    #[error("the module exports no memory named `{MEMORY_EXPORT}`")]
    NoMemory,
    /// It needs more memory, larger tables or more functions than it may have.
    #[error("{0}")]
    Exceeds(String),
    /// One of its segments does not fit into its memory or table.
    #[error("{0}")]
    Segment(String),
    /// It would take the compiler far more than programs of its size do.
    #[error("the module is too costly to compile: {0}")]
    TooCostly(String),
    /// The compiler has met its limit of memory.
    #[error("the module needs more than {0} MiB to compile; split large functions")]
    CompileMemory(u64),
    /// The compiler has met its limit of time.
    #[error("the module needs more than {0} s to compile; split large functions, or the program")]
    CompileTime(u64),
    /// Too many modules wait for the compiler.
    #[error("too many modules wait to be compiled; try again later")]
    Busy,
    /// The engine is being stopped.
    #[error("the module was not compiled: the worker is stopping")]
    Stopping,
    /// The compiler failed in a way it should not.
    #[error("the compiler failed on this module")]
    Compiler,
}
