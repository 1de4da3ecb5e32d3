//! What the embedder may ask about the end of a body without taking anything.
//!
//! Lets it say in the head of an answer that nothing follows.

use super::{BodyReader, End};

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
