//! WASI as a guest sees it: clocks, randomness, arguments, environment, and
//! standard output as lines in the app's log. No files, no sockets.
//!
//! Everything else is wasmtime's, behind the bounds of `imports`. Waiting calls
//! suspend the instance. Called when an instance is made.

mod imports;

pub(crate) use imports::add_to_linker;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wapo_abi::message::LogLevel;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::embedder::LogSource;
use crate::instance::InstanceConfig;
use crate::limits::LOG_LINE_BYTES_MAX;
use crate::logs::Logger;

/// The WASI side of an instance.
pub(crate) fn context(config: &InstanceConfig, logger: &Logger) -> WasiP1Ctx {
    let stream = |source, level| LogStream {
        logger: logger.clone(),
        source,
        level,
        line: Arc::default(),
    };
    WasiCtxBuilder::new()
        .args(&config.args)
        .envs(&config.env)
        .stdout(stream(LogSource::Stdout, LogLevel::Info))
        .stderr(stream(LogSource::Stderr, LogLevel::Warn))
        .allow_tcp(false)
        .allow_udp(false)
        .build_p1()
}

/// Standard output or error: bytes in, lines of the log out.
#[derive(Clone)]
struct LogStream {
    logger: Logger,
    source: LogSource,
    level: LogLevel,
    /// The line that is not finished yet.
    line: Arc<Mutex<Vec<u8>>>,
}

impl LogStream {
    fn accept(&self, mut bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&bytes[..end]);
            self.emit(&mut line);
            bytes = &bytes[end + 1..];
        }
        line.extend_from_slice(bytes);
        // A guest that never ends a line must not grow the host.
        if line.len() >= LOG_LINE_BYTES_MAX {
            self.emit(&mut line);
        }
    }

    fn emit(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        self.logger
            .write(self.source, self.level, text.trim_end_matches('\r'));
        line.clear();
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        // The last owner says what the guest left unfinished.
        if Arc::strong_count(&self.line) == 1 {
            let mut line =
                std::mem::take(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner));
            if !line.is_empty() {
                self.emit(&mut line);
            }
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.accept(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LOG_LINE_BYTES_MAX)
    }
}

impl Pollable for LogStream {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.accept(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
