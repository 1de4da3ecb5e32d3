//! The nine kinds of signatures that users' keys and wallets make.
//!
//! Each checks one signature over one claim and says whose account it is. What a
//! certificate allows is the parent module's business. Called by it.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

use super::claim::Claim;
use super::{Account, QuerySignatureError};
use crate::hash::{blake2b_256, keccak_256};
use crate::worker_key::CONTEXT;

/// Ends the account of an Ethereum address.
const EVM_SUFFIX: &[u8; 12] = b"@evm_address";

/// A kind of signature. Numbers are public and never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    Ed25519,
    Sr25519,
    Ecdsa,
    Ed25519WrapBytes,
    Sr25519WrapBytes,
    EcdsaWrapBytes,
    Eip712,
    EvmEcdsa,
    EvmEcdsaWrapBytes,
}

impl TryFrom<u8> for Scheme {
    type Error = QuerySignatureError;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Ok(match number {
            0 => Self::Ed25519,
            1 => Self::Sr25519,
            2 => Self::Ecdsa,
            3 => Self::Ed25519WrapBytes,
            4 => Self::Sr25519WrapBytes,
            5 => Self::EcdsaWrapBytes,
            6 => Self::Eip712,
            7 => Self::EvmEcdsa,
            8 => Self::EvmEcdsaWrapBytes,
            _ => return Err(QuerySignatureError::InvalidSignatureType),
        })
    }
}

impl Scheme {
    /// The signer's account, if the signature is one of this key over this claim.
    pub(super) fn verify(
        self,
        claim: &Claim<'_>,
        public_key: &[u8],
        signature: &[u8],
    ) -> Result<Account, QuerySignatureError> {
        match self {
            Self::Ed25519 => ed25519(&claim.plain(), public_key, signature),
            Self::Ed25519WrapBytes => ed25519(&claim.wrapped(), public_key, signature),
            Self::Sr25519 => sr25519(&claim.plain(), public_key, signature),
            Self::Sr25519WrapBytes => sr25519(&claim.wrapped(), public_key, signature),
            Self::Ecdsa => ecdsa(&claim.plain(), public_key, signature),
            Self::EcdsaWrapBytes => ecdsa(&claim.wrapped(), public_key, signature),
            Self::Eip712 => eip712(claim, public_key, signature),
            Self::EvmEcdsa => evm(&claim.plain(), public_key, signature),
            Self::EvmEcdsaWrapBytes => evm(&claim.wrapped(), public_key, signature),
        }
    }
}

/// By the rules of ZIP-215, so that all who check agree about odd encodings.
fn ed25519(
    message: &[u8],
    public_key: &[u8],
    signature: &[u8],
) -> Result<Account, QuerySignatureError> {
    let bytes: [u8; 32] = key_bytes(public_key)?;
    let key = ed25519_zebra::VerificationKey::try_from(bytes)
        .map_err(|_| QuerySignatureError::InvalidPublicKey)?;
    let signature = ed25519_zebra::Signature::try_from(signature)
        .map_err(|_| QuerySignatureError::InvalidSignature)?;
    key.verify(&signature, message)
        .map_err(|_| QuerySignatureError::InvalidSignature)?;
    Ok(Account(bytes))
}

fn sr25519(
    message: &[u8],
    public_key: &[u8],
    signature: &[u8],
) -> Result<Account, QuerySignatureError> {
    let bytes: [u8; 32] = key_bytes(public_key)?;
    let key = schnorrkel::PublicKey::from_bytes(&bytes)
        .map_err(|_| QuerySignatureError::InvalidPublicKey)?;
    let signature = schnorrkel::Signature::from_bytes(signature)
        .map_err(|_| QuerySignatureError::InvalidSignature)?;
    key.verify_simple(CONTEXT, message, &signature)
        .map_err(|_| QuerySignatureError::InvalidSignature)?;
    Ok(Account(bytes))
}

fn ecdsa(
    message: &[u8],
    public_key: &[u8],
    signature: &[u8],
) -> Result<Account, QuerySignatureError> {
    let key = compressed_key(public_key)?;
    let made = recover(&blake2b_256(message), signature, substrate_id)
        .is_some_and(|recovered| recovered == key);
    made.then(|| Account(blake2b_256(public_key)))
        .ok_or(QuerySignatureError::InvalidSignature)
}

/// What wallets make (a text that names Ethereum, then Keccak), and what Wapo 0.x
/// took instead and no wallet can make (BLAKE2 of the bare message).
fn evm(
    message: &[u8],
    public_key: &[u8],
    signature: &[u8],
) -> Result<Account, QuerySignatureError> {
    let key = compressed_key(public_key)?;
    let by_wallet = || recover(&personal_digest(message), signature, ethereum_id);
    let by_program = || recover(&blake2b_256(message), signature, substrate_id);
    let made = by_wallet().is_some_and(|recovered| recovered == key)
        || by_program().is_some_and(|recovered| recovered == key);
    made.then(|| ethereum_account(&key))
        .ok_or(QuerySignatureError::InvalidSignature)
}

fn eip712(
    claim: &Claim<'_>,
    public_key: &[u8],
    signature: &[u8],
) -> Result<Account, QuerySignatureError> {
    let key = match (public_key.len(), public_key.first()) {
        (65, Some(4)) => parse_key(public_key)?,
        _ => compressed_key(public_key)?,
    };
    let made = recover(&claim.eip712_digest(), signature, ethereum_id)
        .is_some_and(|recovered| recovered == key);
    made.then(|| ethereum_account(&key))
        .ok_or(QuerySignatureError::InvalidSignature)
}

/// What a wallet hashes when it is asked to sign a message (EIP-191).
fn personal_digest(message: &[u8]) -> [u8; 32] {
    let prefix = format!("\x19Ethereum Signed Message:\n{}", message.len());
    keccak_256(&[prefix.as_bytes(), message].concat())
}

fn key_bytes(public_key: &[u8]) -> Result<[u8; 32], QuerySignatureError> {
    public_key
        .try_into()
        .map_err(|_| QuerySignatureError::InvalidPublicKey)
}

fn compressed_key(public_key: &[u8]) -> Result<VerifyingKey, QuerySignatureError> {
    // The library takes further encodings, which would give one key two accounts.
    match (public_key.len(), public_key.first()) {
        (33, Some(2 | 3)) => parse_key(public_key),
        _ => Err(QuerySignatureError::InvalidPublicKey),
    }
}

fn parse_key(public_key: &[u8]) -> Result<VerifyingKey, QuerySignatureError> {
    VerifyingKey::from_sec1_bytes(public_key).map_err(|_| QuerySignatureError::InvalidPublicKey)
}

/// The key that made a signature of 65 bytes; its last byte says which of the
/// possible ones. Signatures in the upper half of their range are refused, as a
/// second form of another signature.
fn recover(
    digest: &[u8; 32],
    signature: &[u8],
    recovery_id: fn(u8) -> Option<RecoveryId>,
) -> Option<VerifyingKey> {
    let (&id, signature) = signature.split_last()?;
    let signature = Signature::from_slice(signature).ok()?;
    if signature.normalize_s().is_some() {
        return None;
    }
    VerifyingKey::recover_from_prehash(digest, &signature, recovery_id(id)?).ok()
}

fn substrate_id(byte: u8) -> Option<RecoveryId> {
    RecoveryId::from_byte(byte)
}

fn ethereum_id(byte: u8) -> Option<RecoveryId> {
    match byte {
        0 | 27 => RecoveryId::from_byte(0),
        1 | 28 => RecoveryId::from_byte(1),
        _ => None,
    }
}

fn ethereum_account(key: &VerifyingKey) -> Account {
    let point = key.to_encoded_point(false);
    // Behind the byte that says that the point is uncompressed.
    let hash = keccak_256(&point.as_bytes()[1..]);
    let mut account = [0; 32];
    account[..20].copy_from_slice(&hash[12..]);
    account[20..].copy_from_slice(EVM_SUFFIX);
    Account(account)
}

#[cfg(test)]
mod tests {
    use parity_scale_codec::{Decode as _, Encode as _};

    use super::super::SignableQuery;
    use super::super::wire::CertificateBody;
    use super::*;

    /// An Ethereum wallet's key.
    const WALLET: &str = "029df1e69b8b7c2da2efe0069dc141c2cec0317bf3fd135abaeb69ee33801f5970";
    const BY_CERTIFICATE: &str = "4a0b97f273f43be3b7b91304114d41ec26ac4f265a9f6babc1c59c6ce8f5c926\
                                  6d1b6e42b88efced4e0026cc19da93d98a8d401bd2e064781caa1db8e8df1e771b";
    const CERTIFICATE: &str = "916e69889759d755d4e7697615e906d4b097d8c0293dc66e749ca28331a4bc15\
                               1e76ecad2f85c4a91b995d93f3121b0a4cb342916209fd96fe266bec009b74f11c";

    #[test]
    fn what_a_wallet_signed_for_certificates_counts_and_only_for_that() {
        let query = SignableQuery {
            address: &[0x12, 0x34],
            path: "/api/resource",
            payload: &[0xab, 0xcd, 0xef],
        };
        let scopes = vec![
            (vec![0x12_u8], vec!["/res1", "/res2"]),
            (vec![0x34], vec!["/res1"]),
        ];
        let encoded = (vec![0x12_u8, 0x34], 1_672_531_199_u64, scopes).encode();
        let body = CertificateBody::decode(&mut &*encoded).expect("body");
        let claims = [
            (Claim::QueryByCertificate(&query), Some(BY_CERTIFICATE)),
            (Claim::Certificate(&body), Some(CERTIFICATE)),
            (Claim::QueryByRoot(&query), None),
        ];
        let wallet = hex::decode(WALLET).expect("hex");
        for (claim, right) in claims {
            for signature in [BY_CERTIFICATE, CERTIFICATE] {
                let bytes = hex::decode(signature).expect("hex");
                let counts = Scheme::Eip712.verify(&claim, &wallet, &bytes).is_ok();
                assert_eq!(counts, right == Some(signature), "{signature}");
            }
        }
    }
}
