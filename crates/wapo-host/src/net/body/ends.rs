//! Whether a body has ended, or its reader has left, without reading from it.
//!
//! With that an embedder can say in the head of an answer that no body follows, and a
//! guest learns that its answer is not wanted any more.

use std::task::{Context, Poll};

use super::{BodyReader, BodyWriter, End, remember};

impl BodyReader {
    /// Whether the body was read to its end and no trailers follow.
    pub fn is_at_end(&self) -> bool {
        let state = self.0.state();
        state.end == End::Finished && state.buffer.is_empty() && state.trailers.is_empty()
    }

    /// Waits until the body has ended, in whatever way, or there is something to
    /// read.
    ///
    /// # Cancel safety
    ///
    /// Takes nothing, so nothing is lost when the future is dropped.
    pub async fn ended(&mut self) {
        std::future::poll_fn(|cx| self.0.poll_readable(cx).map(drop)).await;
    }
}

impl BodyWriter {
    /// Waits until nobody reads the body any more, whether or not it has ended.
    pub(crate) fn poll_unread(&self, cx: &Context<'_>) -> Poll<()> {
        let state = self.0.state();
        if state.is_reader_gone {
            return Poll::Ready(());
        }
        remember(state, cx.waker(), |state| &mut state.watcher);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::super::BodyStream;
    use crate::budget::MemoryBudget;
    use crate::host_memory::HostMemory;

    #[tokio::test]
    async fn a_reader_that_leaves_is_heard_of_without_writing() {
        let memory = HostMemory::new(&MemoryBudget::new(None));
        let (left, mut right) = BodyStream::pair(&memory).expect("room");
        let watching = tokio::spawn(async move {
            poll_fn(|cx| right.writer().poll_unread(cx)).await;
            right
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!watching.is_finished(), "a reader exists");
        drop(left);
        let mut right = watching.await.expect("no panic");
        right.writer().finish();
        poll_fn(|cx| right.writer().poll_unread(cx)).await;
    }
}
