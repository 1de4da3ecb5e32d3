//! The key of a worker: signs statements, derives secrets and further keys.
//!
//! An sr25519 key (Schnorr signatures over ristretto255, as schnorrkel does
//! them). This file neither stores keys nor draws randomness; the daemon does.
//!
//! Four ways of derivation lead away from it, and none into another: secrets of
//! apps by hard derivation steps, which guests can ask for; keys of the worker's
//! own and keys for sealed data by a keyed hash, each with a name of its own in
//! the hash's parameters, and the keys of `derived_keys` by HKDF, which guests
//! cannot.

use std::fmt;

use blake2::digest::consts::U32;
use blake2::digest::{FixedOutput as _, Mac as _};
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use rand_core::{CryptoRng, RngCore};
use schnorrkel::context::{attach_rng, signing_context};
use schnorrkel::derive::ChainCode;
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey, SecretKey, Signature};
use zeroize::Zeroizing;

use crate::content_type::ContentType;
use crate::hash::blake2b_256;

/// Bytes of a stored key and of a derived secret: scalar, then nonce.
pub const SECRET_BYTES: usize = 64;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Signing context shared with other users of sr25519 keys.
pub(crate) const CONTEXT: &[u8] = b"substrate";
/// Personal strings of the keyed hash, 16 bytes each. They never change.
const PURPOSE_KEYS: &[u8; 16] = b"wapo/purpose-key";
const SEALING_KEYS: &[u8; 16] = b"wapo/sealed-data";

/// A public key.
pub type PublicKey = [u8; 32];

/// Bytes that are no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Wrong length.
    #[error("a worker key has {SECRET_BYTES} bytes, these are {0}")]
    Length(usize),
    /// The scalar is not canonical.
    #[error("these {SECRET_BYTES} bytes are not a worker key: the scalar is not canonical")]
    Scalar,
}

/// The secret key of a worker. Shows its public half only. Wiped when it is dropped.
///
/// In one place for as long as it lives: what is moved is left behind unwiped.
pub struct WorkerKey(Box<Keypair>);

impl WorkerKey {
    /// Makes the key of a seed, which must come from a good random source.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(Box::new(expand(&mini_secret(&seed))))
    }

    /// Reads a stored key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for anything that [`WorkerKey::to_bytes`] cannot return.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != SECRET_BYTES {
            return Err(KeyError::Length(bytes.len()));
        }
        let secret = SecretKey::from_bytes(bytes).map_err(|_| KeyError::Scalar)?;
        Ok(Self(Box::new(secret.to_keypair())))
    }

    /// The key as it is stored: 32 bytes of scalar, 32 of nonce.
    ///
    /// The copy is wiped when it is dropped; further copies are the caller's.
    pub fn to_bytes(&self) -> Zeroizing<[u8; SECRET_BYTES]> {
        Zeroizing::new(self.0.secret.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.0.public.to_bytes()
    }

    /// Signs a message for one purpose.
    ///
    /// `random` hedges against faults; the signature is safe without it, because
    /// the key's own nonce and the message go into it as well.
    pub fn sign(
        &self,
        content: ContentType,
        message: &[u8],
        random: [u8; 32],
    ) -> [u8; SIGNATURE_BYTES] {
        let transcript = signing_context(CONTEXT).bytes(&content.wrap(message));
        let transcript = attach_rng(transcript, FixedRng::new(random));
        self.0.sign(transcript).to_bytes()
    }

    /// Signs what an app wants signed, behind the app's address.
    pub fn sign_for_app(
        &self,
        app_address: &[u8; 32],
        data: &[u8],
        random: [u8; 32],
    ) -> [u8; SIGNATURE_BYTES] {
        let message = [app_address.as_slice(), data].concat();
        self.sign(ContentType::AppData, &message, random)
    }

    /// Derives an app's secret for a path: the same for ever, known to no other app.
    ///
    /// Two hard derivation steps, by the app's address and by the path's hash.
    pub fn derive_secret(
        &self,
        app_address: &[u8; 32],
        path: &[u8],
    ) -> Zeroizing<[u8; SECRET_BYTES]> {
        let app = derive(&self.0.secret, *app_address);
        Zeroizing::new(derive(&app.secret, blake2b_256(path)).secret.to_bytes())
    }

    /// Derives a symmetric key that only this worker knows, for one use of its own.
    ///
    /// Different for each `purpose`; neither guests nor sealed data can reach it.
    pub fn purpose_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.keyed_hash(PURPOSE_KEYS, purpose.as_bytes())
    }

    /// The key of sealed data of one context.
    pub(crate) fn sealing_key(&self, context: &[u8]) -> Zeroizing<[u8; 32]> {
        self.keyed_hash(SEALING_KEYS, context)
    }

    /// The key that this key and that of `public` have in common.
    ///
    /// `None` for bytes that are no key, and for the one key that shares its
    /// secret with all others.
    pub(crate) fn shared_key(&self, public: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
        let point = CompressedRistretto(*public).decompress()?;
        if point.is_identity() {
            return None;
        }
        let stored = self.to_bytes();
        let scalar = Zeroizing::new(std::array::from_fn(|index| stored[index]));
        let scalar = Scalar::from_canonical_bytes(*scalar);
        let scalar = Zeroizing::new(Option::<Scalar>::from(scalar)?);
        Some(Zeroizing::new((*scalar * point).compress().to_bytes()))
    }

    fn keyed_hash(&self, personal: &[u8; 16], message: &[u8]) -> Zeroizing<[u8; 32]> {
        let key = self.to_bytes();
        let mut hash = Zeroizing::new([0; 32]);
        blake2::Blake2bMac::<U32>::new_with_salt_and_personal(key.as_slice(), b"", personal)
            .expect("64 and 16 bytes are what the hash takes at most")
            .chain_update(message)
            .finalize_into(hash.as_mut_slice().into());
        hash
    }
}

impl fmt::Debug for WorkerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerKey(public ")?;
        self.public()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}

/// Whether `signature` is one of `public` over `message` for this purpose.
pub fn verify(public: &PublicKey, content: ContentType, message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = schnorrkel::PublicKey::from_bytes(public) else {
        return false;
    };
    let Ok(signature) = Signature::from_bytes(signature) else {
        return false;
    };
    let wrapped = content.wrap(message);
    key.verify_simple(CONTEXT, &wrapped, &signature).is_ok()
}

/// Whether every signature is one of `public` over its message for this purpose: the
/// same as asking [`verify`] of each, in a third of the time.
pub fn verify_all(
    public: &PublicKey,
    content: ContentType,
    signed: &[(&[u8], [u8; SIGNATURE_BYTES])],
) -> bool {
    let Ok(key) = schnorrkel::PublicKey::from_bytes(public) else {
        return false;
    };
    let read = |(_, bytes): &(&[u8], [u8; SIGNATURE_BYTES])| Signature::from_bytes(bytes).ok();
    let Some(signatures) = signed.iter().map(read).collect::<Option<Vec<_>>>() else {
        return false;
    };
    // The library chooses its factors from messages and keys. With the signatures in
    // them as well, none of them can make up for another.
    let all: Vec<u8> = signed
        .iter()
        .flat_map(|(_, signature)| *signature)
        .collect();
    let random = FixedRng::new(blake2b_256(&all));
    let context = signing_context(CONTEXT);
    let transcripts = signed
        .iter()
        .map(|(message, _)| context.bytes(&content.wrap(message)));
    let keys = vec![key; signed.len()];
    schnorrkel::verify_batch_rng(transcripts, &signatures, &keys, true, random).is_ok()
}

fn derive(secret: &SecretKey, code: [u8; 32]) -> Keypair {
    let (mini, _) = secret.hard_derive_mini_secret_key(Some(ChainCode(code)), b"");
    expand(&mini)
}

fn expand(mini: &MiniSecretKey) -> Keypair {
    mini.expand_to_keypair(ExpansionMode::Ed25519)
}

fn mini_secret(seed: &[u8; 32]) -> MiniSecretKey {
    // The only error is a wrong length, which the type excludes.
    MiniSecretKey::from_bytes(seed).expect("32 bytes")
}

/// Hands the caller's random bytes to a library that wants a generator. Wiped when it is
/// dropped: keys may follow from it.
pub(crate) struct FixedRng {
    random: Zeroizing<[u8; 32]>,
    blocks: u64,
}

impl FixedRng {
    pub(crate) fn new(random: [u8; 32]) -> Self {
        Self {
            random: Zeroizing::new(random),
            blocks: 0,
        }
    }
}

impl RngCore for FixedRng {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        for chunk in target.chunks_mut(32) {
            let block = [self.random.as_slice(), &self.blocks.to_le_bytes()].concat();
            let block = Zeroizing::new(block);
            self.blocks += 1;
            let hash = Zeroizing::new(blake2b_256(&block));
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl CryptoRng for FixedRng {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> WorkerKey {
        WorkerKey::from_seed([1; 32])
    }

    #[test]
    fn a_seed_gives_the_key_that_existing_workers_have() {
        let stored = "0bdd6dbf4edf8925e8c128bc2ddd9ed555e36240ca30ca7633d80e18d177de0d\
                      b17a2a2cf3d4a41a8e4e18cc45c8656d558eceddb0adb46bfa088a5f53bed252";
        let public = "189dac29296d31814dc8c56cf3d36a0543372bba7538fa322a4aebfebc39e056";
        assert_eq!(hex::encode(*key().to_bytes()), stored);
        assert_eq!(hex::encode(key().public()), public);
        let read = WorkerKey::from_bytes(&hex::decode(stored).expect("hex")).expect("key");
        assert_eq!(hex::encode(read.public()), public);
    }

    #[test]
    fn derived_secrets_are_those_of_existing_workers() {
        for (path, secret) in [
            (
                "",
                "554ac3814b98a39219ace53ba6637d8294c208d20e92b6f7aa73e8af22afe40c\
                 ebb8376bc4bf890014fc4f11028bf0dca427a7db4f452d6c98fdc8961d6879cd",
            ),
            (
                "hello",
                "8472549bf783ab9d1424c2a50c24fd68bc13c37442caaef34ff071c8f7d8030a\
                 29aafd2a3eea589e96fe645692b8ab4a8163bb714ad4e0de7701d4057a18aa94",
            ),
            (
                "enc_bootdata",
                "3852866f906c4dde8e4e905614cfb0be3eb35ab7795de76d95396b684434590e\
                 e888130eca6e258a6491af6c850dc8e7e99f6044ba8530fc76acb5abcfa0bfd1",
            ),
        ] {
            let derived = key().derive_secret(&[0x11; 32], path.as_bytes());
            assert_eq!(hex::encode(*derived), secret, "path {path:?}");
        }
    }

    #[test]
    fn a_signature_counts_for_its_purpose_and_app_only() {
        let public = key().public();
        let signature = key().sign_for_app(&[2; 32], b"data", [9; 32]);
        let message = [[2; 32].as_slice(), b"data"].concat();
        assert!(verify(&public, ContentType::AppData, &message, &signature));
        assert!(!verify(&public, ContentType::Metrics, &message, &signature));
        let other_app = [[3; 32].as_slice(), b"data"].concat();
        assert!(!verify(
            &public,
            ContentType::AppData,
            &other_app,
            &signature
        ));
        assert!(!verify(&public, ContentType::AppData, &message, &[0; 64]));
        assert!(!verify(&public, ContentType::AppData, &message, b"short"));
    }

    #[test]
    fn many_signatures_are_good_when_each_is() {
        let public = key().public();
        let messages: Vec<Vec<u8>> = (0..40).map(|number| vec![number; 9]).collect();
        let sign = |message: &Vec<u8>| key().sign(ContentType::UsageReport, message, [9; 32]);
        let signatures: Vec<_> = messages.iter().map(sign).collect();
        let signed: Vec<_> = messages.iter().map(Vec::as_slice).zip(signatures).collect();
        let good = |signed: &[_]| verify_all(&public, ContentType::UsageReport, signed);
        assert!(good(&signed) && good(&[]));
        assert!(!verify_all(&public, ContentType::Metrics, &signed));
        assert!(!verify_all(&[0xff; 32], ContentType::UsageReport, &signed));
        for (at, byte) in [(0, 0), (39, 31), (7, 40), (8, 63)] {
            let mut bad = signed.clone();
            bad[at].1[byte] ^= 1;
            assert!(!good(&bad), "byte {byte} of {at}");
        }
        let mut swapped = signed.clone();
        (swapped[1].1, swapped[2].1) = (signed[2].1, signed[1].1);
        assert!(!good(&swapped));
        swapped = signed;
        swapped[3].0 = b"another";
        assert!(!good(&swapped));
    }

    #[test]
    fn damaged_keys_are_refused_with_a_reason() {
        let short = WorkerKey::from_bytes(&[1; 63]).expect_err("short");
        assert_eq!(short, KeyError::Length(63));
        let wrong = WorkerKey::from_bytes(&[0xff; 64]).expect_err("scalar");
        assert_eq!(wrong, KeyError::Scalar);
    }

    #[test]
    fn a_shared_key_is_the_same_from_both_sides() {
        let other = WorkerKey::from_seed([2; 32]);
        let shared = key().shared_key(&other.public()).expect("key");
        assert_eq!(other.shared_key(&key().public()), Some(shared));
        assert_eq!(key().shared_key(&[0; 32]), None);
        assert_eq!(key().shared_key(&[0xff; 32]), None);
    }

    #[test]
    fn keys_for_different_purposes_differ_and_are_no_secrets_of_apps() {
        let cache = key().purpose_key("module cache");
        assert_ne!(cache, key().purpose_key("module cache "));
        assert_ne!(
            cache,
            WorkerKey::from_seed([2; 32]).purpose_key("module cache")
        );
        assert_ne!(cache, key().sealing_key(b"module cache"));
        let secret = key().derive_secret(&[0x11; 32], b"module cache");
        assert!(secret.chunks_exact(32).all(|half| half != *cache));
    }

    #[test]
    fn the_secret_never_shows_in_debug_output() {
        assert!(!format!("{:?}", key()).contains("0bdd6dbf"));
    }
}
