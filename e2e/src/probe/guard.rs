//! The calls by which a guest asks about itself.

use super::{Errno, Fast, Probe, SCRATCH};

impl Probe {
    /// 318
    pub async fn stack_left(&self) -> Fast {
        self.fast(318, [0; 4]).await
    }

    /// 319
    pub async fn limit_poll(&self, limit_ms: i32) -> Fast {
        self.fast(319, [limit_ms.cast_unsigned(), 0, 0, 0]).await
    }

    /// 320, into so many bytes of memory: what is there then.
    pub async fn cpu_time(&self, len: u32) -> Result<Vec<u8>, Errno> {
        self.fast(320, [SCRATCH, len, 0, 0]).await?;
        Ok(self.read(SCRATCH, len).await)
    }
}
