//! The compiler of modules as a program of its own, for the tests of this crate.
//! The daemon and the command have it as a hidden subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    wapo_host::compile_child()
}
