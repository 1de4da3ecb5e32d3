//! Blobs up and down, as streams: neither side holds a blob in memory.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Method as Verb;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::error::SourceFailure;
use super::{Client, ClientError};
use crate::limits::{CALL_TIMEOUT, TRANSFER_TIMEOUT, UPLOAD_CHUNK_BYTES};
use crate::message::Blob;

/// What to upload.
pub struct Upload {
    source: Pin<Box<dyn AsyncRead + Send>>,
    length: Option<u64>,
}

impl Upload {
    /// Bytes that are in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        let length = u64::try_from(bytes.len()).ok();
        Self {
            source: Box::pin(std::io::Cursor::new(bytes)),
            length,
        }
    }

    /// Whatever can be read, such as a file. A length that is given must be
    /// right.
    pub fn reader(source: impl AsyncRead + Send + 'static, length: Option<u64>) -> Self {
        Self {
            source: Box::pin(source),
            length,
        }
    }
}

impl Client {
    /// Stores a blob and answers with its full hash. Of the hash that is given,
    /// the digits may be missing (`sha256:`), and the worker computes them.
    /// `progress` hears how many bytes have been sent.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; the worker refuses content that has another hash.
    ///
    /// # Cancel safety
    ///
    /// A worker that has not got everything keeps nothing.
    pub async fn upload_blob(
        &self,
        hash: &str,
        upload: Upload,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<String, ClientError> {
        let body = UploadBody {
            source: upload.source,
            length: upload.length,
            sent: 0,
            buffer: BytesMut::new(),
            progress: Box::new(progress),
        };
        let request = self
            .transport
            .request(Verb::POST, &format!("/blob/{}", path_segment(hash)));
        let answer = self
            .transport
            .ask(request, body.boxed_unsync(), TRANSFER_TIMEOUT)
            .await?;
        let hash = String::from_utf8(answer.to_vec());
        let hash = hash.map_err(|_| self.transport.bad_answer("a hash that is no text"))?;
        Ok(hash.trim().to_owned())
    }

    /// Whether the worker has a blob.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub async fn has_blob(&self, hash: &str) -> Result<bool, ClientError> {
        let blob = Blob {
            hash: hash.to_owned(),
            body: Vec::new(),
        };
        Ok(self.blob_exists(blob).await?.value)
    }

    /// Writes a blob to `into` and answers how many bytes it has.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    ///
    /// # Cancel safety
    ///
    /// What was written stays written.
    pub async fn download_blob(
        &self,
        hash: &str,
        into: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ClientError> {
        let digits = hash.split_once(':').map_or(hash, |(_, digits)| digits);
        let request = self
            .transport
            .request(Verb::GET, &format!("/blob/{}", path_segment(digits)));
        let mut body = self.transport.open(request).await?.into_body();
        let mut bytes = 0;
        // Each part has its time limit: a large blob may take long as a whole.
        while let Some(frame) = self
            .transport
            .within(CALL_TIMEOUT, async {
                let frame = body.frame().await.transpose();
                frame.map_err(|error| self.transport.broken(&error))
            })
            .await?
        {
            if let Ok(data) = frame.into_data() {
                into.write_all(&data).await.map_err(ClientError::Copy)?;
                bytes += data.len() as u64;
            }
        }
        into.flush().await.map_err(ClientError::Copy)?;
        Ok(bytes)
    }
}

/// Keeps a hash that is none from becoming another path.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b':' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => segment.push(char::from(byte)),
            other => segment.push_str(&format!("%{other:02X}")),
        }
    }
    segment
}

/// Reads the source as fast as the connection takes it.
struct UploadBody {
    source: Pin<Box<dyn AsyncRead + Send>>,
    length: Option<u64>,
    sent: u64,
    buffer: BytesMut,
    progress: Box<dyn FnMut(u64) + Send>,
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = SourceFailure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceFailure>>> {
        let this = self.get_mut();
        this.buffer.reserve(UPLOAD_CHUNK_BYTES);
        // The future holds nothing between polls, so a new one each time is fine.
        let read = pin!(this.source.read_buf(&mut this.buffer)).poll(cx);
        match ready!(read) {
            Ok(0) => Poll::Ready(None),
            Ok(bytes) => {
                this.sent += bytes as u64;
                (this.progress)(this.sent);
                Poll::Ready(Some(Ok(Frame::data(this.buffer.split().freeze()))))
            }
            Err(error) => Poll::Ready(Some(Err(SourceFailure(error)))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.length.map(|length| length.saturating_sub(self.sent));
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_stays_one_segment_of_the_path() {
        assert_eq!(path_segment("sha256:00fF"), "sha256:00fF");
        assert_eq!(path_segment("../a?b#c"), "%2E%2E%2Fa%3Fb%23c");
    }
}
