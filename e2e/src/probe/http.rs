//! The calls of an HTTP exchange.

use parity_scale_codec::{Decode as _, Encode as _};

use super::{Errno, Fast, Probe, SCRATCH};

/// Names and values.
pub type Fields = Vec<(String, String)>;

/// A request as call 328 gives it.
#[derive(Debug, parity_scale_codec::Decode)]
pub struct NextRequest {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The fields of the head.
    pub fields: Fields,
    /// The handle that is read, written and answered with.
    pub exchange: u32,
    /// Whether there is something to read.
    pub has_body: bool,
}

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

    /// 328, with a buffer of this size: the length that it answers with, and what is in the
    /// buffer then.
    pub async fn http_next(&self, channel: u32, room: u32) -> Result<(u32, Vec<u8>), Errno> {
        let len = self.wait(328, [channel, SCRATCH, room]).await?;
        Ok((len, self.read(SCRATCH, len.min(room)).await))
    }

    /// The next request, which is no longer than those of tests are.
    ///
    /// # Panics
    ///
    /// When there is no such channel, or the request is longer.
    pub async fn next_request(&self, channel: u32) -> NextRequest {
        let (len, message) = self.http_next(channel, 4096).await.expect("a request");
        assert!(len <= 4096, "{len} bytes");
        let mut rest = message.as_slice();
        let request = NextRequest::decode(&mut rest).expect("an `HttpNext`");
        assert!(rest.is_empty(), "{rest:?} follows");
        request
    }

    /// 329
    pub async fn http_respond(&self, exchange: u32, rest: u32, answer: &[u8]) -> Fast {
        self.fast_with(329, &[exchange, rest], answer).await
    }
}
