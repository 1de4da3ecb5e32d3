//! How a program ends: what it has printed is flushed, and an error that the
//! main function returned is told to its reader.
//!
//! Called by the executor and by what [`crate::main`] generates.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::io::{self, Write as _};
use std::ops::Deref;

use wapo_abi::message::LogLevel;

use crate::error::Error;
use crate::sys;

/// Exit code of a program whose main function returned an error.
const FAILURE: i32 = 1;

thread_local! {
    /// What was tried when a call failed last.
    static LAST_FAILURE: RefCell<Option<(Error, String)>> = const { RefCell::new(None) };
}

/// Writes out what standard output holds back.
pub(crate) fn flush() {
    // A reader who does not want it has nowhere to say so.
    let _ = io::stdout().flush();
}

/// Keeps what was tried, for the case that the error ends the program: it is a
/// number, and a number does not tell which port or host was meant.
pub(crate) fn failed_to(error: Error, attempt: impl FnOnce() -> String) -> Error {
    LAST_FAILURE.set(Some((error, attempt())));
    error
}

/// Forgets what was tried: another call has failed since.
pub(crate) fn forget() {
    // A handle may be closed, in vain, when the thread's own values are gone.
    let _ = LAST_FAILURE.try_with(RefCell::take);
}

/// What a main function returned.
#[derive(Debug)]
pub struct Returned<T>(pub T);

/// What a main function may return, by how much can be said about it.
///
/// The attribute calls `end` on four references to a [`Returned`]; the
/// compiler takes the implementation for the most references that fits.
#[diagnostic::on_unimplemented(
    message = "`#[wapo::main]` takes a function that returns nothing or a `Result<(), E>`",
    label = "a main function returns nothing or a `Result<(), E>` with `E: Debug`"
)]
pub trait MainOutput {
    /// Ends the program when it failed.
    fn end(&self);
}

impl MainOutput for Returned<()> {
    fn end(&self) {}
}

impl<E: Debug> MainOutput for Returned<Result<(), E>> {
    fn end(&self) {
        if let Err(error) = &self.0 {
            fail(&format!("{error:?}"));
        }
    }
}

/// As [`MainOutput`], for errors that can be shown.
pub trait DisplayOutput {
    /// Ends the program when it failed.
    fn end(&self);
}

impl<E: Display> DisplayOutput for &Returned<Result<(), E>> {
    fn end(&self) {
        if let Err(error) = &self.0 {
            fail(&error.to_string());
        }
    }
}

/// As [`MainOutput`], for boxes around errors.
pub trait BoxedErrorOutput {
    /// Ends the program when it failed.
    fn end(&self);
}

impl<E> BoxedErrorOutput for &&Returned<Result<(), E>>
where
    E: Deref,
    E::Target: StdError + 'static,
{
    fn end(&self) {
        if let Err(error) = &self.0 {
            fail(&chain(error.to_string(), error.source()));
        }
    }
}

/// As [`MainOutput`], for errors.
pub trait ErrorOutput {
    /// Ends the program when it failed.
    fn end(&self);
}

impl<E: StdError + 'static> ErrorOutput for &&&Returned<Result<(), E>> {
    fn end(&self) {
        if let Err(error) = &self.0 {
            fail(&chain(error.to_string(), error.source()));
        }
    }
}

/// An error with what caused it, on one line.
fn chain(mut text: String, mut source: Option<&(dyn StdError + 'static)>) -> String {
    while let Some(error) = source {
        let cause = error.to_string();
        // Many errors say their cause themselves.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// The text with what was tried before the error that it ends with, when that
/// is the host's last failure.
fn with_attempt(text: &str) -> String {
    LAST_FAILURE.with_borrow(|last| {
        let Some((error, attempt)) = last else {
            return text.to_owned();
        };
        let number = [error.to_string(), format!("{error:?}")];
        match number
            .iter()
            .find_map(|number| text.strip_suffix(number.as_str()))
        {
            Some(before) if !text.contains(attempt.as_str()) => {
                format!("{before}{attempt}: {error}")
            }
            _ => text.to_owned(),
        }
    })
}

fn fail(text: &str) -> ! {
    flush();
    // If the log fails there is nowhere to say so.
    let text = format!("main returned: {}", with_attempt(text));
    let _ = sys::calls::log(LogLevel::Error, &text);
    sys::runtime::destruct();
    std::process::exit(FAILURE)
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use wapo_abi::Errno;

    use super::*;
    use crate::sys::calls;
    use crate::sys::fake::{self, Answer};

    #[derive(Debug)]
    struct Outer(io::Error, bool);

    impl Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.1 {
                true => write!(f, "no start: {}", self.0),
                false => f.write_str("no start"),
            }
        }
    }

    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        for says_cause in [false, true] {
            let error = Outer(Error::FORBIDDEN.into(), says_cause);
            assert_eq!(
                chain(error.to_string(), error.source()),
                "no start: forbidden by policy"
            );
        }
    }

    #[test]
    fn the_last_failure_is_told_with_its_own_error_only() {
        failed_to(Error::FORBIDDEN, || "cannot listen on 1.2.3.4:5".to_owned());
        for (text, told) in [
            (
                "forbidden by policy",
                "cannot listen on 1.2.3.4:5: forbidden by policy",
            ),
            (
                "Error::FORBIDDEN",
                "cannot listen on 1.2.3.4:5: forbidden by policy",
            ),
            (
                "no start: forbidden by policy",
                "no start: cannot listen on 1.2.3.4:5: forbidden by policy",
            ),
            ("not found", "not found"),
        ] {
            assert_eq!(with_attempt(text), told);
        }
        let told = with_attempt("cannot listen on 1.2.3.4:5: forbidden by policy");
        assert_eq!(with_attempt(&told), told, "once");
    }

    #[test]
    fn what_was_tried_is_not_told_of_a_later_failure_with_the_same_number() {
        fake::install();
        let pending = || calls::poll_res(1, 2).expect_err("pending");
        failed_to(Error::FORBIDDEN, || "cannot listen on 1.2.3.4:5".to_owned());
        assert_eq!(pending(), Error::PENDING);
        assert_eq!(
            with_attempt("forbidden by policy"),
            "cannot listen on 1.2.3.4:5: forbidden by policy"
        );
        fake::answer("tcp_accept", Answer::Fails(Errno::FORBIDDEN));
        assert_eq!(calls::tcp_accept(1, 2), Err(Error::FORBIDDEN));
        assert_eq!(with_attempt("forbidden by policy"), "forbidden by policy");
    }
}
