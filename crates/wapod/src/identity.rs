//! Who this worker is: its key, its session, its sequence numbers.
//!
//! The only place that holds the secret key and draws randomness for it. The
//! identity is made anew at every start; keeping one is not done here yet.
//! Called by `embedder` and `api`.

use std::sync::atomic::{AtomicU64, Ordering};

use wapo_abi::message::MetricsToken;
use wapo_crypto::{PublicKey, WorkerKey};

/// Key and session of a worker.
pub(crate) struct Identity {
    key: WorkerKey,
    session: [u8; 32],
    readings: AtomicU64,
}

impl Identity {
    /// An identity that nobody has had and that nobody can have again.
    pub(crate) fn throw_away() -> Self {
        Self {
            key: WorkerKey::from_seed(rand::random()),
            session: rand::random(),
            readings: AtomicU64::new(0),
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    pub(crate) fn session(&self) -> [u8; 32] {
        self.session
    }

    /// Signs what an app wants signed.
    pub(crate) fn sign_for_app(&self, app: &[u8; 32], data: &[u8]) -> Vec<u8> {
        self.key.sign_for_app(app, data, rand::random()).to_vec()
    }

    /// Derives an app's secret.
    pub(crate) fn derive_secret(&self, app: &[u8; 32], path: &[u8]) -> [u8; 64] {
        self.key.derive_secret(app, path)
    }

    /// Numbers a reading of usage; the first one has number 1.
    pub(crate) fn metrics_token(&self) -> MetricsToken {
        MetricsToken {
            sn: self.readings.fetch_add(1, Ordering::Relaxed) + 1,
            session: self.session,
            nonce: rand::random(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_numbered_from_one() {
        let identity = Identity::throw_away();
        let (first, second) = (identity.metrics_token(), identity.metrics_token());
        assert_eq!((first.sn, second.sn), (1, 2));
        assert_eq!(first.session, second.session);
        assert_ne!(first.nonce, second.nonce);
    }

    #[test]
    fn identities_differ() {
        let (one, other) = (Identity::throw_away(), Identity::throw_away());
        assert_ne!(one.public_key(), other.public_key());
    }
}
