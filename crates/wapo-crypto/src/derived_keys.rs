//! Keys that follow from the worker's: of apps, of answers, of private queries.
//!
//! Each by HKDF with SHA-256 (RFC 5869) from the stored form of the worker's
//! key, under a name with a version of the way it is made. The same inputs give
//! the same key for ever, so nothing of it is stored, and a key changes when its
//! version is raised. No call of a guest leads to HKDF over the worker's key.
//! Called by `wapod`; verifiers check the signatures.

use curve25519_dalek::MontgomeryPoint;
use hkdf::Hkdf;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::worker_key::WorkerKey;

/// Names of the ways of derivation. They never change.
const APP_KEY: &[u8] = b"wapo/app-key/1";
const ANSWER_KEY: &[u8] = b"wapo/answer-key/1";
const QUERY_KEY: &[u8] = b"wapo/query-key/1";

/// Bytes of a secret number of P-256.
const SCALAR_BYTES: usize = 32;
/// Numbers that are drawn for a key of P-256, of which the first that is in
/// range counts (FIPS 186-5, A.2.2). One in 2^32 is not, so four never are.
const CANDIDATES: usize = 4;
/// What stands before the 65 bytes of a point of P-256 in DER (RFC 5480): a public
/// key of elliptic curves, on this one, in so many bits.
const PUBLIC_KEY_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// What stands before the 32 bytes of the secret number (RFC 5958, RFC 5915).
const SECRET_KEY_PREFIX: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
    0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02,
    0x01, 0x01, 0x04, 0x20,
];
/// What stands between that number and the point.
const SECRET_KEY_MIDDLE: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];
/// Bytes of a signature of P-256: two numbers.
pub const P256_SIGNATURE_BYTES: usize = 64;

/// A key of ECDSA on P-256. Its secret is wiped when it is dropped.
pub struct P256Key(SigningKey);

impl P256Key {
    fn derive(worker: &WorkerKey, info: &[&[u8]]) -> Self {
        let candidates = expand::<{ CANDIDATES * SCALAR_BYTES }>(worker, info);
        let key = candidates
            .chunks_exact(SCALAR_BYTES)
            .find_map(|candidate| SigningKey::from_slice(candidate).ok());
        Self(key.expect("that all four are out of range has the probability 2^-128"))
    }

    /// The public key in DER (SubjectPublicKeyInfo, RFC 5480).
    pub fn public_der(&self) -> Vec<u8> {
        [PUBLIC_KEY_PREFIX.as_slice(), &self.point()].concat()
    }

    /// The secret key with the public one in DER (PKCS #8, RFC 5958).
    pub fn secret_der(&self) -> Zeroizing<Vec<u8>> {
        let secret = Zeroizing::new(<[u8; SCALAR_BYTES]>::from(self.0.to_bytes()));
        let parts = [
            SECRET_KEY_PREFIX.as_slice(),
            secret.as_slice(),
            &SECRET_KEY_MIDDLE,
            &self.point(),
        ];
        Zeroizing::new(parts.concat())
    }

    /// The public point, both of its numbers (SEC 1, 2.3.3).
    fn point(&self) -> Vec<u8> {
        let point = self.0.verifying_key().to_encoded_point(false);
        point.as_bytes().to_vec()
    }

    /// Signs a message: the two numbers of the signature (RFC 6979: without
    /// randomness).
    pub fn sign(&self, message: &[u8]) -> [u8; P256_SIGNATURE_BYTES] {
        let signature: Signature = self.0.sign(message);
        signature.to_bytes().into()
    }
}

/// Whether `signature` is one over `message` of the public key in DER.
pub fn verify_p256(public_der: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let point = public_der.strip_prefix(&PUBLIC_KEY_PREFIX);
    let key = point.and_then(|point| VerifyingKey::from_sec1_bytes(point).ok());
    let Some(key) = key else {
        return false;
    };
    Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// The key of an app. `parameters` are all that it depends on, encoded so that
/// different ones differ: another app, other code, arguments, environment,
/// limits or version have another key.
pub fn app_key(worker: &WorkerKey, parameters: &[u8]) -> P256Key {
    P256Key::derive(worker, &[APP_KEY, parameters])
}

/// The key that signs answers of the worker, in one of its versions.
pub fn answer_key(worker: &WorkerKey, version: u32) -> P256Key {
    P256Key::derive(worker, &[ANSWER_KEY, &version.to_le_bytes()])
}

/// The key that private queries are encrypted to.
pub struct QueryKey {
    /// The secret number of X25519 (RFC 7748), not clamped yet.
    pub secret: Zeroizing<[u8; 32]>,
    /// The public point.
    pub public: [u8; 32],
}

/// The key that private queries are encrypted to, in one of its versions.
pub fn query_key(worker: &WorkerKey, version: u32) -> QueryKey {
    let secret = expand::<32>(worker, &[QUERY_KEY, &version.to_le_bytes()]);
    let public = MontgomeryPoint::mul_base_clamped(*secret).to_bytes();
    QueryKey { secret, public }
}

fn expand<const BYTES: usize>(worker: &WorkerKey, info: &[&[u8]]) -> Zeroizing<[u8; BYTES]> {
    const { assert!(BYTES <= 255 * 32, "more than HKDF gives") };
    let mut output = Zeroizing::new([0; BYTES]);
    Hkdf::<Sha256>::new(None, worker.to_bytes().as_slice())
        .expand_multi_info(info, output.as_mut_slice())
        .expect("the length was checked when this was compiled");
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> WorkerKey {
        WorkerKey::from_seed([1; 32])
    }

    /// Vectors: the same derivation in Python, of `hmac` and `hashlib`.
    #[test]
    fn derived_keys_are_these_for_ever() {
        let secret = |key: &P256Key| hex::encode(key.0.to_bytes());
        assert_eq!(
            secret(&app_key(&worker(), b"parameters")),
            "57a582c7a7038d923ffee9ba8d5bd4976c63a42f44eefde7d42ca1ab065abdf4"
        );
        assert_eq!(
            secret(&answer_key(&worker(), 1)),
            "fc545cb7a6fcb0d4bcc361723604fc768508d31d7472146c25e83a78af29701d"
        );
        assert_eq!(
            secret(&answer_key(&worker(), 258)),
            "5b481ef56448bcf8cc3bbd6864ed13d626e0e36f1d0c645d33ace8f8e45447bc"
        );
        let query = query_key(&worker(), 1);
        assert_eq!(
            hex::encode(*query.secret),
            "0dcca3717f2829341b1dee6f7fa10648bcd79e468e02a39c152e53535923f198"
        );
        assert_eq!(
            hex::encode(query.public),
            "bedce3ee41ad0c5b7e58c73c0f1f69ef3a23fc00824b9de4271054c7e70aac4c"
        );
        assert_eq!(
            hex::encode(app_key(&worker(), b"parameters").public_der()),
            "3059301306072a8648ce3d020106082a8648ce3d03010703420004ead3b525faa79b924355e255c882d6cf5f5f930a1087c9906ea6c0e9f5ea858570e717ce817e5dcae3ae3c85ecb1a45e4b17bc7b3002404126b03fc5c530025b"
        );
    }

    #[test]
    fn a_key_belongs_to_one_worker_use_version_and_app() {
        let other = WorkerKey::from_seed([2; 32]);
        let publics = [
            app_key(&worker(), b"a").public_der(),
            app_key(&worker(), b"b").public_der(),
            app_key(&other, b"a").public_der(),
            app_key(&worker(), &1u32.to_le_bytes()).public_der(),
            answer_key(&worker(), 1).public_der(),
            answer_key(&worker(), 2).public_der(),
            answer_key(&other, 1).public_der(),
        ];
        for (index, public) in publics.iter().enumerate() {
            assert!(!publics[index + 1..].contains(public), "{index}");
        }
        assert_ne!(
            query_key(&worker(), 1).public,
            query_key(&worker(), 2).public
        );
    }

    #[test]
    fn a_signature_is_of_its_key_and_message_only() {
        let key = answer_key(&worker(), 1);
        let signature = key.sign(b"message");
        assert_eq!(signature, key.sign(b"message"));
        assert!(verify_p256(&key.public_der(), b"message", &signature));
        assert!(!verify_p256(&key.public_der(), b"massage", &signature));
        let other = answer_key(&worker(), 2).public_der();
        assert!(!verify_p256(&other, b"message", &signature));
        for index in 0..signature.len() {
            let mut flipped = signature;
            flipped[index] ^= 1;
            let is_good = verify_p256(&key.public_der(), b"message", &flipped);
            assert!(!is_good, "byte {index}");
        }
        assert!(!verify_p256(&key.public_der(), b"message", b"short"));
        assert!(!verify_p256(b"no key", b"message", &signature));
    }

    #[test]
    fn the_secret_key_in_der_is_read_by_others() {
        use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
        let key = app_key(&worker(), b"a");
        let random = ring::rand::SystemRandom::new();
        let read =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.secret_der(), &random);
        let read = read.expect("a key");
        assert!(key.public_der().ends_with(read.public_key().as_ref()));
        let signature = read.sign(&random, b"message").expect("signed");
        assert!(verify_p256(
            &key.public_der(),
            b"message",
            signature.as_ref()
        ));
    }
}
