//! hyper's executor, timer and I/O adapter under their names of Wapo 0.x.

use std::future::Future;

#[cfg(feature = "hyper")]
pub use crate::hyper::{Io as HyperTokioIo, Timer as HyperTimer};

/// Runs hyper's background work as tasks of the guest.
#[derive(Clone, Copy, Default, Debug)]
pub struct HyperExecutor;

#[cfg(feature = "hyper")]
impl<F> hyper::rt::Executor<F> for HyperExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(crate::spawn(future));
    }
}

#[cfg(feature = "hyper-v0")]
impl<F> ::hyper_v0::rt::Executor<F> for HyperExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(crate::spawn(future));
    }
}
