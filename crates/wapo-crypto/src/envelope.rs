//! Encrypted queries: AES-256-GCM under a key that two key pairs share.
//!
//! A nonce, the ciphertext, the tag. The layout is that of Wapo 0.x, with its
//! bounds: a holder of one of the two secret keys can read everything that was
//! ever sent between them, and nothing stops a message from being sent again.
//! Senders are advised to use a fresh key per query. Called by the RPC.

use crate::aead;
use crate::worker_key::{PublicKey, WorkerKey};

/// Why a message stays closed. The texts may be shown to remote clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not a valid public key.
    #[error("Invalid public key")]
    PublicKey,
    /// Shorter than a nonce.
    #[error("Invalid message")]
    Message,
    /// Another key, or changed on the way.
    #[error("the message is not for this key, or was changed on the way")]
    Tag,
    /// More than the cipher can take.
    #[error("the message is longer than 64 GiB")]
    TooLong,
}

/// Encrypts for `recipient`.
///
/// `nonce` is random and must not be used twice between the same two keys.
///
/// # Errors
///
/// [`EnvelopeError::PublicKey`] or [`EnvelopeError::TooLong`].
pub fn seal(
    sender: &WorkerKey,
    recipient: &PublicKey,
    plaintext: &[u8],
    nonce: [u8; 12],
) -> Result<Vec<u8>, EnvelopeError> {
    let key = sender
        .shared_key(recipient)
        .ok_or(EnvelopeError::PublicKey)?;
    let ciphertext = aead::encrypt(&key, nonce, b"", plaintext).ok_or(EnvelopeError::TooLong)?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

/// Decrypts a message of the holder of the public key `sender`.
///
/// # Errors
///
/// [`EnvelopeError`] if the message was not sealed for this key by that sender.
pub fn open(
    recipient: &WorkerKey,
    sender: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let (nonce, ciphertext) = message
        .split_first_chunk::<{ aead::NONCE_BYTES }>()
        .ok_or(EnvelopeError::Message)?;
    let sender = sender.try_into().map_err(|_| EnvelopeError::PublicKey)?;
    let key = recipient
        .shared_key(sender)
        .ok_or(EnvelopeError::PublicKey)?;
    let opened = aead::decrypt(&key, *nonce, b"", ciphertext);
    // A question to an app is no secret of the worker: it goes on as what it is.
    opened
        .map(|mut opened| std::mem::take(&mut *opened))
        .ok_or(EnvelopeError::Tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "2bbe73f33cd2914657a0312f6a32d75dc0c0b002efc12e817fbf74ed17fb214e\
                           57ca64258d1345";

    fn worker() -> WorkerKey {
        WorkerKey::from_seed([1; 32])
    }

    fn user() -> WorkerKey {
        WorkerKey::from_seed([2; 32])
    }

    #[test]
    fn messages_to_existing_workers_are_read() {
        let public = "1a4fee48c1ba1a48e8cd43782a8485d635aa91cfb82cbb477f0c1c576bc4031c";
        assert_eq!(hex::encode(user().public()), public);
        let message = hex::decode(MESSAGE).expect("hex");
        let opened = open(&worker(), &user().public(), &message);
        assert_eq!(opened, Ok(b"hello world".to_vec()));
        // The same nonce gives the same bytes, so existing workers read ours.
        let nonce = message[..12].try_into().expect("12 bytes");
        let sealed = seal(&user(), &worker().public(), b"hello world", nonce);
        assert_eq!(sealed, Ok(message));
    }

    #[test]
    fn a_message_with_any_bit_flipped_stays_closed() {
        let message = hex::decode(MESSAGE).expect("hex");
        for bit in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let opened = open(&worker(), &user().public(), &flipped);
            assert_eq!(opened, Err(EnvelopeError::Tag), "bit {bit}");
        }
    }

    #[test]
    fn short_messages_and_strange_keys_are_refused() {
        let message = hex::decode(MESSAGE).expect("hex");
        let sender = user().public();
        for length in 0..message.len() {
            let expected = match length {
                0..12 => EnvelopeError::Message,
                _ => EnvelopeError::Tag,
            };
            let opened = open(&worker(), &sender, &message[..length]);
            assert_eq!(opened, Err(expected), "{length} bytes");
        }
        assert_eq!(EnvelopeError::Message.to_string(), "Invalid message");
        // Too short, too long, no point, and the point that shares one key with all.
        for sender in [&[][..], &[1; 31], &[1; 33], &[0xff; 32], &[0; 32]] {
            let opened = open(&worker(), sender, &message);
            assert_eq!(opened, Err(EnvelopeError::PublicKey), "{sender:?}");
        }
        let other = WorkerKey::from_seed([3; 32]);
        let opened = open(&other, &sender, &message);
        assert_eq!(opened, Err(EnvelopeError::Tag));
    }
}
