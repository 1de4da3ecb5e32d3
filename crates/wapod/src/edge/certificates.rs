//! Certificates with which the daemon ends TLS itself, by host name, and its answers while an
//! authority looks whether a name leads here.
//!
//! Those of domains come from operators, with the domain (`worker::domains`). Others are
//! issued by an authority (`acme`). That of the port comes from files and is good for every
//! name that it is for. Asked for each connection that no guest ends TLS for, and by the
//! gateway for the paths at which authorities look. No I/O; a lock is held for a look or a
//! change only.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::server::ProducesTickets;
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use wapo_sni::{Pattern, ServerName};

use super::certificate;
use super::tickets::Configs;
use crate::tls_files::{CertificateReading, FileCertificate};

/// The protocol by which certificate authorities verify a name over TLS (RFC 8737).
/// No guest ever gets such a connection: it could get a certificate for a name that
/// is not its own.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Where an authority looks over HTTP (RFC 8555, section 8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// All of them.
#[derive(Default)]
pub(crate) struct Certificates {
    table: RwLock<Table>,
    port: OnceLock<Arc<FileCertificate>>,
    tickets: OnceLock<Arc<dyn ProducesTickets>>,
    configs: Configs,
    /// Told when names have come or gone.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    domains: HashMap<Pattern, Arc<CertifiedKey>>,
    issued: HashMap<ServerName, Arc<CertifiedKey>>,
    /// Answers over HTTP, by token.
    http: HashMap<String, HttpAnswer>,
    /// Answers over TLS.
    tls: HashMap<ServerName, Arc<CertifiedKey>>,
}

struct HttpAnswer {
    name: ServerName,
    text: String,
}

impl Certificates {
    /// The certificate for a name: of its domain, of the wildcard for it, one that was
    /// issued, or that of the port.
    pub(crate) fn find(&self, name: &ServerName) -> Option<Arc<CertifiedKey>> {
        let known = {
            let table = self.read();
            let own = table.domains.get(&Pattern::Exact(name.clone()));
            let issued = || table.issued.get(name);
            let wildcard = || {
                let parent = name.parent()?.parse().ok()?;
                table.domains.get(&Pattern::Wildcard(parent))
            };
            own.or_else(issued).or_else(wildcard).cloned()
        };
        known.or_else(|| {
            let port = self.port.get()?.current();
            let pattern = Pattern::Exact(name.clone());
            certificate::is_for(&port, &pattern).is_ok().then_some(port)
        })
    }

    /// Uses a certificate for a domain from now on.
    pub(crate) fn set_domain(&self, pattern: Pattern, certificate: CertifiedKey) {
        self.write().domains.insert(pattern, Arc::new(certificate));
    }

    /// Whether an operator has given one for a domain.
    pub(crate) fn has_domain(&self, pattern: &Pattern) -> bool {
        self.read().domains.contains_key(pattern)
    }

    /// Forgets that of a domain.
    pub(crate) fn forget_domain(&self, pattern: &Pattern) {
        self.write().domains.remove(pattern);
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

    /// How TLS is spoken under such names.
    pub(super) fn configs(&self) -> &Configs {
        &self.configs
    }

    /// Says that names have come or gone.
    pub(crate) fn names_changed(&self) {
        self.changed.notify_one();
    }

    /// Waits until names have come or gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn until_names_change(&self) {
        self.changed.notified().await;
    }

    /// Uses an issued certificate from now on.
    pub(crate) fn issue(&self, name: ServerName, certificate: CertifiedKey) {
        self.write().issued.insert(name, Arc::new(certificate));
    }

    /// Forgets the issued certificates of all names but these.
    pub(crate) fn keep_issued(&self, is_wanted: impl Fn(&ServerName) -> bool) {
        self.write().issued.retain(|name, _| is_wanted(name));
    }

    /// What an authority is shown that looks at a name over TLS, while one does.
    pub(super) fn tls_challenge(&self, name: &ServerName) -> Option<Arc<CertifiedKey>> {
        self.read().tls.get(name).cloned()
    }

    /// What an authority is answered that looks at a name over HTTP, while one does. Of
    /// other paths and other tokens nothing is known: they may be an app's.
    pub(crate) fn http_challenge(&self, host: &str, path: &str) -> Option<String> {
        let token = path.strip_prefix(CHALLENGE_PATH)?;
        let name: ServerName = host.parse().ok()?;
        let table = self.read();
        let answer = table.http.get(token)?;
        (answer.name == name).then(|| answer.text.clone())
    }

    /// Answers an authority over HTTP until the value is dropped.
    pub(crate) fn answer_http(
        self: &Arc<Self>,
        name: ServerName,
        token: &str,
        text: &str,
    ) -> ChallengeGuard {
        let text = text.to_owned();
        let answer = HttpAnswer { name, text };
        self.write().http.insert(token.to_owned(), answer);
        ChallengeGuard {
            certificates: Arc::clone(self),
            answers: Answers::Http(token.to_owned()),
        }
    }

    /// Answers an authority over TLS until the value is dropped.
    pub(crate) fn answer_tls(
        self: &Arc<Self>,
        name: ServerName,
        certificate: CertifiedKey,
    ) -> ChallengeGuard {
        let certificate = Arc::new(certificate);
        self.write().tls.insert(name.clone(), certificate);
        ChallengeGuard {
            certificates: Arc::clone(self),
            answers: Answers::Tls(name),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer to an authority. Dropping it takes it back.
pub(crate) struct ChallengeGuard {
    certificates: Arc<Certificates>,
    answers: Answers,
}

enum Answers {
    Http(String),
    Tls(ServerName),
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        let mut table = self.certificates.write();
        match &self.answers {
            Answers::Http(token) => drop(table.http.remove(token)),
            Answers::Tls(name) => drop(table.tls.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_answered_about_the_name_that_it_looks_at_and_only_meanwhile() {
        let certificates = Arc::new(Certificates::default());
        let path = format!("{CHALLENGE_PATH}token");
        let answer = |name: &str, path: &str| certificates.http_challenge(name, path);
        let name: ServerName = "a.example".parse().expect("a name");
        let guard = certificates.answer_http(name, "token", "text");
        assert_eq!(answer("A.example.", &path).as_deref(), Some("text"));
        assert_eq!(answer("b.example", &path), None);
        assert_eq!(answer("a.example", "/token"), None);
        assert_eq!(answer("a.example", CHALLENGE_PATH), None);
        drop(guard);
        assert_eq!(answer("a.example", &path), None);
    }
}
