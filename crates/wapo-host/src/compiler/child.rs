//! The child process that compiles one module: reads an order and the module
//! from its standard input, writes native code to its standard output.
//!
//! It limits itself before it reads a byte of the module: memory, CPU time, no
//! files, the lowest priority, and an end together with its parent. A limit
//! that it meets ends it; the parent (`process`) sees how, and says what it
//! means. Entered from a hidden subcommand of the programs that have an engine.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use parity_scale_codec::{Decode, Encode};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::settings::CompileSettings;
use super::translate::{fingerprint, translate};
use crate::limits::{COMPILE_NICENESS, MODULE_BYTES_MAX};

/// Exit code: the module is not valid, the reason is on standard error.
pub(super) const EXIT_INVALID: u8 = 3;
/// Exit code: there is not enough memory, and it was noticed in time to say so.
pub(super) const EXIT_MEMORY: u8 = 5;
/// Exit code: this program cannot compile for its parent.
const EXIT_UNFIT: u8 = 4;

/// Bytes of the message about what is wrong.
///
/// Texts about invalid modules have a few hundred, but may quote a name of the
/// module's, which can have a hundred thousand. The parent reads no more either.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// Bytes of an encoded [`Order`].
const ORDER_BYTES: usize = 37;

/// What the parent asks for. The module follows.
#[derive(Encode, Decode)]
pub(super) struct Order {
    /// The parent; when it is gone already, nobody waits for the result.
    pub(super) parent: u32,
    pub(super) fingerprint: [u8; 8],
    pub(super) is_enclave: bool,
    pub(super) engine_memory_bytes: u64,
    /// Bytes that the compilation may take beyond what the process starts with.
    pub(super) memory_max_bytes: u64,
    pub(super) time_max_seconds: u64,
}

/// Compiles the module on standard input. For the hidden subcommand that a
/// [`Compiler`](super::Compiler) names; it ends when its parent does.
pub fn compile_child() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Invalid(text)) => {
            print_error(&text);
            ExitCode::from(EXIT_INVALID)
        }
        Err(Failure::Memory) => ExitCode::from(EXIT_MEMORY),
        Err(Failure::Unfit(text)) => {
            print_error(&text);
            ExitCode::from(EXIT_UNFIT)
        }
    }
}

/// Prints the beginning of a message.
fn print_error(text: &str) {
    eprint!("{}", &text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)]);
}

enum Failure {
    Invalid(String),
    Memory,
    Unfit(String),
}

fn run() -> Result<(), Failure> {
    let unfit = |error: &dyn std::fmt::Display| Failure::Unfit(error.to_string());
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| unfit(&error))?;
    let mut input = std::io::stdin().lock();
    let mut order = [0; ORDER_BYTES];
    input
        .read_exact(&mut order)
        .map_err(|error| unfit(&error))?;
    let order = Order::decode(&mut order.as_slice()).map_err(|error| unfit(&error))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_pid().unsigned_abs());
    if parent != Some(order.parent) {
        return Err(Failure::Unfit("the parent is gone".to_owned()));
    }
    limit(&order).map_err(|error| unfit(&error))?;

    let mut wasm = Vec::new();
    let most = u64::try_from(MODULE_BYTES_MAX).unwrap_or(u64::MAX);
    input
        .take(most)
        .read_to_end(&mut wasm)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::OutOfMemory => Failure::Memory,
            _ => unfit(&error),
        })?;
    let settings = CompileSettings {
        is_enclave: order.is_enclave,
        memory_max_bytes: order.engine_memory_bytes,
    };
    let engine = wasmtime::Engine::new(&settings.config()).map_err(|error| unfit(&error))?;
    let fingerprint = fingerprint(&engine);
    if fingerprint != order.fingerprint {
        return Err(Failure::Unfit(format!(
            "the compiler ({}) is another one than the daemon's ({})",
            hex::encode(fingerprint),
            hex::encode(order.fingerprint)
        )));
    }
    let code =
        translate(&engine, &wasm).map_err(|error| match error.is::<wasmtime::OutOfMemory>() {
            true => Failure::Memory,
            false => Failure::Invalid(format!("{error:#}")),
        })?;
    let mut output = std::io::stdout().lock();
    output
        .write_all(&fingerprint)
        .and_then(|()| output.write_all(&code))
        .and_then(|()| output.flush())
        .map_err(|error| unfit(&error))
}

/// Sets the limits of this process.
///
/// # Errors
///
/// The kernel refuses one that must not be missing.
fn limit(order: &Order) -> std::io::Result<()> {
    let both = |value: u64| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    // A program has taken address space before its first line, a large one a lot.
    let taken = std::fs::read_to_string("/proc/self/statm")?;
    let mut pages = taken.split(' ').map(|number| number.parse::<u64>());
    let mut bytes = |skipped| match pages.nth(skipped) {
        Some(Ok(pages)) => Ok(pages * rustix::param::page_size() as u64),
        _ => Err(std::io::Error::other("/proc/self/statm cannot be read")),
    };
    let address_space = bytes(0)?;
    let data = bytes(4)?;
    setrlimit(Resource::As, both(address_space + order.memory_max_bytes))?;
    setrlimit(Resource::Data, both(data + order.memory_max_bytes))?;
    setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(order.time_max_seconds),
            maximum: Some(order.time_max_seconds + 1),
        },
    )?;
    setrlimit(Resource::Core, both(0))?;
    setrlimit(Resource::Fsize, both(0))?;
    rustix::process::setpriority_process(None, COMPILE_NICENESS)?;
    // When the machine runs out of memory, this process goes first.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    setrlimit(Resource::Nofile, both(3))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_a_fixed_size() {
        let order = Order {
            parent: u32::MAX,
            fingerprint: [255; 8],
            is_enclave: true,
            engine_memory_bytes: u64::MAX,
            memory_max_bytes: u64::MAX,
            time_max_seconds: u64::MAX,
        };
        assert_eq!(order.encode().len(), ORDER_BYTES);
    }
}
