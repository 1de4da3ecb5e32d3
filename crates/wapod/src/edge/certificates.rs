//! Certificates with which the daemon ends TLS itself, by host name.
//!
//! Those of domains come from operators, with the domain (`worker::domains`). That of the
//! port comes from files and is good for every name that it is for. Asked for each connection
//! that no guest ends TLS for. No I/O; the lock is held for a look or a change only.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

use rustls::server::ProducesTickets;
use rustls::sign::CertifiedKey;
use wapo_sni::{Pattern, ServerName};

use super::certificate;
use crate::tls_files::{CertificateReading, FileCertificate};

/// All of them.
#[derive(Default)]
pub(crate) struct Certificates {
    domains: RwLock<HashMap<Pattern, Arc<CertifiedKey>>>,
    port: OnceLock<Arc<FileCertificate>>,
    tickets: OnceLock<Arc<dyn ProducesTickets>>,
}

impl Certificates {
    /// The certificate for a name: of its domain, of the wildcard for it, or of the port.
    pub(crate) fn find(&self, name: &ServerName) -> Option<Arc<CertifiedKey>> {
        let of_domain = {
            let domains = self.domains.read().unwrap_or_else(PoisonError::into_inner);
            let own = domains.get(&Pattern::Exact(name.clone()));
            let wildcard = || {
                let parent = name.parent()?.parse().ok()?;
                domains.get(&Pattern::Wildcard(parent))
            };
            own.or_else(wildcard).cloned()
        };
        of_domain.or_else(|| {
            let port = self.port.get()?.current();
            let pattern = Pattern::Exact(name.clone());
            certificate::is_for(&port, &pattern).is_ok().then_some(port)
        })
    }

    /// Uses a certificate for a domain from now on.
    pub(crate) fn set_domain(&self, pattern: Pattern, certificate: CertifiedKey) {
        self.write().insert(pattern, Arc::new(certificate));
    }

    /// Forgets that of a domain.
    pub(crate) fn forget_domain(&self, pattern: &Pattern) {
        self.write().remove(pattern);
    }

    /// Uses the certificate of the port for all names that it is for. Done once.
    pub(crate) fn set_port(&self, certificate: Arc<FileCertificate>) {
        // Called by the server at its start only.
        let _ = self.port.set(certificate);
    }

    /// Keeps the certificate of the port up to date with its files.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Ends when it is dropped only.
    pub(super) async fn watch(&self) {
        match self.port.get() {
            Some(certificate) => Arc::clone(certificate).watch().await,
            None => std::future::pending().await,
        }
    }

    /// How the certificate of the port is doing, if there is one.
    pub(crate) fn port_reading(&self) -> Option<CertificateReading> {
        self.port.get().map(|certificate| certificate.reading())
    }

    /// What sessions are resumed with under names that are no app's.
    ///
    /// # Errors
    ///
    /// The library has no randomness.
    pub(super) fn tickets(&self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        if let Some(tickets) = self.tickets.get() {
            return Ok(Arc::clone(tickets));
        }
        let made = rustls::crypto::ring::Ticketer::new()?;
        Ok(Arc::clone(self.tickets.get_or_init(|| made)))
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Pattern, Arc<CertifiedKey>>> {
        self.domains.write().unwrap_or_else(PoisonError::into_inner)
    }
}
