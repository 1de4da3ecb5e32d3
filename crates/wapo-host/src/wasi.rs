//! WASI as a guest sees it: clocks, randomness, arguments, environment, and
//! standard output as lines in the app's log. No files, no sockets.
//!
//! Everything else is wasmtime's, behind the bounds of `imports`. Waiting calls
//! suspend the instance. Called when an instance is made.

mod imports;

pub(crate) use imports::add_to_linker;

use wapo_abi::message::LogLevel;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::embedder::LogSource;
use crate::instance::InstanceConfig;
use crate::logs::Logger;
use crate::output::LogStream;

/// The WASI side of an instance.
pub(crate) fn context(config: &InstanceConfig, logger: &Logger) -> WasiP1Ctx {
    let stream = |source, level| LogStream::new(logger.clone(), source, level);
    WasiCtxBuilder::new()
        .args(&config.args)
        .envs(&config.env)
        .stdout(stream(LogSource::Stdout, LogLevel::Info))
        .stderr(stream(LogSource::Stderr, LogLevel::Warn))
        .allow_tcp(false)
        .allow_udp(false)
        .build_p1()
}
