//! A worker's key on its way to another worker: what the new one asks, and the answer.
//!
//! The new worker has no key yet. Its quote is over claims of its own kind (content type
//! 124), among them the key that the answer is encrypted to. The answer carries evidence of
//! the old worker, whose nonce is the hash of the request. Nothing here is checked but
//! sizes; `wapo-verify` checks requests, and evidence as ever. Made and read by `wapod`.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::{ContentType, blake2b_256, report_data};

use super::evidence::{Quote, WorkerEvidence};
use super::{Bounded, Statement, StatementError, decode};
use crate::limits::{
    COLLATERAL_BYTES_MAX, HOST_CONTROLLED_MAX, KEY_HANDOVER_BYTES_MAX, SETTING_NAME_BYTES_MAX,
    SOFTWARE_BYTES_MAX, WORKER_CLAIMS_BYTES_MAX,
};

/// What a worker without a key says of itself; its hash is in the quote.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct KeyRequestClaims {
    /// Version of this structure: 1.
    pub version: u8,
    /// The key that the answer is encrypted to (X25519, for HPKE).
    pub recipient: [u8; 32],
    /// What the worker that is asked gave for this request.
    pub nonce: [u8; 32],
    /// Name and version of the software.
    pub software: Bounded<String, SOFTWARE_BYTES_MAX>,
    /// Settings that the host decided, and that no measurement covers.
    pub host_controlled: Bounded<Vec<Bounded<String, SETTING_NAME_BYTES_MAX>>, HOST_CONTROLLED_MAX>,
    /// Seconds since 1970, by the new worker's clock, which the host may set.
    pub issued_at: u64,
    /// Seconds since 1970.
    pub expires_at: u64,
}

impl KeyRequestClaims {
    /// The version that is in use.
    pub const VERSION: u8 = 1;
}

/// Stands inside quotes, which prove it; there is no signature beside.
impl Statement for KeyRequestClaims {
    const CONTENT_TYPE: ContentType = ContentType::KeyHandover;
}

/// A quote, and the claims that it is about.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct KeyRequest {
    /// The quote.
    pub quote: Quote,
    /// [`KeyRequestClaims`], encoded: exactly the bytes whose hash the quote has.
    pub claims: Bounded<Vec<u8>, WORKER_CLAIMS_BYTES_MAX>,
    /// What a verifier needs beside the quote, as in evidence.
    pub collateral: Option<Bounded<Vec<u8>, COLLATERAL_BYTES_MAX>>,
}

impl KeyRequest {
    /// Reads the claims.
    ///
    /// # Errors
    ///
    /// [`StatementError`] for bytes that are none.
    pub fn request_claims(&self) -> Result<KeyRequestClaims, StatementError> {
        decode(&self.claims)
    }

    /// The report data that the quote must have.
    pub fn report_data(&self) -> [u8; report_data::REPORT_DATA_BYTES] {
        report_data::for_key_request(&self.claims)
    }

    /// The hash of what was asked: nonce of the evidence in the answer, and what the
    /// answer is encrypted for.
    pub fn hash(&self) -> [u8; 32] {
        blake2b_256(&KeyRequestClaims::CONTENT_TYPE.wrap(&self.claims))
    }
}

/// The answer: whose key it is, and the key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct KeyHandover {
    /// Evidence of the worker that gives its key. Its nonce is the hash of the request.
    pub evidence: WorkerEvidence,
    /// The sender's part of the key of the encryption (HPKE).
    pub encapsulated: [u8; 32],
    /// The key, 64 bytes, and SCALE of the versions of keys that follow from it: how often
    /// those of the worker were changed (u32), and those of apps (pairs of an address and a
    /// u32). Encrypted.
    pub sealed: Bounded<Vec<u8>, KEY_HANDOVER_BYTES_MAX>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> KeyRequestClaims {
        KeyRequestClaims {
            version: KeyRequestClaims::VERSION,
            recipient: [2; 32],
            nonce: [3; 32],
            software: Bounded::new("wapod 1".into()).expect("short"),
            host_controlled: Bounded::new(vec![Bounded::new("pccs".into()).expect("short")])
                .expect("one"),
            issued_at: 4,
            expires_at: 5,
        }
    }

    #[test]
    fn a_request_is_the_documented_layout() {
        let expected = [
            "01",
            &"02".repeat(32),
            &"03".repeat(32),
            "1c7761706f642031",
            "041070636373",
            "0400000000000000",
            "0500000000000000",
        ]
        .concat();
        assert_eq!(hex::encode(claims().encode()), expected);
        let request = KeyRequest {
            quote: Quote::Simulator([1].into()),
            claims: [2].into(),
            collateral: None,
        };
        assert_eq!(hex::encode(request.encode()), "030401040200");
        assert_eq!(decode(&request.encode()), Ok(request));
    }

    #[test]
    fn a_request_is_about_its_claims_and_nothing_else() {
        let mut request = KeyRequest {
            quote: Quote::Simulator([1].into()),
            claims: Bounded::new(claims().encode()).expect("short"),
            collateral: None,
        };
        assert_eq!(request.request_claims(), Ok(claims()));
        let expected = report_data::for_key_request(&claims().encode());
        assert_eq!(request.report_data(), expected);
        let hash = request.hash();
        request.claims = [1].into();
        assert!(request.request_claims().is_err());
        assert_ne!(request.hash(), hash);
    }

    #[test]
    fn an_answer_is_the_documented_layout() {
        let evidence = WorkerEvidence {
            quote: Quote::Simulator([1].into()),
            claims: [2].into(),
            collateral: None,
        };
        let answer = KeyHandover {
            evidence,
            encapsulated: [3; 32],
            sealed: [4].into(),
        };
        let expected = ["030401040200", &"03".repeat(32), "0404"].concat();
        assert_eq!(hex::encode(answer.encode()), expected);
        assert_eq!(decode(&answer.encode()), Ok(answer));
    }
}
