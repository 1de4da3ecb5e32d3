//! Certificates that prove which app serves: self-signed with the app's key, with its
//! evidence in an extension.
//!
//! The daemon holds them for apps that were deployed so, ends TLS for their names at
//! the shared port with them, and makes new ones in the background before they
//! expire, so that no handshake waits for one. For listeners of guests
//! `guest_evidence` has them made. No authority that clients know has signed them:
//! clients read the evidence.

use std::sync::{Arc, PoisonError};

use parity_scale_codec::Encode as _;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use wapo_rpc::statement::CERTIFICATE_EXTENSION_OID;
use zeroize::Zeroizing;

use super::Worker;
use super::app::App;
use super::attester::{Attester, EvidenceError};
use super::proofs::{Basis, Fresh, Held};
use crate::attestation::{About, Asker};
use crate::limits::ATTESTED_LOOK_INTERVAL;

/// Why there is no certificate. The texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error("the certificate cannot be made: {0}")]
    Library(String),
}

impl Attester {
    /// A certificate with the app's key and evidence, and names that are names.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]
    pub(super) fn certificate_with(
        &self,
        app: &App,
        names: &[String],
        worker: &Fresh,
    ) -> Result<Arc<CertifiedKey>, CertificateError> {
        let (mut evidence, key) = self.sign_for(app, worker)?;
        // It would be most of each handshake. Who verifies has some, or asks the worker.
        evidence.worker.collateral = None;
        let library = |error: rcgen::Error| CertificateError::Library(error.to_string());
        let der = PrivatePkcs8KeyDer::from(key.secret_der().to_vec());
        let der = Zeroizing::new(PrivateKeyDer::from(der));
        let pair = KeyPair::from_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256);
        let pair = pair.map_err(library)?;
        let mut params = CertificateParams::new(names).map_err(library)?;
        params.distinguished_name = DistinguishedName::new();
        let subject = app.address.to_string();
        params.distinguished_name.push(DnType::CommonName, subject);
        let claims = &worker.claims;
        let (not_before, not_after) = (claims.issued_at, claims.expires_at);
        params.not_before = moment(not_before)?;
        params.not_after = moment(not_after)?;
        let extension =
            CustomExtension::from_oid_content(&CERTIFICATE_EXTENSION_OID, evidence.encode());
        params.custom_extensions.push(extension);
        let certificate = params.self_signed(&pair).map_err(library)?;
        let signer = any_ecdsa_type(&der);
        let signer = signer.map_err(|error| CertificateError::Library(error.to_string()))?;
        self.count(About::Certificate);
        let chain = vec![certificate.der().clone()];
        Ok(Arc::new(CertifiedKey::new(chain, signer)))
    }
}

fn moment(unix_s: u64) -> Result<OffsetDateTime, CertificateError> {
    let moment = i64::try_from(unix_s).ok();
    let moment = moment.and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    moment.ok_or_else(|| CertificateError::Library("the clock is beyond all time".to_owned()))
}

impl Worker {
    /// Names that lead to an app: its domains, which are bounded, and its label.
    fn names_of(&self, app: &App) -> Vec<String> {
        let mut names = app.domains();
        if let (Some(base), false) = (self.edge.base_domain(), app.name().is_empty()) {
            names.push(format!("{}.{base}", app.name()));
        }
        names
    }

    /// Makes the certificate of an app, where it should have one and has none that is
    /// good.
    fn attest(&self, app: &App, worker: Arc<Fresh>) -> Result<(), CertificateError> {
        let attester = &self.attester;
        let names = self.names_of(app);
        let key_version = attester.keys().of(&app.address);
        let proofs = app.proofs();
        let is_good = {
            let held = proofs.held.read().unwrap_or_else(PoisonError::into_inner);
            held.as_ref()
                .is_some_and(|held| held.basis.is(&worker, key_version) && held.names == names)
        };
        if is_good {
            return Ok(());
        }
        let certified = match names.is_empty() {
            true => return Ok(()),
            false => attester.certificate_with(app, &names, &worker)?,
        };
        let held = Held {
            certified,
            names,
            basis: Basis {
                worker,
                key_version,
            },
        };
        *proofs.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(())
    }

    /// Gives an app its certificate at once, so that its first client finds it. What
    /// fails is tried again in the background.
    pub(super) async fn attest_early(&self, app: &App) {
        if !app.settings.attested {
            return;
        }
        let worker = self.attester.worker_evidence(Vec::new(), Asker::Worker);
        let worker = worker.await.map_err(CertificateError::from);
        if let Err(error) = worker.and_then(|worker| self.attest(app, worker)) {
            app.log_failure(
                None,
                &format!("it has no attested certificate yet: {error}"),
            );
        }
    }

    /// Keeps evidence and certificates new, for ever.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn keep_attested(self: Arc<Self>) {
        if self.attester.source().is_none() {
            return std::future::pending().await;
        }
        loop {
            self.look_after().await;
            tokio::select! {
                () = tokio::time::sleep(ATTESTED_LOOK_INTERVAL) => {}
                () = self.attested_changed.notified() => {}
            }
        }
    }

    /// Renews what is to be renewed of evidence, collateral and certificates.
    async fn look_after(&self) {
        let fresh = match self.attester.renewed().await {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(%error, "the worker's evidence was not renewed");
                // Names and keys of apps may have changed even so.
                match self.attester.still_true() {
                    Some(fresh) => fresh,
                    None => return,
                }
            }
        };
        for app in self.apps().iter().filter(|app| app.settings.attested) {
            if let Err(error) = self.attest(app, Arc::clone(&fresh)) {
                tracing::warn!(app = %app.address, %error, "the attested certificate was not renewed");
            }
            // A thousand of them are a second of work.
            tokio::task::yield_now().await;
        }
        // Last: it may take its time, and certificates are without collateral.
        self.attester.renew_collateral(&fresh).await;
    }
}
