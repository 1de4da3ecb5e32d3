//! The session: with whom, and since when, a worker settles usage.

use parity_scale_codec::{Decode, Encode};
use wapo_crypto::{ContentType, blake2b_256};

use super::{Bounded, Signature, Statement, TooLong};
use crate::limits::{ACCOUNT_BYTES, SALT_BYTES_MAX};

/// Bytes of a session's id.
pub const SESSION_BYTES: usize = 32;

/// A session began.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SessionUpdate {
    /// Id of the session: hash of the nonce and the operator's salt.
    pub session: [u8; SESSION_BYTES],
    /// The worker's part of it.
    pub nonce: [u8; 32],
    /// Account that is paid; empty for none.
    pub recipient: Bounded<Vec<u8>, ACCOUNT_BYTES>,
}

impl SessionUpdate {
    /// Makes a session of a fresh random nonce and the operator's salt.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when the salt is.
    pub fn new(
        nonce: [u8; 32],
        salt: &[u8],
        recipient: Option<[u8; ACCOUNT_BYTES]>,
    ) -> Result<Self, TooLong> {
        if salt.len() > SALT_BYTES_MAX {
            return Err(TooLong {
                actual: salt.len(),
                max: SALT_BYTES_MAX,
            });
        }
        Ok(Self::of(nonce, salt, recipient))
    }

    /// Makes the default session: without a salt, without an account that is paid.
    pub fn unclaimed(nonce: [u8; 32]) -> Self {
        Self::of(nonce, b"", None)
    }

    fn of(nonce: [u8; 32], salt: &[u8], recipient: Option<[u8; ACCOUNT_BYTES]>) -> Self {
        Self {
            session: blake2b_256(&[&nonce, salt].concat()),
            nonce,
            recipient: recipient.map(Bounded::from).unwrap_or_default(),
        }
    }
}

impl Statement for SessionUpdate {
    const CONTENT_TYPE: ContentType = ContentType::SessionUpdate;
}

/// A session, signed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedSessionUpdate {
    /// What is signed.
    pub update: SessionUpdate,
    /// The worker's signature.
    pub signature: Signature,
    /// The worker's public key.
    pub public_key: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[test]
    fn session_is_the_one_that_verifiers_compute() {
        let update = SessionUpdate::new([7; 32], b"abc", Some([9; 32])).expect("short");
        let id = "7306402106fe948e1a428626d260e2719249fce8cb758533a34df1bf193e4ba0";
        assert_eq!(hex::encode(update.session), id);
        let expected = format!("{id}{}80{}", "07".repeat(32), "09".repeat(32));
        assert_eq!(hex::encode(update.encode()), expected);
        assert_eq!(decode(&update.encode()), Ok(update.clone()));
        let signed = SignedSessionUpdate {
            update,
            signature: [5; 64].into(),
            public_key: [6; 32],
        };
        let tail = format!("0101{}{}", "05".repeat(64), "06".repeat(32));
        assert_eq!(hex::encode(signed.encode()), expected + &tail);
    }

    #[test]
    fn nobody_needs_to_be_paid_and_salts_are_short() {
        let update = SessionUpdate::new([0; 32], b"", None).expect("short");
        assert_eq!(update.encode().len(), 65);
        assert_eq!(SessionUpdate::unclaimed([0; 32]), update);
        assert!(SessionUpdate::new([0; 32], &[0; SALT_BYTES_MAX], None).is_ok());
        assert!(SessionUpdate::new([0; 32], &[0; SALT_BYTES_MAX + 1], None).is_err());
        let mut long = update.encode();
        long.truncate(64);
        long.extend(vec![1u8; 33].encode());
        assert!(decode::<SessionUpdate>(&long).is_err());
    }
}
