//! The worker's key on its way to another worker: encrypted to a key of that one.
//!
//! HPKE in its base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! ChaCha20-Poly1305. Which workers may ask, and whose key was sent, is not decided
//! here: `wapod` checks the evidence of both. The requesting worker makes a
//! [`Recipient`] for one request; the answering one calls [`seal`].

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use crate::worker_key::FixedRng;

/// What this is for, in each key that is derived. It never changes.
const INFO: &[u8] = b"wapo/key-handover/1";

type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// A message that cannot be encrypted or decrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandoverError {
    /// Not a key of X25519, or one whose shared secret is the same for all keys.
    #[error("the key to encrypt to is not valid")]
    Recipient,
    /// Another recipient, another request, or a changed byte.
    #[error("it was encrypted to another key, for another request, or is damaged")]
    Sealed,
}

/// A key that something is encrypted to, for once. Its secret is wiped when it is dropped.
pub struct Recipient {
    secret: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: [u8; 32],
}

impl Recipient {
    /// The key that follows from random bytes (RFC 9180, section 7.1.3), which must be
    /// fresh.
    pub fn new(random: &[u8; 32]) -> Self {
        let (secret, public) = X25519HkdfSha256::derive_keypair(random);
        Self {
            secret,
            public: public.to_bytes().into(),
        }
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Decrypts what [`seal`] made for this key and request.
    ///
    /// # Errors
    ///
    /// [`HandoverError::Sealed`]
    pub fn open(
        &self,
        request: &[u8; 32],
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, HandoverError> {
        let encapsulated = EncappedKey::from_bytes(&sealed.encapsulated);
        let encapsulated = encapsulated.map_err(|_| HandoverError::Sealed)?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.secret,
            &encapsulated,
            INFO,
            &sealed.ciphertext,
            request,
        );
        opened
            .map(Zeroizing::new)
            .map_err(|_| HandoverError::Sealed)
    }
}

/// What was encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The sender's part of the key.
    pub encapsulated: [u8; 32],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// Encrypts to a [`Recipient`]. `request` is the hash of what was asked, without which
/// nobody can open it; `random` must be fresh.
///
/// # Errors
///
/// [`HandoverError::Recipient`]
pub fn seal(
    recipient: &[u8; 32],
    request: &[u8; 32],
    plaintext: &[u8],
    random: [u8; 32],
) -> Result<Sealed, HandoverError> {
    let recipient = PublicKey::from_bytes(recipient);
    let recipient = recipient.map_err(|_| HandoverError::Recipient)?;
    let sealed = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
        &OpModeS::Base,
        &recipient,
        INFO,
        plaintext,
        request,
        &mut FixedRng::new(random),
    );
    let (encapsulated, ciphertext) = sealed.map_err(|_| HandoverError::Recipient)?;
    Ok(Sealed {
        encapsulated: encapsulated.to_bytes().into(),
        ciphertext,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 32] = [5; 32];

    fn sealed() -> Sealed {
        let to = Recipient::new(&[1; 32]).public();
        seal(&to, &REQUEST, b"secret", [2; 32]).expect("sealed")
    }

    #[test]
    fn what_was_sealed_opens_for_one_key_and_request() {
        let opened = Recipient::new(&[1; 32]).open(&REQUEST, &sealed());
        assert_eq!(opened.expect("opened").as_slice(), b"secret");
        let other = Recipient::new(&[3; 32]).open(&REQUEST, &sealed());
        assert_eq!(other, Err(HandoverError::Sealed));
        let elsewhere = Recipient::new(&[1; 32]).open(&[6; 32], &sealed());
        assert_eq!(elsewhere, Err(HandoverError::Sealed));
    }

    #[test]
    fn each_flipped_bit_and_each_missing_byte_is_refused() {
        let recipient = Recipient::new(&[1; 32]);
        let length = sealed().ciphertext.len();
        assert_eq!(length, b"secret".len() + 16);
        for bit in 0..(32 + length) * 8 {
            let mut flipped = sealed();
            let byte = match bit / 8 {
                at @ 0..32 => &mut flipped.encapsulated[at],
                at => &mut flipped.ciphertext[at - 32],
            };
            *byte ^= 1 << (bit % 8);
            // The highest bit of a point is not part of it (RFC 7748, section 5); it is
            // in what keys are derived from.
            let opened = recipient.open(&REQUEST, &flipped);
            assert_eq!(opened, Err(HandoverError::Sealed), "bit {bit}");
        }
        for length in 0..length {
            let mut cut = sealed();
            cut.ciphertext.truncate(length);
            assert!(recipient.open(&REQUEST, &cut).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_key_whose_secret_everybody_shares_is_refused() {
        let none = seal(&[0; 32], &REQUEST, b"secret", [2; 32]);
        assert_eq!(none, Err(HandoverError::Recipient));
    }

    /// A vector of RFC 9180, appendix A.2.1 (base mode, ChaCha20-Poly1305): the key that
    /// follows from random bytes.
    #[test]
    fn a_recipient_is_derived_as_the_standard_says() {
        let random = "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df";
        let public = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
        let random: [u8; 32] = hex::decode(random)
            .expect("hex")
            .try_into()
            .expect("32 bytes");
        assert_eq!(hex::encode(Recipient::new(&random).public()), public);
    }
}
