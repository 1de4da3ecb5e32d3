//! What the worker can prove of itself, and of apps: quotes, evidence, keys.
//!
//! One [`Attester`] belongs to a worker and is shared with the embedders of its apps.
//! It keeps evidence without a nonce and hands it out as long as it is true. A third of
//! its life after it was made, `keep_attested` of `attested` has it renewed, so nobody
//! waits for hardware, and hardware that fails for some hours stops nobody. Evidence
//! with a nonce is made when it is asked for, within the bounds of `attestation`.
//! Evidence of an app is the worker's with the claims of the app, signed. What a client
//! may ask for is decided here.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parity_scale_codec::Encode as _;
use tokio::time::Instant;
use wapo_crypto::derived_keys::P256Key;
use wapo_crypto::{blake2b_256, report_data};
use wapo_rpc::limits::{APP_CLAIMS_BYTES_MAX, EVIDENCE_NONCE_BYTES_MAX};
use wapo_rpc::statement::{
    AppClaims, AppEvidence, AppLimits, AttestationReport, Bounded, Quote, Signature,
    Statement as _, WorkerClaims, WorkerEvidence, app_key_parameters,
};

use super::app::App;
use super::collateral::Collateral;
use super::session::Session;
use super::unix_s;
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
    identity: Arc<Identity>,
    session: Arc<Session>,
    host_controlled: Vec<String>,
    keys: Mutex<KeyVersions>,
    /// What an app may have that has no limits of its own.
    memory_max_bytes: u64,
    instances_max: u32,
    /// What was made last without a nonce.
    kept: Mutex<Option<Arc<Fresh>>>,
    /// Held while it is made, so that many who miss it have it made once; when it could
    /// not be made.
    making: tokio::sync::Mutex<Option<(Instant, QuoteError)>>,
    answer_key: KeptKey,
}

/// A key that signs answers, kept with its version: to derive it takes as long as to sign.
#[derive(Default)]
pub(super) struct KeptKey(Mutex<Option<(u32, Arc<P256Key>)>>);

impl KeptKey {
    fn get(&self, version: u32, derive: impl FnOnce() -> P256Key) -> Arc<P256Key> {
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
    claims: Bounded<Vec<u8>, APP_CLAIMS_BYTES_MAX>,
    signature: Signature,
    basis: Basis,
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

    /// Evidence of an app, with its claims: cached without a nonce, fresh with one.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`]
    pub(crate) async fn app_evidence(
        &self,
        app: &App,
        nonce: Vec<u8>,
        asker: Asker,
    ) -> Result<AppEvidence, EvidenceError> {
        let has_nonce = !nonce.is_empty();
        let worker = self.worker_evidence(nonce, asker).await?;
        if has_nonce {
            let (evidence, _) = self.sign_for(app, &worker)?;
            self.count(About::App);
            return Ok(evidence);
        }
        let key_version = self.keys().of(&app.address);
        // Held while it is made: many who ask have it signed once. Replaced as a whole.
        let mut said = app
            .proofs()
            .said
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = &*said
            && said.basis.is(&worker, key_version)
        {
            return Ok(AppEvidence {
                worker: worker.evidence.clone(),
                claims: said.claims.clone(),
                signature: said.signature.clone(),
            });
        }
        let (evidence, _) = self.sign_for(app, &worker)?;
        self.count(About::App);
        *said = Some(Said {
            claims: evidence.claims.clone(),
            signature: evidence.signature.clone(),
            basis: Basis {
                worker,
                key_version,
            },
        });
        Ok(evidence)
    }

    /// What the worker says of an app, behind its own evidence; and the app's key.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::TooLong`]
    pub(crate) fn sign_for(
        &self,
        app: &App,
        worker: &Fresh,
    ) -> Result<(AppEvidence, Arc<P256Key>), EvidenceError> {
        let manifest = &app.manifest;
        let args = manifest.args.iter().cloned().map(Bounded::new);
        let said = &worker.claims;
        let key_version = self.keys().of(&app.address);
        let key = self.key_of(app, key_version);
        let claims = AppClaims {
            version: AppClaims::VERSION,
            worker: said.pubkey,
            worker_session: said.session,
            address: app.address,
            deployment: app.session,
            code_hash: Bounded::new(manifest.code_hash.clone())?,
            args: Bounded::new(args.collect::<Result<_, _>>()?)?,
            env_hash: blake2b_256(&manifest.env_vars.encode()),
            label: Bounded::new(manifest.label.clone())?,
            limits: self.limits(app),
            key_version,
            app_pubkey: Bounded::new(key.public_der())?,
            issued_at: said.issued_at,
            expires_at: said.expires_at,
            nonce: said.nonce.clone(),
        };
        let encoded = claims.encode();
        let signature = self.identity.sign(AppClaims::CONTENT_TYPE, &encoded);
        let evidence = AppEvidence {
            worker: worker.evidence.clone(),
            claims: Bounded::new(encoded)?,
            signature: Signature::new(signature)?,
        };
        Ok((evidence, key))
    }

    /// The worker's key that signs answers.
    pub(crate) fn answer_key(&self) -> Arc<P256Key> {
        self.answer_key_of(self.keys().worker())
    }

    fn answer_key_of(&self, version: u32) -> Arc<P256Key> {
        let derive = || self.identity.answer_key(version);
        self.answer_key.get(version, derive)
    }

    /// The app's key, which signs its answers.
    pub(crate) fn app_key(&self, app: &App) -> Arc<P256Key> {
        self.key_of(app, self.keys().of(&app.address))
    }

    fn key_of(&self, app: &App, version: u32) -> Arc<P256Key> {
        let derive = || {
            let manifest = &app.manifest;
            let env_hash = blake2b_256(&manifest.env_vars.encode());
            let program = (app.address, &*manifest.code_hash, &*manifest.args, env_hash);
            let parameters = app_key_parameters(program, self.limits(app), version);
            self.identity.app_key(&parameters)
        };
        app.proofs().key.get(version, derive)
    }

    /// What an app may use, as far as its key depends on it: what does not change while
    /// it is deployed.
    fn limits(&self, app: &App) -> AppLimits {
        let memory_max = self.memory_max_bytes;
        AppLimits {
            memory_bytes: app.settings.memory_max_bytes.unwrap_or(memory_max),
            instances: match app.manifest.resizable || app.manifest.on_demand {
                true => self.instances_max,
                false => 1,
            },
            gas_max: app.settings.gas_max.unwrap_or_default(),
        }
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
