//! The worker's registration with a chain, and the proof that goes with it.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::ContentType;

use super::Statement;

/// Who the worker is.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct WorkerRegistrationInfoV2 {
    /// Version of the software that verifiers judge it by.
    pub version: u32,
    /// Empty.
    pub machine_id: Vec<u8>,
    /// The worker's public key.
    pub pubkey: [u8; 32],
    /// The key for encrypted queries, which is the same.
    pub ecdh_pubkey: [u8; 32],
    /// The chain, by the hash of its first block.
    pub genesis_block_hash: [u8; 32],
    /// Empty.
    pub features: Vec<u32>,
    /// The operator's account.
    pub operator: Option<[u8; 32]>,
    /// Number of the parachain.
    pub para_id: u32,
    /// 0.
    pub max_consensus_version: u32,
}

impl WorkerRegistrationInfoV2 {
    /// The version that verifiers know: 3.0.0, one byte a part.
    pub const VERSION: u32 = 0x0003_0000;

    /// What a worker with this key says to that chain.
    pub fn new(
        pubkey: [u8; 32],
        genesis_block_hash: [u8; 32],
        operator: Option<[u8; 32]>,
        para_id: u32,
    ) -> Self {
        Self {
            version: Self::VERSION,
            machine_id: Vec::new(),
            pubkey,
            ecdh_pubkey: pubkey,
            genesis_block_hash,
            features: Vec::new(),
            operator,
            para_id,
            max_consensus_version: 0,
        }
    }
}

/// Stands inside quotes, which prove it; there is no signature beside.
impl Statement for WorkerRegistrationInfoV2 {
    const CONTENT_TYPE: ContentType = ContentType::WorkerAttestation;
}

/// Proof that a statement was made inside an enclave.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "derived code narrows the index"
)]
pub enum AttestationReport {
    /// The form of long ago; nobody makes it.
    #[codec(index = 0)]
    SgxIas,
    /// A quote.
    #[codec(index = 1)]
    SgxDcap {
        /// The quote.
        quote: Vec<u8>,
        /// Collateral is fetched by verifiers, so there never is any.
        collateral: Option<()>,
    },
}

impl AttestationReport {
    /// Wraps a quote.
    pub fn from_quote(quote: Vec<u8>) -> Self {
        Self::SgxDcap {
            quote,
            collateral: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[test]
    fn registration_is_the_documented_layout() {
        let info = WorkerRegistrationInfoV2::new([1; 32], [2; 32], Some([3; 32]), 2035);
        let expected = [
            "0000030000",
            &"01".repeat(64),
            &"02".repeat(32),
            "0001",
            &"03".repeat(32),
            "f307000000000000",
        ]
        .concat();
        assert_eq!(hex::encode(info.encode()), expected);
        assert_eq!(decode(&info.encode()), Ok(info));
    }

    #[test]
    fn a_report_is_the_documented_layout() {
        let report = Some(AttestationReport::from_quote(vec![9, 9]));
        assert_eq!(hex::encode(report.encode()), "010108090900");
        assert_eq!(decode(&report.encode()), Ok(report));
        assert_eq!(None::<AttestationReport>.encode(), [0]);
    }
}
