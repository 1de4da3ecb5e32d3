//! What was made to prove something, as it is kept: evidence, keys that sign answers,
//! certificates.
//!
//! Makes nothing itself: evidence of the worker is made by `attester`, that of apps by
//! `app_evidence`, certificates by `attested`. They and `app` call it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::sign::CertifiedKey;
use wapo_crypto::derived_keys::P256Key;
use wapo_rpc::limits::APP_CLAIMS_BYTES_MAX;
use wapo_rpc::statement::{Bounded, Signature, WorkerClaims, WorkerEvidence};

/// A key that signs answers, kept with its version: to derive it takes as long as to sign.
#[derive(Default)]
pub(super) struct KeptKey(Mutex<Option<(u32, Arc<P256Key>)>>);

impl KeptKey {
    pub(super) fn get(&self, version: u32, derive: impl FnOnce() -> P256Key) -> Arc<P256Key> {
        // Replaced as a whole.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, key)) if *of == version => Arc::clone(key),
            _ => {
                let key = Arc::new(derive());
                *kept = Some((version, Arc::clone(&key)));
                key
            }
        }
    }
}

/// Evidence of the worker and what it says.
pub(crate) struct Fresh {
    pub(crate) evidence: WorkerEvidence,
    pub(crate) claims: WorkerClaims,
}

/// On what something rests that was made of an app: what the worker claims, and the
/// version of the app's key.
pub(super) struct Basis {
    pub(super) worker: Arc<Fresh>,
    pub(super) key_version: u32,
}

impl Basis {
    /// Whether the same would be made again. Collateral does not matter: it is no part of
    /// what is made.
    pub(super) fn is(&self, worker: &Fresh, key_version: u32) -> bool {
        self.key_version == key_version && self.worker.evidence.claims == worker.evidence.claims
    }
}

/// What was last said of an app without a nonce. The evidence of the worker is as long as
/// all of this, and is kept once.
pub(super) struct Said {
    pub(super) claims: Bounded<Vec<u8>, APP_CLAIMS_BYTES_MAX>,
    pub(super) signature: Signature,
    pub(super) basis: Basis,
}

/// What an app has at the shared port, and what it was made of.
pub(super) struct Held {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) names: Vec<String>,
    pub(super) basis: Basis,
}

/// What an app proves itself with, as far as it was asked for.
#[derive(Default)]
pub(super) struct Proofs {
    /// Its evidence without a nonce.
    pub(super) said: Mutex<Option<Said>>,
    /// The key that signs its answers.
    pub(super) key: KeptKey,
    /// Its certificate at the shared TLS port.
    pub(super) held: RwLock<Option<Held>>,
}

impl Proofs {
    /// The certificate with which the daemon ends TLS for the app's names.
    pub(super) fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|held| Arc::clone(&held.certified))
    }
}
