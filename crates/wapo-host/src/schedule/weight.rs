//! How much of the CPU an app gets when instances compete.
//!
//! Shared by the instances of an app, and read by `drive` between two polls: it can
//! be changed while they run.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

/// Slices that an instance has in a row: three for a weight of 3.
#[derive(Debug)]
pub struct Weight(AtomicU32);

impl Weight {
    /// So many slices.
    pub fn new(weight: NonZeroU32) -> Self {
        Self(AtomicU32::new(weight.get()))
    }

    /// Slices in a row.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes it. A guest has it when its present poll has ended.
    pub fn set(&self, weight: NonZeroU32) {
        self.0.store(weight.get(), Ordering::Relaxed);
    }
}

impl Default for Weight {
    /// One slice.
    fn default() -> Self {
        Self::new(NonZeroU32::MIN)
    }
}
