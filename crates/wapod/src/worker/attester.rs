//! What the worker can prove of itself, and of apps: quotes, evidence, keys.
//!
//! One [`Attester`] belongs to a worker and is shared with the embedders of its apps.
//! It keeps evidence without a nonce until half of its life is over (`keep_evidence` of
//! the parent renews it in time), and makes evidence with a nonce when it is asked for,
//! within the bounds of `attestation`. Evidence of an app is the worker's with the
//! claims of the app, signed. What anybody may ask for is decided here.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use parity_scale_codec::Encode as _;
use tokio::time::Instant;
use wapo_crypto::derived_keys::P256Key;
use wapo_crypto::{blake2b_256, report_data};
use wapo_rpc::limits::EVIDENCE_NONCE_BYTES_MAX;
use wapo_rpc::statement::{
    AppClaims, AppEvidence, AppLimits, AttestationReport, Bounded, Quote, Signature,
    Statement as _, WorkerClaims, WorkerEvidence,
};

use super::app::App;
use super::collateral::Collateral;
use super::session::Session;
use crate::attestation::{self, Asker, QuoteError, Quoter, SourceKind};
use crate::config::Config;
use crate::error::StartError;
use crate::identity::Identity;
use crate::limits::{EVIDENCE_LIFE, EVIDENCE_RENEWAL, QUOTE_RETRY_PAUSE};
use crate::store::KeyVersions;

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

/// What an attester is made of.
struct Parts {
    quoter: Option<Quoter>,
    collateral: Collateral,
    identity: Arc<Identity>,
    session: Arc<Session>,
    host_controlled: Vec<String>,
    keys: KeyVersions,
    /// What an app may have that has no limits of its own.
    memory_max_bytes: u64,
    instances_max: u32,
}

/// Makes evidence.
pub(crate) struct Attester {
    parts: Parts,
    keys: Mutex<KeyVersions>,
    /// Held while evidence is made, so that many who miss it have it made once.
    cached: tokio::sync::Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    evidence: Option<Arc<Fresh>>,
    /// When it could not be made.
    failed: Option<(Instant, QuoteError)>,
}

/// Evidence of the worker and what it says.
pub(crate) struct Fresh {
    pub(crate) evidence: WorkerEvidence,
    pub(crate) claims: WorkerClaims,
}

impl Attester {
    fn new(mut parts: Parts) -> Self {
        let keys = Mutex::new(std::mem::take(&mut parts.keys));
        Self {
            parts,
            keys,
            cached: tokio::sync::Mutex::default(),
        }
    }

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
        Ok(Self::new(Parts {
            quoter,
            collateral,
            identity: Arc::clone(identity),
            session: Arc::clone(session),
            host_controlled: config.attestation.host_controlled.clone(),
            keys,
            memory_max_bytes: config.memory_max_bytes,
            instances_max: config.instances_max,
        }))
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
        self.parts.quoter.as_ref().map(Quoter::kind)
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
        match &self.parts.quoter {
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
        self.cached(Asker::Worker).await
    }

    /// The evidence that everybody gets, which is made again when half of its life is
    /// over, or when what it says is true no more.
    async fn cached(&self, asker: Asker) -> Result<Arc<Fresh>, EvidenceError> {
        let mut cache = self.cached.lock().await;
        if let Some(fresh) = &cache.evidence
            && self.is_true(&fresh.claims, unix_s())
        {
            return Ok(Arc::clone(fresh));
        }
        // Not once for each of many who ask a broken machine.
        if let Some((at, error)) = &cache.failed
            && at.elapsed() < QUOTE_RETRY_PAUSE
        {
            return Err(error.clone().into());
        }
        let made = self.make(Bounded::default(), asker).await;
        cache.failed = match &made {
            Err(EvidenceError::Quote(error)) => Some((Instant::now(), error.clone())),
            _ => None,
        };
        let fresh = Arc::new(made?);
        cache.evidence = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Whether claims say what is so, and will for long enough. A clock that was set
    /// back makes them new ones, too.
    fn is_true(&self, claims: &WorkerClaims, now: u64) -> bool {
        let renewal = claims.issued_at + EVIDENCE_RENEWAL.as_secs();
        claims.session == self.parts.session.id()
            && claims.key_version == self.keys().worker()
            && (claims.issued_at..renewal).contains(&now)
    }

    async fn make(
        &self,
        nonce: Bounded<Vec<u8>, EVIDENCE_NONCE_BYTES_MAX>,
        asker: Asker,
    ) -> Result<Fresh, EvidenceError> {
        let now = unix_s();
        let key_version = self.keys().worker();
        let identity = &self.parts.identity;
        let names = self.parts.host_controlled.iter().cloned().map(Bounded::new);
        let claims = WorkerClaims {
            version: WorkerClaims::VERSION,
            pubkey: identity.public_key(),
            query_pubkey: identity.query_key(key_version).public,
            answer_pubkey: Bounded::new(identity.answer_key(key_version).public_der())?,
            session: self.parts.session.id(),
            software: Bounded::new(concat!("wapod ", env!("CARGO_PKG_VERSION")).to_owned())?,
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
            collateral: self.parts.collateral.of(&quote, now),
            quote,
            claims: Bounded::new(encoded)?,
        };
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
        let worker = self.worker_evidence(nonce, asker).await?;
        let (evidence, _) = self.sign_for(app, &worker)?;
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
    ) -> Result<(AppEvidence, P256Key), EvidenceError> {
        let manifest = &app.manifest;
        let args = manifest.args.iter().cloned().map(Bounded::new);
        let said = &worker.claims;
        let mut claims = AppClaims {
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
            key_version: self.keys().of(&app.address),
            app_pubkey: Bounded::default(),
            issued_at: said.issued_at,
            expires_at: said.expires_at,
            nonce: said.nonce.clone(),
        };
        let identity = &self.parts.identity;
        let key = identity.app_key(&claims.key_parameters());
        claims.app_pubkey = Bounded::new(key.public_der())?;
        let encoded = claims.encode();
        let signature = identity.sign(AppClaims::CONTENT_TYPE, &encoded);
        let evidence = AppEvidence {
            worker: worker.evidence.clone(),
            claims: Bounded::new(encoded)?,
            signature: Signature::new(signature)?,
        };
        Ok((evidence, key))
    }

    /// What an app may use, as far as its key depends on it: what does not change while
    /// it is deployed.
    fn limits(&self, app: &App) -> AppLimits {
        let memory_max = self.parts.memory_max_bytes;
        AppLimits {
            memory_bytes: app.settings.memory_max_bytes.unwrap_or(memory_max),
            instances: match app.manifest.resizable || app.manifest.on_demand {
                true => self.parts.instances_max,
                false => 1,
            },
            gas_max: app.settings.gas_max.unwrap_or_default(),
        }
    }

    /// Fetches what verifiers need beside a quote, where it is time for that, and puts it
    /// into evidence from then on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn renew_collateral(&self, fresh: &Fresh) {
        let collateral = &self.parts.collateral;
        if collateral.renew(&fresh.evidence.quote, unix_s()).await {
            self.cached.lock().await.evidence = None;
        }
    }

    /// Versions of keys.
    pub(crate) fn keys(&self) -> MutexGuard<'_, KeyVersions> {
        // Every change is a single insertion.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a quote in the form of DCAP, which the older calls promise.
fn quote_bytes(quote: Quote) -> Option<Vec<u8>> {
    match quote {
        Quote::Sgx(bytes) | Quote::Tdx(bytes) | Quote::Simulator(bytes) => Some(bytes.into_inner()),
        Quote::SevSnp { .. } => None,
    }
}

/// The time, in seconds since 1970.
pub(super) fn unix_s() -> u64 {
    super::unix_ms_of(SystemTime::now()) / 1000
}
