//! Compiles modules to native code, in a process of its own or in this one.
//!
//! Compiling is the one thing that the host does for a file before it knows
//! anything about the program, and its cost is not bounded by the size of the
//! file. So it happens in a child process with limits of memory and time
//! (`process`, `child`), one after the other in a fair line (`queue`); `translate` is
//! what either process does. Called by
//! `module_cache`, which has looked at the file before (`precheck`) and keeps
//! the result. What a child prints is native code; only `module_cache` loads it.

mod child;
mod process;
pub(crate) mod queue;
mod settings;
mod translate;

use std::ffi::OsString;

pub use child::compile_child;
pub use process::ChildCompiler;
pub(crate) use process::Stop;
pub(crate) use settings::CompileSettings;
pub(crate) use translate::fingerprint;

use crate::limits::{COMPILE_MEMORY_BYTES_MAX, COMPILE_TIME_MAX};
use crate::load_error::LoadError;

/// Who compiles modules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compiler {
    /// Threads of this process, without limits of memory and time.
    ///
    /// For enclaves, which have one process only, and for programs that run
    /// nothing but modules of their own.
    InProcess,
    /// A child process for each module, with limits.
    Child(ChildCompiler),
}

impl Compiler {
    /// A child process that runs the executable of this process, even when the
    /// file was replaced meanwhile, with `argument` as its only argument.
    pub fn this_program(argument: &str) -> Self {
        Self::command(vec!["/proc/self/exe".into(), argument.into()])
    }

    /// A child process with the usual limits.
    pub fn command(command: Vec<OsString>) -> Self {
        Self::Child(ChildCompiler {
            command,
            memory_max_bytes: COMPILE_MEMORY_BYTES_MAX,
            time_max: COMPILE_TIME_MAX,
        })
    }

    /// Compiles a module to the bytes that the engine loads. Blocks.
    ///
    /// # Errors
    ///
    /// [`LoadError`]: the module is not valid, or a limit was met.
    pub(crate) fn compile(
        &self,
        engine: &wasmtime::Engine,
        settings: CompileSettings,
        wasm: &[u8],
        stop: &Stop,
    ) -> Result<Vec<u8>, LoadError> {
        match self {
            Self::InProcess => translate::translate(engine, wasm)
                .map_err(|error| LoadError::Invalid(format!("{error:#}"))),
            Self::Child(child) => process::compile(child, engine, settings, wasm, stop),
        }
    }
}
