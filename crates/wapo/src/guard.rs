//! What a program may ask about itself: for interpreters and others that run what
//! they were given, and have to end it before the host ends the program.

use std::time::Duration;

use crate::error::Result;
use crate::sys::calls;

/// Bytes of the host's stack that the program may still use in the present poll.
///
/// Calls use it, beside the stack in the program's own memory; who recurses on with
/// nothing left ends the program. The answer is never more than there is, and takes
/// some nanoseconds. Leave enough for what is called without asking: 32 KiB are
/// plenty for library code.
///
/// # Errors
///
/// Only when there is no host, or one that does not know the call.
///
/// ```no_run
/// # fn evaluate(_: &str) -> Result<(), &'static str> {
/// if wapo::guard::stack_left().is_ok_and(|left| left < 32 * 1024) {
///     return Err("too much recursion");
/// }
/// # Ok(())
/// # }
/// ```
pub fn stack_left() -> Result<usize> {
    calls::stack_left()
}

/// Sets an alarm for this program: when one poll computes for longer than this, the
/// host ends the instance and starts a fresh one.
///
/// Rounded up to milliseconds; nothing switches it off. It holds for the present poll
/// and all that follow, until the instance ends. What the program waits is not
/// counted, and neither is the time for which others have its processor. For programs
/// that run what may not come back, such as a script that catches every exception:
/// set it a little above the limit that the program enforces itself. Requests that
/// the program had taken fail, at the gateway with 503; those that waited go to the
/// fresh instance. It starts at once if this one had answered a request, or ran for a
/// second, else after a pause as after a crash, and not at all where the app is never
/// restarted.
///
/// # Errors
///
/// Only when there is no host, or one that does not know the call.
pub fn limit_poll(limit: Option<Duration>) -> Result<()> {
    let ms = limit.map_or(0, |limit| limit.as_nanos().div_ceil(1_000_000).max(1));
    calls::limit_poll(i32::try_from(ms).unwrap_or(i32::MAX))
}

/// Time for which this instance has computed, the present poll included. It is counted
/// from the instance's first call of this or of [`limit_poll`] on.
///
/// What the program waits is not counted, and neither is the time for which others have
/// its processor. Takes some ten to some hundred nanoseconds.
///
/// # Errors
///
/// Only when there is no host, or one that does not know the call.
pub fn cpu_time() -> Result<Duration> {
    let mut nanoseconds = [0; size_of::<u64>()];
    calls::cpu_time(&mut nanoseconds)?;
    Ok(Duration::from_nanos(u64::from_le_bytes(nanoseconds)))
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use crate::sys::fake::{self, Answer};

    #[test]
    fn the_host_is_asked_how_much_stack_is_left() {
        fake::install();
        fake::answer("stack_left", Answer::Value(40_000));
        assert_eq!(stack_left(), Ok(40_000));
    }

    #[test]
    fn a_limit_travels_in_milliseconds_and_is_never_rounded_to_none() {
        fake::install();
        let limits = [
            (None, 0),
            (Some(Duration::ZERO), 1),
            (Some(Duration::from_micros(1_001)), 2),
            (Some(Duration::from_secs(11)), 11_000),
            (Some(Duration::MAX), i32::MAX as usize),
        ];
        for (limit, ms) in limits {
            limit_poll(limit).expect("a host");
            assert_eq!(fake::calls("limit_poll")[0].slots[0], ms);
        }
    }

    #[test]
    fn the_time_is_read_as_the_host_writes_it() {
        fake::install();
        let time = Duration::from_nanos(0x0102_0304_0506_0708);
        let bytes = vec![8, 7, 6, 5, 4, 3, 2, 1];
        fake::answer("cpu_time", Answer::Bytes(bytes));
        assert_eq!(cpu_time(), Ok(time));
    }
}
