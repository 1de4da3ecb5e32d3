//! The hidden subcommand that compiles one module in a process of its own.
//!
//! Programs that start a server in their process and let it run itself as the
//! compiler call [`compile_if_asked`] before anything else in `main`, and put
//! [`this_program`] into [`Config::compiler`](crate::Config::compiler).

use std::process::ExitCode;

use wapo_host::Compiler;

/// The subcommand. People never need it.
pub const COMPILE_COMMAND: &str = "__compile";

/// Bytes of compiled modules in a folder that several programs share.
///
/// `wapo run` compiles a program each time that it was built anew; what was not
/// used for the longest time is removed.
pub const SHARED_CACHE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Does the work of the hidden subcommand, if this process was started for it.
pub fn compile_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let is_asked = arguments
        .next()
        .is_some_and(|first| first == COMPILE_COMMAND);
    (is_asked && arguments.next().is_none()).then(wapo_host::compile_child)
}

/// The executable of this process as the compiler.
pub fn this_program() -> Compiler {
    Compiler::this_program(COMPILE_COMMAND)
}
