//! Where the worker is reached.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::ContentType;

use super::Statement;

/// Where the worker is reached, and since when.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WorkerEndpointPayload {
    /// The worker's public key.
    pub pubkey: [u8; 32],
    /// The addresses.
    pub endpoints: Endpoints,
    /// When this was signed, in milliseconds since 1970.
    pub signing_time: u64,
}

/// Addresses of a worker, in whichever version.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "derived code narrows the index"
)]
pub enum Endpoints {
    /// URLs.
    #[codec(index = 0)]
    V1(Vec<String>),
}

impl WorkerEndpointPayload {
    /// Says that the worker with this key is reached at these URLs.
    pub fn new(pubkey: [u8; 32], urls: Vec<String>, signing_time_ms: u64) -> Self {
        Self {
            pubkey,
            endpoints: Endpoints::V1(urls),
            signing_time: signing_time_ms,
        }
    }
}

impl Statement for WorkerEndpointPayload {
    const CONTENT_TYPE: ContentType = ContentType::EndpointInfo;
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[test]
    fn endpoints_are_the_documented_layout() {
        let payload = WorkerEndpointPayload::new([1; 32], vec!["a".into(), "bc".into()], 258);
        let expected = format!("{}00080461086263{}", "01".repeat(32), "0201000000000000");
        assert_eq!(hex::encode(payload.encode()), expected);
        assert_eq!(decode(&payload.encode()), Ok(payload));
    }
}
