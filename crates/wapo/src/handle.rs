//! A host resource that is closed when it is dropped.
//!
//! Every type of this crate that stands for something on the host (a stream, a
//! timer, a listener) holds one. Apps never see it, except through
//! [`crate::ResourceId`], which programs for Wapo 0.x use.

use crate::sys;

/// Owns a handle: dropping it closes the resource.
///
/// The number is public because programs for Wapo 0.x write `ResourceId(3).0`.
#[derive(Debug, PartialEq, Eq)]
pub struct Handle(pub i32);

impl Handle {
    /// The number the host knows it by.
    pub(crate) const fn get(&self) -> i32 {
        self.0
    }
}

impl From<i32> for Handle {
    fn from(number: i32) -> Self {
        Self(number)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Nothing can be done about a handle that is already gone.
        let _ = sys::calls::close(self.0);
    }
}
