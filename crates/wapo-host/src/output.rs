//! Standard output and error of a guest, as lines of the app's log.
//!
//! Complete to the last byte: a long line goes out in pieces that can be put
//! together again, and what is unfinished at the end is a line, too. Made by
//! `wasi`; `logs` decides what passes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wapo_abi::message::LogLevel;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::embedder::LogSource;
use crate::limits::LOG_LINE_BYTES_MAX;
use crate::logs::{Logger, seam};

/// Standard output or error: bytes in, lines of the log out.
#[derive(Clone)]
pub(crate) struct LogStream {
    logger: Logger,
    source: LogSource,
    level: LogLevel,
    /// The line that is not finished yet.
    line: Arc<Mutex<Vec<u8>>>,
}

impl LogStream {
    pub(crate) fn new(logger: Logger, source: LogSource, level: LogLevel) -> Self {
        Self {
            logger,
            source,
            level,
            line: Arc::default(),
        }
    }

    fn accept(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.split_last() {
                Some((b'\n', rest)) => {
                    self.extend(&mut line, rest);
                    self.emit(line.strip_suffix(b"\r").unwrap_or(&line));
                    line.clear();
                }
                _ => self.extend(&mut line, part),
            }
        }
    }

    /// Adds to the unfinished line. A guest that never ends one must not grow
    /// the host, so a long one goes out in pieces.
    fn extend(&self, line: &mut Vec<u8>, mut bytes: &[u8]) {
        // One byte beyond the limit shows whether a character ends at it.
        const ROOM: usize = LOG_LINE_BYTES_MAX + 1;
        while line.len() + bytes.len() > LOG_LINE_BYTES_MAX {
            let taken = ROOM.saturating_sub(line.len()).min(bytes.len());
            line.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let end = seam(line, LOG_LINE_BYTES_MAX);
            self.emit(&line[..end]);
            line.drain(..end);
        }
        line.extend_from_slice(bytes);
    }

    fn emit(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        self.logger.write(self.source, self.level, &text);
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        // The last owner says what the guest left unfinished.
        if Arc::strong_count(&self.line) == 1 {
            let line =
                std::mem::take(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner));
            if !line.is_empty() {
                self.emit(&line);
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
