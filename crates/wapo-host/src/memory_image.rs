//! Makes the memory image of a module before its first instance starts.
//!
//! The image holds the module's data segments. The engine puts it into a file in memory,
//! seals the file against writes, and maps it into each instance. Linux refuses the seal
//! for a moment when something else of the kernel holds a page of the file, such as a
//! reclaim on a busy host. That is no fault of the program, so the seal is tried again.
//! Called by `drive`.

use std::time::Duration;

use tracing::debug;
use wasmtime::Module;

/// Most attempts to make an image.
///
/// The kernel itself waits up to some 150 ms for the page in each of them. A host where
/// ten of them fail is short of memory or of descriptors, and the start fails.
const ATTEMPTS_MAX: u32 = 10;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the image of a module, unless it is there.
///
/// # Errors
///
/// The last attempt's failure.
///
/// # Cancel safety
///
/// Cancel safe: the next call goes on.
pub(crate) async fn make(module: &Module) -> wasmtime::Result<()> {
    attempt(|| module.initialize_copy_on_write_image()).await
}

async fn attempt<E: std::fmt::Display>(mut make: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    for _ in 1..ATTEMPTS_MAX {
        match make() {
            Ok(()) => return Ok(()),
            Err(error) => debug!(%error, "the memory image is tried again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    make()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers the number of attempts, of which the first `failures` fail.
    async fn attempts(failures: u32) -> (Result<(), &'static str>, u32) {
        let mut seen = 0;
        let result = attempt(|| {
            seen += 1;
            if seen <= failures {
                Err("cannot add seals to the memfd")
            } else {
                Ok(())
            }
        });
        (result.await, seen)
    }

    #[tokio::test]
    async fn an_image_that_the_kernel_refuses_for_a_moment_is_tried_again() {
        assert_eq!(attempts(0).await, (Ok(()), 1));
        assert_eq!(attempts(ATTEMPTS_MAX - 1).await, (Ok(()), ATTEMPTS_MAX));
    }

    #[tokio::test]
    async fn an_image_that_is_always_refused_fails_with_its_reason() {
        let (result, seen) = attempts(u32::MAX).await;
        assert_eq!(result, Err("cannot add seals to the memfd"));
        assert_eq!(seen, ATTEMPTS_MAX);
    }
}
