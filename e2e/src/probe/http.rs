//! The calls of an HTTP exchange.

use parity_scale_codec::{Decode as _, Encode as _};

use super::{Errno, Fast, Probe};

/// Names and values.
pub type Fields = Vec<(String, String)>;

impl Probe {
    /// Takes the next request of an input channel: the handles of its answer
    /// and of its bodies.
    ///
    /// # Panics
    ///
    /// When there is no such channel.
    pub async fn next_exchange(&self, channel: u32) -> (u32, u32) {
        let message = self.poll(channel).await.expect("a request");
        let handle = |from_end: usize| {
            let at = message.len() - from_end;
            let bytes = message[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes)
        };
        (handle(8), handle(4))
    }

    /// 302
    pub async fn http_trailers(&self, stream: u32) -> Result<Fields, Errno> {
        let answer = self.slow(302, [stream, 0, 0, 0]).await?;
        Ok(Fields::decode(&mut answer.as_slice()).expect("fields"))
    }

    /// 303
    pub async fn http_finish(&self, stream: u32, trailers: &[(&str, &str)]) -> Fast {
        self.fast_with(303, &[stream], &trailers.encode()).await
    }

    /// 304
    pub async fn http_abort(&self, stream: u32) -> Fast {
        self.fast(304, [stream, 0, 0, 0]).await
    }

    /// 305
    pub async fn http_peer(&self, stream: u32) -> Result<Option<String>, Errno> {
        let answer = self.slow(305, [stream, 0, 0, 0]).await?;
        Ok(Option::decode(&mut answer.as_slice()).expect("an address or none"))
    }

    /// 321
    pub async fn http_unread(&self, stream: u32) -> Fast {
        self.wait(321, [stream, 0, 0]).await
    }
}
