//! Compiles modules to native code, in a process of its own or in this one.
//!
//! Compiling is the one thing that the host does for a file before it knows
//! anything about the program, and its cost is not bounded by the size of the
//! file. So it happens in a child process with limits of memory and time
//! (`process`, `child`), one after the other in a fair line (`queue`). Called by
//! `module_cache`, which has looked at the file before (`precheck`) and keeps
//! the result. What a child prints is native code; only `module_cache` loads it.

mod child;
mod process;
pub(crate) mod queue;
mod settings;

use std::ffi::OsString;
use std::time::Duration;

pub use child::compile_child;
pub(crate) use process::Stop;
pub(crate) use settings::CompileSettings;

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

/// How the child process is started, and what it may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildCompiler {
    /// Program and arguments of a command that calls [`compile_child`].
    pub command: Vec<OsString>,
    /// Memory that one compilation may take, in bytes.
    pub memory_max_bytes: u64,
    /// CPU time that one compilation may take.
    pub time_max: Duration,
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
            Self::InProcess => {
                translate(engine, wasm).map_err(|error| LoadError::Invalid(format!("{error:#}")))
            }
            Self::Child(child) => process::compile(child, engine, settings, wasm, stop),
        }
    }
}

/// Compiles a module in this process.
///
/// # Errors
///
/// What is wrong with the module, or [`wasmtime::OutOfMemory`].
fn translate(engine: &wasmtime::Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let nulls = crate::externref::replace(wasm);
    let wasm = nulls.as_deref().unwrap_or(wasm);
    let split = crate::bulk::split(wasm);
    engine.precompile_module(split.as_deref().unwrap_or(wasm))
}

/// Identifies what an engine can load: its version and settings.
pub(crate) fn fingerprint(engine: &wasmtime::Engine) -> [u8; 8] {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish().to_le_bytes()
}
