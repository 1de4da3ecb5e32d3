//! What the worker can prove of itself, and of apps: quotes, evidence, keys.
//!
//! One [`Attester`] belongs to a worker and is shared with the embedders of its apps.
//! It keeps evidence without a nonce and hands it out as long as it is true. A third of
//! its life after it was made, `keep_attested` of `attested` has it renewed, so nobody
//! waits for hardware, and hardware that fails for some hours stops nobody. Evidence
//! with a nonce is made when it is asked for, within the bounds of `attestation`.
//! Evidence of an app is the worker's with the claims of the app, signed (`app_evidence`).
//! What a client may ask for is decided here.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parity_scale_codec::Encode as _;
use tokio::time::Instant;
use wapo_crypto::derived_keys::P256Key;
use wapo_crypto::report_data;
use wapo_rpc::limits::EVIDENCE_NONCE_BYTES_MAX;
use wapo_rpc::statement::{AttestationReport, Bounded, Quote, WorkerClaims, WorkerEvidence};

use super::clock::unix_s;
use super::collateral::Collateral;
use super::proofs::{Fresh, KeptKey};
use super::session::Session;
use crate::attestation::{self, About, Asker, Figures, QuoteError, Quoter, SourceKind};
use crate::config::Config;
use crate::error::StartError;
use crate::identity::Identity;
use crate::limits::{EVIDENCE_LIFE, EVIDENCE_RENEWAL, QUOTE_RETRY_PAUSE};
use crate::store::KeyVersions;

/// Name and version of this software in claims.
pub(super) const SOFTWARE: &str = concat!("wapod ", env!("CARGO_PKG_VERSION"));

/// Why there is no evidence. The texts are for remote clients.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    #[error(transparent)]
    Quote(#[from] QuoteError),
    #[error("a nonce has {EVIDENCE_NONCE_BYTES_MAX} bytes at most, this one has {0}")]
    LongNonce(usize),
    #[error("the claims are too long for evidence: {0}")]
    TooLong(#[from] wapo_rpc::statement::TooLong),
}

/// Makes evidence.
pub(crate) struct Attester {
    quoter: Option<Quoter>,
    collateral: Collateral,
    pub(super) identity: Arc<Identity>,
    session: Arc<Session>,
    host_controlled: Vec<String>,
    keys: Mutex<KeyVersions>,
    /// What an app may have that has no limits of its own.
    pub(super) memory_max_bytes: u64,
    pub(super) instances_max: u32,
    /// What was made last without a nonce.
    kept: Mutex<Option<Arc<Fresh>>>,
    /// Held while it is made, so that many who miss it have it made once; when it could
    /// not be made.
    making: tokio::sync::Mutex<Option<(Instant, QuoteError)>>,
    answer_key: KeptKey,
}

impl Attester {
    /// Looks for what makes quotes, and starts it. `file` is where collateral is kept.
    /// Blocks for a moment.
    ///
    /// # Errors
    ///
    /// [`StartError::Attestation`]
    pub(crate) fn start(
        config: &Config,
        identity: &Arc<Identity>,
        session: &Arc<Session>,
        keys: KeyVersions,
        file: Option<PathBuf>,
    ) -> Result<Self, StartError> {
        let found = attestation::find(&config.attestation);
        let (quoter, simulator) = found.map_err(StartError::Attestation)?;
        let pccs = config.attestation.pccs.as_deref();
        let collateral = Collateral::open(simulator, pccs, &config.trust_roots, file);
        let collateral = collateral.map_err(StartError::Attestation)?;
        Ok(Self {
            quoter,
            collateral,
            identity: Arc::clone(identity),
            session: Arc::clone(session),
            host_controlled: config.attestation.host_controlled.clone(),
            keys: Mutex::new(keys),
            memory_max_bytes: config.memory_max_bytes,
            instances_max: config.instances_max,
            kept: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            answer_key: KeptKey::default(),
        })
    }

    /// One that can prove nothing.
    #[cfg(test)]
    pub(crate) fn without_hardware(identity: &Arc<Identity>, session: &Arc<Session>) -> Self {
        let config = Config::default();
        let made = Self::start(&config, identity, session, KeyVersions::default(), None);
        made.expect("nothing is started")
    }

    /// What stands behind quotes; `None` where there are none.
    pub(crate) fn source(&self) -> Option<SourceKind> {
        self.quoter.as_ref().map(Quoter::kind)
    }

    /// What has become of quotes and evidence; `None` where there are none.
    pub(crate) fn figures(&self) -> Option<&Figures> {
        self.quoter.as_ref().map(Quoter::figures)
    }

    pub(super) fn count(&self, about: About) {
        if let Some(figures) = self.figures() {
            figures.count_evidence(about);
        }
    }

    /// A quote over data of a guest, as its own.
    pub(crate) async fn quote_for_app(&self, app: &[u8; 32], data: &[u8]) -> Option<Vec<u8>> {
        let quote = self
            .quote(report_data::for_app(app, data), Asker::Guest)
            .await;
        quote_bytes(quote.ok()?)
    }

    /// A quote over the worker's registration; `None` where there are none.
    pub(crate) async fn registration(&self, encoded: &[u8]) -> Option<AttestationReport> {
        let data = report_data::for_registration(encoded);
        let quote = self.quote(data, Asker::Worker).await;
        quote_bytes(quote.ok()?).map(AttestationReport::from_quote)
    }

    async fn quote(
        &self,
        data: [u8; report_data::REPORT_DATA_BYTES],
        asker: Asker,
    ) -> Result<Quote, QuoteError> {
        match &self.quoter {
            Some(quoter) => quoter.quote(data, asker).await,
            None => Err(QuoteError::None),
        }
    }

    /// Evidence of the worker: cached without a nonce, fresh with one.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`]
    pub(crate) async fn worker_evidence(
        &self,
        nonce: Vec<u8>,
        asker: Asker,
    ) -> Result<Arc<Fresh>, EvidenceError> {
        let bytes = nonce.len();
        let nonce = Bounded::new(nonce).map_err(|_| EvidenceError::LongNonce(bytes))?;
        if !nonce.is_empty() {
            return Ok(Arc::new(self.make(nonce, asker).await?));
        }
        match self.still_true() {
            Some(fresh) => Ok(fresh),
            None => self.make_kept(|fresh| self.is_true(&fresh.claims)).await,
        }
    }

    /// The evidence that all clients get, made again when a good part of its life is
    /// over.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`]; what there was may be true still.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn renewed(&self) -> Result<Arc<Fresh>, EvidenceError> {
        self.make_kept(|fresh| self.is_true(&fresh.claims) && !is_due(&fresh.claims, unix_s()))
            .await
    }

    /// The evidence that all clients get, if what it says is true.
    pub(super) fn still_true(&self) -> Option<Arc<Fresh>> {
        let kept = self.kept().clone();
        kept.filter(|fresh| self.is_true(&fresh.claims))
    }

    /// Makes the evidence that all clients get, unless it is good enough.
    async fn make_kept(
        &self,
        is_enough: impl Fn(&Fresh) -> bool,
    ) -> Result<Arc<Fresh>, EvidenceError> {
        let mut failed = self.making.lock().await;
        let kept = self.kept().clone();
        if let Some(fresh) = kept.filter(|fresh| is_enough(fresh)) {
            return Ok(fresh);
        }
        // Not once for each of many who ask a broken machine.
        if let Some((at, error)) = &*failed
            && at.elapsed() < QUOTE_RETRY_PAUSE
        {
            return Err(error.clone().into());
        }
        let made = self.make(Bounded::default(), Asker::Worker).await;
        *failed = match &made {
            Err(EvidenceError::Quote(error)) => Some((Instant::now(), error.clone())),
            _ => None,
        };
        let fresh = Arc::new(made?);
        *self.kept() = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Whether claims say what is so. A clock that was set back makes them untrue, too.
    fn is_true(&self, claims: &WorkerClaims) -> bool {
        claims.session == self.session.id()
            && claims.key_version == self.keys().worker()
            && (claims.issued_at..claims.expires_at).contains(&unix_s())
    }

    async fn make(
        &self,
        nonce: Bounded<Vec<u8>, EVIDENCE_NONCE_BYTES_MAX>,
        asker: Asker,
    ) -> Result<Fresh, EvidenceError> {
        let now = unix_s();
        let key_version = self.keys().worker();
        let identity = &self.identity;
        let names = self.host_controlled.iter().cloned().map(Bounded::new);
        let claims = WorkerClaims {
            version: WorkerClaims::VERSION,
            pubkey: identity.public_key(),
            query_pubkey: identity.query_key(key_version).public,
            answer_pubkey: Bounded::new(self.answer_key_of(key_version).public_der())?,
            session: self.session.id(),
            software: Bounded::new(SOFTWARE.to_owned())?,
            host_controlled: Bounded::new(names.collect::<Result<_, _>>()?)?,
            key_version,
            issued_at: now,
            expires_at: now + EVIDENCE_LIFE.as_secs(),
            nonce,
        };
        let encoded = claims.encode();
        let quote = self
            .quote(report_data::for_worker_claims(&encoded), asker)
            .await?;
        let evidence = WorkerEvidence {
            collateral: self.collateral.of(&quote, now),
            quote,
            claims: Bounded::new(encoded)?,
        };
        self.count(About::Worker);
        Ok(Fresh { evidence, claims })
    }

    /// The worker's key that signs answers.
    pub(crate) fn answer_key(&self) -> Arc<P256Key> {
        self.answer_key_of(self.keys().worker())
    }

    fn answer_key_of(&self, version: u32) -> Arc<P256Key> {
        let derive = || self.identity.answer_key(version);
        self.answer_key.get(version, derive)
    }

    /// Fetches what verifiers need beside a quote, where it is time for that, and puts it
    /// beside the quote that there is.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn renew_collateral(&self, fresh: &Fresh) {
        let quote = &fresh.evidence.quote;
        if !self.collateral.renew(quote, unix_s()).await {
            return;
        }
        let mut kept = self.kept();
        // A task that has made other evidence meanwhile may not have had the collateral.
        if let Some(now) = kept.as_ref() {
            let evidence = WorkerEvidence {
                collateral: self.collateral.of(&now.evidence.quote, unix_s()),
                ..now.evidence.clone()
            };
            let claims = now.claims.clone();
            *kept = Some(Arc::new(Fresh { evidence, claims }));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Arc<Fresh>>> {
        // Every change is a single assignment.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Versions of keys.
    pub(crate) fn keys(&self) -> MutexGuard<'_, KeyVersions> {
        // Every change is a single insertion.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether evidence should be made again.
fn is_due(claims: &WorkerClaims, now: u64) -> bool {
    now >= claims.issued_at + EVIDENCE_RENEWAL.as_secs()
}

/// The bytes of a quote in the form of DCAP, which the older calls promise.
fn quote_bytes(quote: Quote) -> Option<Vec<u8>> {
    match quote {
        Quote::Sgx(bytes) | Quote::Tdx(bytes) | Quote::Simulator(bytes) => Some(bytes.into_inner()),
        Quote::SevSnp { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::store::Store;

    /// With hardware that makes one quote, and then fails whenever `failing` is told to.
    async fn attester(failing: mpsc::Receiver<()>) -> Attester {
        let (store, _) = Store::in_memory().expect("store");
        let session = Session::open(Arc::new(store), None).await.expect("session");
        let identity = Arc::new(Identity::throw_away());
        let mut has_made = false;
        let quoter = Quoter::played(move |_| {
            if has_made {
                let _ = failing.recv();
                return None;
            }
            has_made = true;
            Some(Quote::Sgx(Bounded::default()))
        });
        Attester {
            quoter: Some(quoter),
            ..Attester::without_hardware(&identity, &Arc::new(session))
        }
    }

    /// As if the evidence had been made so long ago.
    fn age(attester: &Attester, age: Duration) -> Arc<Fresh> {
        let fresh = attester.kept().clone().expect("evidence");
        let mut claims = fresh.claims.clone();
        claims.issued_at = unix_s() - age.as_secs();
        claims.expires_at = claims.issued_at + EVIDENCE_LIFE.as_secs();
        let evidence = fresh.evidence.clone();
        let old = Arc::new(Fresh { evidence, claims });
        *attester.kept() = Some(Arc::clone(&old));
        old
    }

    #[tokio::test]
    async fn evidence_that_is_true_is_handed_out_while_hardware_hangs_and_fails() {
        let (fail, failing) = mpsc::channel();
        let attester = attester(failing).await;
        let ask = || attester.worker_evidence(Vec::new(), Asker::Worker);
        let first = attester.renewed().await.expect("made");
        assert!(Arc::ptr_eq(&attester.renewed().await.expect("new"), &first));

        let old = age(&attester, EVIDENCE_RENEWAL);
        let mut renewing = pin!(attester.renewed());
        assert!(renewing.as_mut().now_or_never().is_none(), "it hangs");
        let given = ask().now_or_never().expect("without a wait");
        assert!(Arc::ptr_eq(&given.expect("true"), &old));
        fail.send(()).expect("it waits");
        let failed = Err(EvidenceError::Quote(QuoteError::Failed));
        assert_eq!(renewing.await.map(drop), failed);
        assert!(Arc::ptr_eq(&ask().await.expect("true"), &old));

        age(&attester, EVIDENCE_LIFE);
        assert_eq!(ask().await.map(drop), failed, "it has expired");
        let old = age(&attester, EVIDENCE_RENEWAL);
        assert!(Arc::ptr_eq(&ask().await.expect("true"), &old));
        attester.keys().raise(None);
        assert_eq!(ask().await.map(drop), failed, "it names an old key");
    }
}
