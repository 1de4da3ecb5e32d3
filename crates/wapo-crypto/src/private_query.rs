//! Private queries: HPKE (RFC 9180) to a key of the worker, and an answer under a secret
//! that both sides derive from the same exchange.
//!
//! X25519 with HKDF-SHA-256, and AES-256-GCM. The answer's key follows from the exported
//! secret, the encapsulated key and a nonce, as in Oblivious HTTP (RFC 9458, section 4.4),
//! so that two answers never have the same. Whether a query was sent before is not known
//! here. No randomness: seeds and nonces are arguments. Called by `wapod` and, from the
//! sender's side, by `wapo_rpc`.

use hkdf::Hkdf;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::aead;
use crate::derived_keys::QueryKey;
use crate::worker_key::FixedRng;

/// Names of what is derived. They never change.
const QUERY: &[u8] = b"wapo/private-query/1";
const ANSWER: &[u8] = b"wapo/private-answer/1";
const ANSWER_KEY: &[u8] = b"key";
const ANSWER_IV: &[u8] = b"nonce";

/// Bytes of an encapsulated key.
pub const ENCAPSULATED_BYTES: usize = 32;
/// Bytes of the nonce of an answer.
pub const ANSWER_NONCE_BYTES: usize = 32;

/// Why a message stays closed. The texts may be shown to remote clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PrivateQueryError {
    /// Not a valid public key.
    #[error("this is not a valid public key")]
    PublicKey,
    /// Another key, session or time, or changed on the way.
    #[error(
        "the query is for another worker, session or version of its key, or was changed on the way"
    )]
    Query,
    /// Of another query, or changed on the way.
    #[error("the answer is to another query, or was changed on the way")]
    Answer,
    /// More than the cipher can take.
    #[error("the message is longer than 64 GiB")]
    TooLong,
}

/// What a query is bound to: it opens with the same values only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Session of the worker.
    pub session: [u8; 32],
    /// Version of the worker's key.
    pub key_version: u32,
    /// When it was sent, in seconds since 1970.
    pub time_s: u64,
}

impl Binding {
    fn info(&self) -> Vec<u8> {
        let numbers = (self.key_version.to_le_bytes(), self.time_s.to_le_bytes());
        [QUERY, &self.session, &numbers.0, &numbers.1].concat()
    }
}

/// A query that only the worker can read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The sender's part of the exchange, used once.
    pub encapsulated: [u8; ENCAPSULATED_BYTES],
    /// The query, and a tag.
    pub ciphertext: Vec<u8>,
}

/// What the answer to one query is encrypted with. Its secret is wiped when it is dropped.
pub struct AnswerSecret {
    encapsulated: [u8; ENCAPSULATED_BYTES],
    secret: Zeroizing<[u8; 32]>,
}

/// Encrypts a query for the worker that has this key in its evidence.
///
/// `seed` are random bytes, new for each query and forgotten afterwards: their holder
/// can read the query and its answer.
///
/// # Errors
///
/// [`PrivateQueryError::PublicKey`] or [`PrivateQueryError::TooLong`].
pub fn seal(
    recipient: &[u8; 32],
    binding: &Binding,
    query: &[u8],
    seed: &[u8; 32],
) -> Result<(Sealed, AnswerSecret), PrivateQueryError> {
    type PublicKey = <X25519HkdfSha256 as hpke::Kem>::PublicKey;
    let nobody = |_| PrivateQueryError::PublicKey;
    let recipient = PublicKey::from_bytes(recipient).map_err(nobody)?;
    let set_up = hpke::setup_sender::<AesGcm256, HkdfSha256, X25519HkdfSha256, _>(
        &OpModeS::Base,
        &recipient,
        &binding.info(),
        &mut FixedRng::new(*seed),
    );
    let (encapsulated, mut context) = set_up.map_err(nobody)?;
    let ciphertext = context.seal(query, &[]);
    let ciphertext = ciphertext.map_err(|_| PrivateQueryError::TooLong)?;
    let encapsulated = encapsulated.to_bytes().into();
    let export = |output: &mut [u8]| context.export(ANSWER, output);
    let secret = AnswerSecret::new(encapsulated, export);
    let sealed = Sealed {
        encapsulated,
        ciphertext,
    };
    Ok((sealed, secret.ok_or(PrivateQueryError::TooLong)?))
}

/// Decrypts a query, and gives what to encrypt its answer with.
///
/// # Errors
///
/// [`PrivateQueryError::Query`] if it was not sealed for this key with this binding.
pub fn open(
    key: &QueryKey,
    binding: &Binding,
    encapsulated: &[u8],
    ciphertext: &[u8],
) -> Result<(Vec<u8>, AnswerSecret), PrivateQueryError> {
    type PrivateKey = <X25519HkdfSha256 as hpke::Kem>::PrivateKey;
    type Encapsulated = <X25519HkdfSha256 as hpke::Kem>::EncappedKey;
    let closed = |_| PrivateQueryError::Query;
    let encapsulated: [u8; ENCAPSULATED_BYTES] = encapsulated
        .try_into()
        .map_err(|_| PrivateQueryError::Query)?;
    let private = PrivateKey::from_bytes(key.secret.as_slice()).map_err(closed)?;
    let theirs = Encapsulated::from_bytes(&encapsulated).map_err(closed)?;
    let set_up = hpke::setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &theirs,
        &binding.info(),
    );
    let mut context = set_up.map_err(closed)?;
    let query = context.open(ciphertext, &[]).map_err(closed)?;
    let export = |output: &mut [u8]| context.export(ANSWER, output);
    let secret = AnswerSecret::new(encapsulated, export);
    Ok((query, secret.ok_or(PrivateQueryError::Query)?))
}

impl AnswerSecret {
    fn new<E>(
        encapsulated: [u8; ENCAPSULATED_BYTES],
        export: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        export(secret.as_mut_slice()).ok()?;
        Some(Self {
            encapsulated,
            secret,
        })
    }

    /// The sender's part of the exchange that the query came by.
    pub fn encapsulated(&self) -> [u8; ENCAPSULATED_BYTES] {
        self.encapsulated
    }

    /// Encrypts the answer. `nonce` is random.
    ///
    /// # Errors
    ///
    /// [`PrivateQueryError::TooLong`]
    pub fn seal(
        &self,
        nonce: &[u8; ANSWER_NONCE_BYTES],
        answer: &[u8],
    ) -> Result<Vec<u8>, PrivateQueryError> {
        let (key, iv) = self.key(nonce);
        aead::encrypt(&key, iv, &[], answer).ok_or(PrivateQueryError::TooLong)
    }

    /// Decrypts the answer.
    ///
    /// # Errors
    ///
    /// [`PrivateQueryError::Answer`] if it is not one to this query.
    pub fn open(&self, nonce: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, PrivateQueryError> {
        let (key, iv) = match nonce.len() {
            ANSWER_NONCE_BYTES => self.key(nonce),
            _ => return Err(PrivateQueryError::Answer),
        };
        let answer = aead::decrypt(&key, iv, &[], ciphertext);
        // The caller's from here on.
        answer
            .map(|mut bytes| std::mem::take(&mut *bytes))
            .ok_or(PrivateQueryError::Answer)
    }

    fn key(&self, nonce: &[u8]) -> (Zeroizing<[u8; 32]>, [u8; aead::NONCE_BYTES]) {
        let salt = [&self.encapsulated, nonce].concat();
        let derived = Hkdf::<Sha256>::new(Some(&salt), self.secret.as_slice());
        let (mut key, mut iv) = (Zeroizing::new([0; 32]), [0; aead::NONCE_BYTES]);
        let expanded = derived
            .expand(ANSWER_KEY, key.as_mut_slice())
            .and_then(|()| derived.expand(ANSWER_IV, &mut iv));
        expanded.expect("HKDF gives 32 bytes, and more");
        (key, iv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerKey;
    use crate::derived_keys::query_key;

    const BINDING: Binding = Binding {
        session: [5; 32],
        key_version: 1,
        time_s: 1_780_272_000,
    };

    fn key(version: u32) -> QueryKey {
        query_key(&WorkerKey::from_seed([1; 32]), version)
    }

    fn sealed() -> (Sealed, AnswerSecret) {
        seal(&key(1).public, &BINDING, b"question", &[2; 32]).expect("sealed")
    }

    fn opens(key: &QueryKey, binding: &Binding, sealed: &Sealed) -> Option<Vec<u8>> {
        let opened = open(key, binding, &sealed.encapsulated, &sealed.ciphertext);
        opened.ok().map(|(query, _)| query)
    }

    #[test]
    fn a_query_and_its_answer_are_read_by_the_two_sides() {
        let (sealed, theirs) = sealed();
        let opened = open(&key(1), &BINDING, &sealed.encapsulated, &sealed.ciphertext);
        let (query, ours) = opened.expect("opened");
        assert_eq!(query, b"question");
        let answer = ours.seal(&[3; 32], b"answer").expect("sealed");
        assert_eq!(
            theirs.open(&[3; 32], &answer).as_deref(),
            Ok(&b"answer"[..])
        );
        for nonce in [&[4; 32][..], &[3; 31], b""] {
            assert_eq!(theirs.open(nonce, &answer), Err(PrivateQueryError::Answer));
        }
        let other = seal(&key(1).public, &BINDING, b"question", &[9; 32]);
        let (_, other) = other.expect("sealed");
        assert_eq!(
            other.open(&[3; 32], &answer),
            Err(PrivateQueryError::Answer)
        );
    }

    #[test]
    fn a_query_opens_as_it_was_sealed_and_in_no_other_way() {
        let (sealed, _) = sealed();
        assert!(opens(&key(1), &BINDING, &sealed).is_some());
        assert!(opens(&key(2), &BINDING, &sealed).is_none());
        for binding in [
            Binding {
                session: [6; 32],
                ..BINDING
            },
            Binding {
                key_version: 2,
                ..BINDING
            },
            Binding {
                time_s: BINDING.time_s + 1,
                ..BINDING
            },
        ] {
            assert!(opens(&key(1), &binding, &sealed).is_none(), "{binding:?}");
        }
        for bit in 0..8 * ENCAPSULATED_BYTES {
            let mut changed = sealed.clone();
            changed.encapsulated[bit / 8] ^= 1 << (bit % 8);
            assert!(opens(&key(1), &BINDING, &changed).is_none(), "{bit}");
        }
        for at in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            assert!(opens(&key(1), &BINDING, &changed).is_none(), "{at}");
        }
        for short in [&[][..], &sealed.ciphertext[..15]] {
            let opened = open(&key(1), &BINDING, &sealed.encapsulated, short);
            assert!(opened.is_err());
        }
        assert!(open(&key(1), &BINDING, &[0; 32], &sealed.ciphertext).is_err());
        assert!(open(&key(1), &BINDING, &[1; 31], &sealed.ciphertext).is_err());
    }

    #[test]
    fn nobody_is_written_to_nobody() {
        let sealed = seal(&[0; 32], &BINDING, b"question", &[2; 32]);
        assert_eq!(sealed.err(), Some(PrivateQueryError::PublicKey));
    }
}
