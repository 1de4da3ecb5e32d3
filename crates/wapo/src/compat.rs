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
#[cfg(any(feature = "hyper", feature = "hyper-v0"))]
#[deprecated(note = "use `wapo::hyper`")]
pub mod hyper_rt;
#[cfg(feature = "hyper-v0")]
#[deprecated(note = "use hyper 1 with `wapo::hyper`")]
pub mod hyper_v0;

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
        Breath::new(false)
    }

    /// The future of [`breath`].
    #[deprecated(note = "use `wapo::task::yield_now`")]
    #[derive(Debug)]
    pub struct Breath(bool);

    impl Breath {
        /// Yields once, or not at all when `ready`.
        pub fn new(ready: bool) -> Self {
            Self(ready)
        }
    }

    impl Future for Breath {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
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
    use std::future::{Future, poll_fn};
    use std::pin::pin;

    use crate::log::Logger;

    impl Logger {
        /// Makes this the program's logger, if there is none yet.
        #[deprecated(note = "use `wapo::log::init` or `Logger::init`")]
        pub fn init_static(self) {
            // Fails only when there is a logger already, which is then used.
            let _ = self.init();
        }
    }

    /// Logs each poll of a future at trace level.
    #[deprecated(note = "use `wapo::spawn_named`, or log inside the future")]
    pub async fn log_polling<F: Future>(label: impl Display, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let outcome = future.as_mut().poll(cx);
            ::log::trace!("polled {label}: ready is {}", outcome.is_ready());
            outcome
        })
        .await
    }
}

/// Deprecated names of [`crate::net`].
pub(crate) mod net {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use crate::error::Result;
    use crate::handle::Handle;
    use crate::net::{Attempt, TcpStream};

    #[cfg(feature = "hyper-v0")]
    pub use super::hyper_v0;

    /// hyper 1 over our streams.
    #[cfg(feature = "hyper")]
    #[deprecated(note = "use `wapo::hyper`")]
    pub mod hyper_v1 {
        pub use crate::hyper::{HttpConnecting, HttpConnector};
    }

    impl TcpStream {
        /// Connects, with TLS by the host when `tls` is set.
        #[deprecated(note = "use `wapo::net::connect` or `wapo::net::connect_tls`")]
        pub fn connect(host: impl AsRef<str>, port: u16, tls: bool) -> TcpConnector {
            TcpConnector(Attempt::start(host.as_ref(), port, tls))
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

    impl Future for TcpConnector {
        type Output = Result<TcpStream>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            match &self.0 {
                Ok(attempt) => attempt.poll(cx),
                Err(error) => Poll::Ready(Err(*error)),
            }
        }
    }
}

/// The log under its old name.
#[deprecated(note = "use `wapo::log`")]
pub mod logger {
    pub use crate::log::{Filter, Logger, init, log_polling};
}

/// Host calls as plain functions.
#[deprecated(note = "use the modules of `wapo`; the calls are in `docs/abi.md`")]
pub mod ocall {
    use std::borrow::Cow;

    use wapo_abi::message::TlsServerConfig;

    use crate::sys::calls;
    pub use crate::sys::calls::*;

    /// Listens on a literal `ip:port`.
    ///
    /// # Errors
    ///
    /// As [`crate::net::TcpListener::bind_tls`].
    pub fn tcp_listen(
        addr: Cow<'_, str>,
        tls: Option<TlsServerConfig>,
    ) -> crate::error::Result<i32> {
        calls::tcp_listen(addr.into_owned(), tls)
    }
}

/// Owns a host resource by its number; dropping it closes the resource.
#[deprecated(note = "use the types of `wapo::net` and `wapo::time`, which own theirs")]
pub type ResourceId = crate::handle::Handle;

/// The variants that errors had in Wapo 0.x.
#[allow(
    non_upper_case_globals,
    reason = "old names; they were variants of an enum"
)]
mod variants {
    use crate::error::Error;
    use wapo_abi::Errno;

    macro_rules! variants {
        ($($old:ident = $new:ident;)*) => {
            impl Error {$(
                #[doc = concat!("`Errno::", stringify!($new), "` under its old name.")]
                #[deprecated(note = "use the constant in capitals, or `Error::code`")]
                pub const $old: Self = Self::from_errno(Errno::$new);
            )*}
        };
    }

    variants! {
        Ok = OK;
        UnknownCallNumber = UNKNOWN_CALL_NUMBER;
        InvalidAddress = INVALID_ADDRESS;
        InvalidParameter = INVALID_PARAMETER;
        InvalidEncoding = INVALID_ENCODING;
        NoMemory = NO_MEMORY;
        NotFound = NOT_FOUND;
        UnsupportedOperation = UNSUPPORTED_OPERATION;
        IoError = IO_ERROR;
        ResourceLimited = RESOURCE_LIMITED;
        Pending = PENDING;
        EndOfFile = END_OF_FILE;
        GasExhausted = GAS_EXHAUSTED;
        Stifled = STIFLED;
        AlreadyExists = ALREADY_EXISTS;
        DataCorruption = DATA_CORRUPTION;
        Forbiden = FORBIDDEN;
        ConditionError = CONDITION_ERROR;
    }
}
