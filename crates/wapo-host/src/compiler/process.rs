//! The parent's side of the child process that compiles: starts it, feeds it,
//! reads what it prints, and tells from its end which limit it met.
//!
//! Runs on a thread of the queue that lives as long as the child does: the
//! kernel ends a child with the *thread* that has started it. The holder of the
//! [`Stop`] can end the child from any other thread.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use parity_scale_codec::Encode as _;
use rustix::process::Signal;
use tracing::warn;

use super::child::{EXIT_INVALID, EXIT_MEMORY, MESSAGE_BYTES_MAX, Order};
use super::settings::CompileSettings;
use super::translate;
use crate::limits::COMPILED_BYTES_MAX;
use crate::load_error::LoadError;

/// How the child process is started, and what it may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildCompiler {
    /// Program and arguments of a command that calls [`compile_child`](super::compile_child).
    pub command: Vec<OsString>,
    /// Memory that one compilation may take, in bytes.
    pub memory_max_bytes: u64,
    /// CPU time that one compilation may take.
    pub time_max: Duration,
}

/// Ends one compilation. Without effect once it has ended.
#[derive(Default)]
pub(crate) struct Stop(Mutex<State>);

#[derive(Default)]
struct State {
    is_stopped: bool,
    child: Option<Child>,
}

impl Stop {
    /// Kills the child, or keeps it from being started.
    pub(crate) fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_stopped = true;
        if let Some(child) = &mut state.child {
            // It is waited for by the thread that has started it.
            let _ = child.kill();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_stopped
    }

    /// Hands over a child that was just started.
    fn begin(&self, mut child: Child) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped {
            let _ = child.kill();
        }
        state.child = Some(child);
    }

    /// Waits for the child, which has closed its output.
    fn end(&self) -> Option<ExitStatus> {
        // Taken out first, so that a task that wants to stop it does not wait for the
        // lock.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = state.child.take();
        drop(state);
        child?.wait().ok()
    }
}

/// Has a child compile a module.
///
/// # Errors
///
/// [`LoadError`]: what the child says of the module, or the limit that it met.
pub(super) fn compile(
    compiler: &ChildCompiler,
    engine: &wasmtime::Engine,
    settings: CompileSettings,
    wasm: &[u8],
    stop: &Stop,
) -> Result<Vec<u8>, LoadError> {
    let fingerprint = translate::fingerprint(engine);
    let order = Order {
        parent: std::process::id(),
        fingerprint,
        is_enclave: settings.is_enclave,
        engine_memory_bytes: settings.memory_max_bytes,
        memory_max_bytes: compiler.memory_max_bytes,
        time_max_seconds: compiler.time_max.as_secs().max(1),
    };
    let answer = converse(compiler, &order.encode(), wasm, stop).map_err(|error| {
        warn!(%error, command = ?compiler.command, "cannot start the compiler");
        LoadError::Compiler
    })?;
    if stop.is_stopped() {
        return Err(LoadError::Stopping);
    }
    let is_success = answer.status.is_some_and(|status| status.success());
    if is_success && answer.fingerprint == fingerprint && !answer.code.is_empty() {
        return Ok(answer.code);
    }
    Err(compiler.explain(&answer))
}

/// What a child has printed, and how it ended.
struct Answer {
    fingerprint: [u8; 8],
    code: Vec<u8>,
    message: String,
    status: Option<ExitStatus>,
}

fn converse(
    compiler: &ChildCompiler,
    order: &[u8],
    wasm: &[u8],
    stop: &Stop,
) -> std::io::Result<Answer> {
    let (program, arguments) = compiler
        .command
        .split_first()
        .ok_or_else(|| std::io::Error::other("the command is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    stop.begin(child);
    let (Some(mut input), Some(output), Some(messages)) = pipes else {
        stop.stop();
        stop.end();
        return Err(std::io::Error::other("a pipe is missing"));
    };
    let read = thread::scope(|scope| {
        // Beside all else: a child whose pipe is full waits until it is read.
        let reader = thread::Builder::new().name("compiler-says".to_owned());
        let reader = reader.spawn_scoped(scope, move || read_message(messages))?;
        // A child that ends early does not read all; its end tells why.
        let _ = input.write_all(order).and_then(|()| input.write_all(wasm));
        drop(input);
        let printed = read_code(output);
        if printed.is_err() {
            stop.stop();
        }
        let message = reader.join().unwrap_or_default();
        std::io::Result::Ok((printed.unwrap_or_default(), message))
    });
    if read.is_err() {
        stop.stop();
    }
    let status = stop.end();
    let ((fingerprint, code), message) = read?;
    Ok(Answer {
        fingerprint,
        code,
        message,
        status,
    })
}

/// Reads what a child prints: the fingerprint of its engine, then native code.
/// One that has failed prints neither.
fn read_code(output: impl Read) -> std::io::Result<([u8; 8], Vec<u8>)> {
    let mut output = output.take(COMPILED_BYTES_MAX);
    let mut fingerprint = [0; 8];
    let mut code = Vec::new();
    match output.read_exact(&mut fingerprint) {
        Ok(()) => {
            output.read_to_end(&mut code)?;
        }
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error),
    }
    Ok((fingerprint, code))
}

/// Reads a message to its end, and keeps its beginning.
fn read_message(mut messages: impl Read) -> String {
    let mut kept = Vec::new();
    let mut beginning = messages.by_ref().take(MESSAGE_BYTES_MAX as u64);
    // What was read before a failure says something, too.
    let _ = beginning.read_to_end(&mut kept);
    let _ = std::io::copy(&mut messages, &mut std::io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

impl ChildCompiler {
    /// Which limit a child met, or what else went wrong.
    fn explain(&self, answer: &Answer) -> LoadError {
        let Some(status) = answer.status else {
            return LoadError::Compiler;
        };
        if status.code() == Some(EXIT_INVALID.into()) {
            return LoadError::Invalid(answer.message.clone());
        }
        if status.code() == Some(EXIT_MEMORY.into()) {
            return LoadError::CompileMemory(self.memory_max_bytes >> 20);
        }
        let ended_by = status.signal();
        let is = |signal: Signal| ended_by == Some(signal.as_raw());
        if is(Signal::XCPU) {
            return LoadError::CompileTime(self.time_max.as_secs().max(1));
        }
        // Who cannot allocate aborts; who is killed although nobody here did it
        // has met the kernel, whose reason is memory.
        let is_out_of_memory = answer.message.contains("memory allocation of");
        if is(Signal::KILL) || (is(Signal::ABORT) && is_out_of_memory) {
            return LoadError::CompileMemory(self.memory_max_bytes >> 20);
        }
        warn!(%status, message = answer.message, "the compiler failed");
        LoadError::Compiler
    }
}
