//! Queries that only the worker can read, from the sender's side.
//!
//! No I/O and no randomness. The worker's side is `wapo_crypto::envelope`.
//! Called by programs that ask apps, and by tests.

use wapo_crypto::envelope::{self, EnvelopeError};
use wapo_crypto::{PublicKey, WorkerKey};

use crate::Encoding;
use crate::message::{EncryptedQueryArgs, QueryArgs};

/// The key is used once, so any nonce is fresh.
const NONCE: [u8; 12] = [0; 12];

impl EncryptedQueryArgs {
    /// Encrypts a query for the worker with this key, which `WorkerInfo` has.
    ///
    /// `seed` are random bytes, new for each query and forgotten afterwards:
    /// their holder can read the query. The answer will not be encrypted.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::PublicKey`] when `worker` is not a valid key.
    pub fn seal(
        query: &QueryArgs,
        worker: &PublicKey,
        seed: [u8; 32],
    ) -> Result<Self, EnvelopeError> {
        let sender = WorkerKey::from_seed(seed);
        let plaintext = Encoding::Protobuf.encode(query);
        Ok(Self {
            pubkey: sender.public().to_vec(),
            encrypted_payload: envelope::seal(&sender, worker, &plaintext, NONCE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_worker_reads_what_was_asked() {
        let worker = WorkerKey::from_seed([1; 32]);
        let query = QueryArgs {
            address: vec![7; 32],
            path: "/secret".to_owned(),
            ..QueryArgs::default()
        };
        let sealed = EncryptedQueryArgs::seal(&query, &worker.public(), [2; 32]).expect("sealed");
        let opened = envelope::open(&worker, &sealed.pubkey, &sealed.encrypted_payload);
        let opened: QueryArgs = Encoding::Protobuf
            .decode(&opened.expect("opened"))
            .expect("a query");
        assert_eq!(opened, query);
        let other = WorkerKey::from_seed([3; 32]);
        let opened = envelope::open(&other, &sealed.pubkey, &sealed.encrypted_payload);
        assert_eq!(opened, Err(EnvelopeError::Tag));
        let nobody = EncryptedQueryArgs::seal(&query, &[0xff; 32], [2; 32]);
        assert_eq!(nobody, Err(EnvelopeError::PublicKey));
    }
}
