//! The calls by which a guest asks about itself.

use super::{Fast, Probe};

impl Probe {
    /// 318
    pub async fn stack_left(&self) -> Fast {
        self.fast(318, [0; 4]).await
    }
}
