//! Evidence of apps, and the keys that sign their answers.
//!
//! Evidence of an app is the worker's, which `attester` makes, with the claims of the app,
//! signed. Called by `api`, `attested` and `guest_evidence`.

use std::sync::{Arc, PoisonError};

use parity_scale_codec::Encode as _;
use wapo_crypto::blake2b_256;
use wapo_crypto::derived_keys::P256Key;
use wapo_rpc::statement::{
    AppClaims, AppEvidence, AppLimits, Bounded, Signature, Statement as _, app_key_parameters,
};

use super::app::App;
use super::attester::{Attester, EvidenceError};
use super::proofs::{Basis, Fresh, Said};
use crate::attestation::{About, Asker};

impl Attester {
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
}
