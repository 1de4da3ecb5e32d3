//! Domains of apps: host names beside those below the base domain, which an operator binds
//! to an app.
//!
//! A domain is the app's for the gateway and at the shared TLS port, and no other app
//! can have it. It belongs to the first app that had it, follows the app through its
//! replacements and is free again when the app is removed. It may come with a
//! certificate, with which the daemon ends TLS for it. Written down with the app's
//! record; the key of the certificate sealed as secrets are. Called by `api`,
//! `deploy` and `lifecycle`; whose a name is, is in `edge`.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use wapo_crypto::sealed::{self, Label, Purpose};
use wapo_rpc::AppAddress;
use wapo_sni::{Pattern, ServerName};
use zeroize::Zeroizing;

use super::Worker;
use super::app::App;
use super::lifecycle::already_deployed;
use crate::edge::{Bound, check_certificate};
use crate::error::AppError;
use crate::limits::{DOMAIN_CERTIFICATE_BYTES_MAX, DOMAINS_OF_APP_MAX};
use crate::store::DomainRecord;
use crate::tls_files::identity;

/// A certificate and its key as PEM texts. The key is wiped when it is dropped.
pub(crate) struct PemIdentity {
    pub(crate) certificate: String,
    pub(crate) key: Zeroizing<String>,
}

impl App {
    /// Host names beside the one below the base domain.
    pub(crate) fn domains(&self) -> Vec<String> {
        self.state().domains.keys().cloned().collect()
    }
}

impl Worker {
    /// Binds a domain to an app; one that it has already may get another certificate.
    ///
    /// # Errors
    ///
    /// [`AppError`] when it is none, another app has it, the certificate is not for it, or
    /// the store cannot be written; [`AppError::Changing`] while the app is still being
    /// deployed.
    pub(crate) async fn add_domain(
        &self,
        address: AppAddress,
        domain: &str,
        pem: Option<PemIdentity>,
    ) -> Result<(), AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        let pattern = self.domain(domain)?;
        let certificate = pem.as_ref().map(|pem| certificate_of(pem, &pattern));
        let certificate = certificate.transpose()?;
        let one_at_a_time = app.writing.lock().await;
        if app.is_removed() {
            return Err(AppError::NotFound(address));
        }
        already_deployed(&app)?;
        let _changing = self.changes.when_done(&app);
        let name = pattern.to_string();
        let before = app.state().domains.get(&name).cloned();
        if before.is_none() && app.state().domains.len() >= DOMAINS_OF_APP_MAX {
            return Err(AppError::Refused(format!(
                "an app has {DOMAINS_OF_APP_MAX} domains at most: a wildcard is one"
            )));
        }
        let record = match &pem {
            Some(pem) => DomainRecord {
                name: name.clone(),
                sealed: Some(self.seal_identity(&app, &name, pem)?),
            },
            None => before.clone().unwrap_or_else(|| DomainRecord {
                name: name.clone(),
                sealed: None,
            }),
        };
        if before.is_none() {
            self.bind(&app, pattern.clone())?;
        }
        app.state().domains.insert(name.clone(), record);
        let written = self
            .write_record_under(&app, &one_at_a_time, Vec::new())
            .await;
        if let Err(error) = written {
            match before {
                Some(before) => drop(app.state().domains.insert(name, before)),
                None => {
                    app.state().domains.remove(&name);
                    self.edge.unbind(&app, pattern);
                }
            }
            return Err(error);
        }
        if let Some(certificate) = certificate {
            self.edge.certificates().set_domain(pattern, certificate);
        }
        self.edge.certificates().names_changed();
        self.attested_changed.notify_one();
        Ok(())
    }

    /// Takes a domain from an app and says whether it had it.
    ///
    /// # Errors
    ///
    /// As [`add_domain`](Self::add_domain).
    pub(crate) async fn remove_domain(
        &self,
        address: AppAddress,
        domain: &str,
    ) -> Result<bool, AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        let pattern = self.domain(domain)?;
        let one_at_a_time = app.writing.lock().await;
        if app.is_removed() {
            return Err(AppError::NotFound(address));
        }
        already_deployed(&app)?;
        let _changing = self.changes.when_done(&app);
        let Some(before) = app.state().domains.remove(&pattern.to_string()) else {
            return Ok(false);
        };
        let written = self
            .write_record_under(&app, &one_at_a_time, Vec::new())
            .await;
        if let Err(error) = written {
            app.state().domains.insert(before.name.clone(), before);
            return Err(error);
        }
        self.edge.unbind(&app, pattern);
        self.edge.certificates().names_changed();
        self.attested_changed.notify_one();
        Ok(true)
    }

    /// Names for which the daemon wants certificates: the base domain, domains of apps
    /// without one of their own, and with `app_names` those that apps have below the
    /// base domain.
    pub(crate) fn certifiable_names(&self, app_names: bool) -> BTreeSet<ServerName> {
        let certificates = self.edge.certificates();
        let base = self.edge.base_domain();
        // The world knows no other ones.
        let base = base.filter(|name| name.parent().is_some());
        let mut names: BTreeSet<_> = base.iter().map(|name| (*name).clone()).collect();
        for app in self.apps() {
            for domain in app.domains() {
                if let Ok(pattern @ Pattern::Exact(_)) = domain.parse()
                    && !certificates.has_domain(&pattern)
                    && let Pattern::Exact(name) = pattern
                {
                    names.insert(name);
                }
            }
            if let (true, Some(base), false) = (app_names, base, app.name().is_empty()) {
                names.extend(format!("{}.{base}", app.name()).parse::<ServerName>());
            }
        }
        names
    }

    /// Binds what the store has of an app's domains, before any app runs.
    pub(super) fn bind_domains(&self, app: &Arc<App>) {
        let domains: Vec<_> = app.state().domains.values().cloned().collect();
        for record in domains {
            let bound = record.name.parse::<Pattern>().map_err(|_| ());
            let bound = bound.and_then(|pattern| {
                self.bind(app, pattern.clone()).map_err(|_| ())?;
                Ok(pattern)
            });
            let Ok(pattern) = bound else {
                tracing::error!(app = %app.address, domain = record.name, "the app does not have its domain any more");
                app.state().domains.remove(&record.name);
                continue;
            };
            let Some(sealed) = &record.sealed else {
                continue;
            };
            match self.open_identity(app, &record.name, sealed) {
                Some(certificate) => self.edge.certificates().set_domain(pattern, certificate),
                None => {
                    tracing::error!(app = %app.address, domain = record.name, "the certificate of a domain cannot be opened");
                }
            }
        }
    }

    /// Uses the certificates of an app's domains no more.
    pub(super) fn forget_certificates(&self, app: &App) {
        for domain in app.domains() {
            if let Ok(pattern) = domain.parse::<Pattern>() {
                self.edge.certificates().forget_domain(&pattern);
            }
        }
    }

    /// Gives an app the domains of the one whose place it takes. The table of names needs
    /// no change: both are of one family.
    ///
    /// # Errors
    ///
    /// [`AppError::BadSecret`] when a key cannot be sealed for it.
    pub(super) fn inherit_domains(&self, heir: &App, from: &App) -> Result<(), AppError> {
        let mut domains = from.state().domains.clone();
        for record in domains.values_mut() {
            if let Some(sealed) = &record.sealed
                && let Some(pem) = self.open_pem(from, &record.name, sealed)
            {
                record.sealed = Some(self.seal(heir, &record.name, &pem)?);
            }
        }
        heir.state().domains = domains;
        Ok(())
    }

    /// Reads a domain that an operator names.
    fn domain(&self, text: &str) -> Result<Pattern, AppError> {
        let pattern: Pattern = text
            .trim()
            .parse()
            .map_err(|error| AppError::Refused(format!("`{text}` is not a domain: {error}")))?;
        if self.edge.is_of_base_domain(&pattern) {
            return Err(AppError::Refused(format!(
                "{pattern} is of the base domain, below which each app has the name that it is deployed with (--name)"
            )));
        }
        Ok(pattern)
    }

    fn bind(&self, app: &App, pattern: Pattern) -> Result<(), AppError> {
        match self.edge.bind_domain(app, pattern.clone()) {
            Bound::Done => Ok(()),
            Bound::Taken(Some(owner)) => Err(AppError::Refused(format!(
                "{pattern} belongs to the app {}: remove it there first (wapo domain remove)",
                owner.address
            ))),
            Bound::Taken(None) => Err(AppError::Refused(format!(
                "{pattern} belongs to another app"
            ))),
        }
    }

    fn seal_identity(&self, app: &App, name: &str, pem: &PemIdentity) -> Result<Vec<u8>, AppError> {
        let PemIdentity { certificate, key } = pem;
        // Of its final size at once, so that no piece is left behind when it grows.
        let pem = Zeroizing::new([certificate.as_str(), "\n", key.as_str()].concat());
        self.seal(app, name, pem.as_bytes())
    }

    fn seal(&self, app: &App, name: &str, pem: &[u8]) -> Result<Vec<u8>, AppError> {
        let label = label(&app.address, name);
        let sealed = sealed::seal(self.identity.key(), label, pem, rand::random());
        sealed.map_err(|_| AppError::Refused("the certificate is too long".to_owned()))
    }

    fn open_pem(&self, app: &App, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        sealed::open(self.identity.key(), label(&app.address, name), sealed).ok()
    }

    fn open_identity(&self, app: &App, name: &str, sealed: &[u8]) -> Option<CertifiedKey> {
        let pem = self.open_pem(app, name, sealed)?;
        identity(&pem, &pem).ok()
    }
}

/// Checks that a certificate can be used for a domain. Whether clients trust it is theirs
/// to say.
fn certificate_of(pem: &PemIdentity, pattern: &Pattern) -> Result<CertifiedKey, AppError> {
    let bytes = pem.certificate.len() + pem.key.len();
    if bytes > DOMAIN_CERTIFICATE_BYTES_MAX {
        return Err(AppError::Refused(format!(
            "certificate and key have {bytes} bytes, {DOMAIN_CERTIFICATE_BYTES_MAX} are the most"
        )));
    }
    let read = identity(pem.certificate.as_bytes(), pem.key.as_bytes());
    let read = read.map_err(|error| AppError::Refused(format!("the certificate: {error}")))?;
    check_certificate(&read, pattern).map_err(AppError::Refused)?;
    Ok(read)
}

fn label<'a>(address: &'a AppAddress, name: &'a str) -> Label<'a> {
    Label {
        purpose: Purpose::DomainKey,
        app_address: &address.0,
        name,
    }
}
