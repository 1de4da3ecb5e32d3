//! Keys from the seed. A name for each, so that no key serves two purposes.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use sha2::{Digest as _, Sha256};

/// SHA-256 over a name and bytes.
pub(crate) fn digest(name: &[u8], bytes: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(name)
        .chain_update([0])
        .chain_update(bytes)
        .finalize()
        .into()
}

/// A P-256 key of the simulator.
pub(crate) struct Key {
    signing: SigningKey,
    /// The point, uncompressed: 0x04, x, y.
    point: Vec<u8>,
}

impl Key {
    /// The key of a name under a seed.
    pub(crate) fn derive(seed: &[u8; 32], name: &str) -> Self {
        let mut bytes = digest(name.as_bytes(), seed);
        // One in 2^32 hashes is no scalar of the curve; its hash is tried then.
        loop {
            if let Ok(signing) = SigningKey::from_bytes(&bytes.into()) {
                let point = signing.verifying_key().to_encoded_point(false);
                let point = point.as_bytes().to_vec();
                return Self { signing, point };
            }
            bytes = digest(name.as_bytes(), &bytes);
        }
    }

    /// The public key as quotes carry it: x and y.
    pub(crate) fn raw_public(&self) -> &[u8] {
        &self.point[1..]
    }

    /// A signature as quotes and collateral carry it: r and s. Deterministic (RFC 6979).
    pub(crate) fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        let signature: Signature = self.signing.sign(message);
        signature.to_bytes().into()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: Signature = self.signing.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}
