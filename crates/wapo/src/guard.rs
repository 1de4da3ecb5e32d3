//! What a program may ask about itself: for interpreters and others that run what
//! they were given, and have to end it before the host ends the program.

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
}
