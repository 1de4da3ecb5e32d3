//! Names of Wapo 0.x, so that programs written for it compile unchanged.
//!
//! Everything here is deprecated and says what to use. The rest of the crate
//! re-exports these items at their old paths and depends on none of them; a
//! program that compiles without deprecation warnings does not touch this
//! file. Where 0.x panicked, these end or fail instead.

#![allow(
    deprecated,
    reason = "old items mention each other; the warnings are for their users"
)]

#[deprecated(note = "use `wapo::query` and `wapo::http`")]
pub mod channel;
#[deprecated(note = "use `wapo::Error`, `wapo::Result` and the modules of `wapo`")]
pub mod env;
mod errors;
#[cfg(any(feature = "hyper", feature = "hyper-v0"))]
#[deprecated(note = "use `wapo::hyper`")]
pub mod hyper_rt;
#[cfg(feature = "hyper-v0")]
#[deprecated(note = "use hyper 1 with `wapo::hyper`")]
pub mod hyper_v0;
#[cfg(feature = "hyper")]
#[deprecated(note = "use `wapo::hyper`")]
pub mod hyper_v1;

/// Deprecated names of [`crate::task`].
pub(crate) mod tasks {
    use std::task::Waker;

    /// Gives a waker a number for a hand-made host call.
    #[deprecated(note = "use the futures of `wapo::net` and `wapo::time`")]
    pub fn intern_waker(waker: Waker) -> i32 {
        crate::task::intern(waker)
    }

    /// Polls a program that `#[wapo::main]` has started.
    #[deprecated(note = "use `wapo::task::poll_program`")]
    pub fn wapo_poll() -> i32 {
        crate::task::poll_again()
    }
}

/// Deprecated names of [`crate::time`].
pub(crate) mod time {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Yields once.
    #[deprecated(note = "use `wapo::task::yield_now`")]
    pub fn breath() -> Breath {
        Breath::new(true)
    }

    /// The future of [`breath`].
    #[deprecated(note = "use `wapo::task::yield_now`")]
    #[derive(Debug)]
    pub struct Breath {
        yields: bool,
    }

    impl Breath {
        /// Yields once when `yields`, or not at all.
        pub fn new(yields: bool) -> Self {
            Self { yields }
        }
    }

    impl Future for Breath {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if !std::mem::take(&mut self.yields) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

/// Deprecated names of [`crate::log`].
pub(crate) mod log {
    use std::fmt::Display;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use ::log::LevelFilter;

    use crate::log::Logger;

    impl Logger {
        /// A logger for everything up to a level.
        #[deprecated(note = "use `Logger::new`, for instance `Logger::new(\"info\")`")]
        pub fn with_max_level(level: LevelFilter) -> Self {
            Self::new(level.as_str())
        }

        /// Makes this the program's logger, if there is none yet.
        #[deprecated(note = "use `wapo::log::init` or `Logger::init`")]
        pub fn init_static(self) {
            // Fails only when there is a logger already, which is then used.
            let _ = self.init();
        }
    }

    /// Logs each poll of a future at trace level.
    #[deprecated(note = "use `wapo::spawn_named`, or log inside the future")]
    pub fn log_polling<F: Future>(label: impl Display, future: F) -> LogFuture<F> {
        LogFuture {
            label: label.to_string(),
            future: Box::pin(future),
        }
    }

    /// The future of [`log_polling`].
    #[deprecated(note = "use `wapo::spawn_named`, or log inside the future")]
    #[derive(Debug)]
    pub struct LogFuture<F> {
        label: String,
        future: Pin<Box<F>>,
    }

    impl<F: Future> Future for LogFuture<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let outcome = self.future.as_mut().poll(cx);
            ::log::trace!("polled {}: ready is {}", self.label, outcome.is_ready());
            outcome
        }
    }
}

/// Deprecated names of [`crate::net`].
pub(crate) mod net {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use crate::error::Result;
    use crate::handle::Handle;
    use crate::net::{Attempt, TcpStream, failure};

    #[cfg(feature = "hyper-v0")]
    pub use super::hyper_v0::{self, AddrIncoming, AddrStream, HttpConnector};
    #[cfg(feature = "hyper")]
    pub use super::hyper_v1;

    impl TcpStream {
        /// Connects, with TLS by the host when `tls` is set.
        #[deprecated(note = "use `wapo::net::connect` or `wapo::net::connect_tls`")]
        pub fn connect(host: impl AsRef<str>, port: u16, tls: bool) -> TcpConnector {
            let attempt = Attempt::start(host.as_ref(), port, tls);
            TcpConnector(attempt.map_err(|error| failure::remember(failure::NO_HANDLE, error)))
        }

        /// Takes over a stream by its number.
        #[deprecated(note = "use `wapo::net::connect` or `TcpListener::accept`")]
        pub fn new(resource: Handle) -> Self {
            // The kind of stream is unknown, so flushing asks the host.
            Self::from_handle(resource, true)
        }
    }

    /// The future of [`TcpStream::connect`].
    #[deprecated(note = "use `wapo::net::connect` or `wapo::net::connect_tls`")]
    #[derive(Debug)]
    pub struct TcpConnector(Result<Attempt>);

    impl TcpConnector {
        /// An attempt, or why there is none.
        pub(crate) fn new(attempt: Result<Attempt>) -> Self {
            Self(attempt)
        }
    }

    impl Future for TcpConnector {
        type Output = Result<TcpStream>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            match &self.0 {
                Ok(attempt) => {
                    let outcome = attempt.poll(cx);
                    outcome.map_err(|error| failure::remember(attempt.handle(), error))
                }
                Err(error) => Poll::Ready(Err(*error)),
            }
        }
    }
}

/// The log under its old name.
#[deprecated(note = "use `wapo::log`")]
pub mod logger {
    pub use crate::log::{Filter, LogFuture, Logger, init, log_polling};
}

/// Host calls as plain functions.
#[deprecated(note = "use the modules of `wapo`; the calls are in `docs/abi.md`")]
pub mod ocall {
    use std::borrow::Cow;

    use wapo_abi::WakeCode;
    use wapo_abi::message::{LogLevel, TlsServerConfig};

    use crate::error::Result;
    use crate::sys::calls;
    pub use crate::sys::calls::*;

    /// Reads from a stream, or waits for a timer.
    ///
    /// # Errors
    ///
    /// As the call.
    pub fn poll_read(waker: i32, handle: i32, buffer: &mut [u8]) -> Result<u32> {
        calls::poll_read(waker, handle, buffer).map(count)
    }

    /// Writes to a stream.
    ///
    /// # Errors
    ///
    /// As the call.
    pub fn poll_write(waker: i32, handle: i32, data: &[u8]) -> Result<u32> {
        calls::poll_write(waker, handle, data).map(count)
    }

    /// A number of bytes; guests have no more than 32 bits of them.
    fn count(size: usize) -> u32 {
        u32::try_from(size).unwrap_or(u32::MAX)
    }

    /// The wakers that were woken, or released (`-1 - number`).
    ///
    /// # Errors
    ///
    /// As the call.
    pub fn awake_wakers() -> Result<Vec<i32>> {
        let codes = calls::awake_wakers()?;
        Ok(codes.into_iter().map(WakeCode::to_i32).collect())
    }

    /// Writes a line to the app's log.
    ///
    /// # Errors
    ///
    /// As the call.
    pub fn log(level: ::log::Level, message: &str) -> Result<()> {
        let level = match level {
            ::log::Level::Error => LogLevel::Error,
            ::log::Level::Warn => LogLevel::Warn,
            ::log::Level::Info => LogLevel::Info,
            ::log::Level::Debug => LogLevel::Debug,
            ::log::Level::Trace => LogLevel::Trace,
        };
        calls::log(level, message)
    }

    /// Listens on a literal `ip:port`.
    ///
    /// # Errors
    ///
    /// As [`crate::net::TcpListener::bind_tls`].
    pub fn tcp_listen(addr: Cow<'_, str>, tls: Option<TlsServerConfig>) -> Result<i32> {
        calls::tcp_listen(addr.into_owned(), tls)
    }
}
