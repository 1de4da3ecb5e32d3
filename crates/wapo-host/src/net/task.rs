//! A task of the host on behalf of a guest, ended by its owner.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A task that goes on whether or not it is polled; dropping it ends the task.
pub(crate) struct OwnedTask<T>(JoinHandle<T>);

impl<T: Send + 'static> OwnedTask<T> {
    pub(crate) fn spawn(
        runtime: &Handle,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        Self(runtime.spawn(future))
    }

    /// The outcome of the task, once.
    ///
    /// # Errors
    ///
    /// When the runtime ended the task.
    pub(crate) fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        Pin::new(&mut self.0).poll(cx).map_err(io::Error::other)
    }
}

impl<T> Drop for OwnedTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
