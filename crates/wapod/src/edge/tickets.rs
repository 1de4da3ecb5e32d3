//! The TLS settings of the shared port that all names have in common.
//!
//! TLS 1.2 and 1.3, no certificates of clients, no early data. Sessions are resumed
//! by tickets alone, so nothing is kept for a client that is gone, and tickets of one
//! family, or of one certificate that attests, mean nothing to another. Used by
//! `serving`, by `leave` for connections whose TLS the daemon terminates, and by
//! `worker` for attested certificates.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SignatureAlgorithm, SupportedCipherSuite};

use crate::limits::CONFIGS_KEPT_MAX;

/// One for all, because there may be ten thousand names.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));

/// The same for certificates that attest: suites with SHA-256 come first, of which AES-128
/// does.
///
/// Both sides hash some 5 KB of evidence in a handshake. For SHA-256 processors have
/// instructions; with SHA-384, which many clients prefer, the handshake takes longer.
static ATTESTED_PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = ring::default_provider();
    let has_short_hash = |suite: &SupportedCipherSuite| {
        let common = match suite {
            SupportedCipherSuite::Tls12(suite) => &suite.common,
            SupportedCipherSuite::Tls13(suite) => &suite.common,
        };
        common.hash_provider.algorithm() == HashAlgorithm::SHA256
    };
    provider
        .cipher_suites
        .sort_by_key(|suite| !has_short_hash(suite));
    Arc::new(provider)
});

/// The server's side of TLS with a certificate.
///
/// # Errors
///
/// What the library says.
pub(super) fn config(
    identity: Arc<CertifiedKey>,
    protocols: Vec<Vec<u8>>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    Ok(Arc::new(config_with(
        &PROVIDER, identity, protocols, tickets,
    )?))
}

/// The same with a certificate that attests an app. Sessions are resumed under this
/// certificate alone: who resumes one is shown no certificate, and must not come to
/// another version of the app, or to a key that was given up, without seeing it.
///
/// # Errors
///
/// What the library says.
pub(crate) fn attested_config(
    identity: Arc<CertifiedKey>,
    protocols: Vec<Vec<u8>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let tickets = ring::Ticketer::new()?;
    let mut config = config_with(&ATTESTED_PROVIDER, identity, protocols, tickets)?;
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

fn config_with(
    provider: &Arc<CryptoProvider>,
    identity: Arc<CertifiedKey>,
    protocols: Vec<Vec<u8>>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = protocols;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    config.max_early_data_size = 0;
    Ok(config)
}

/// How TLS is spoken with the last few certificates of one family, or of no app.
///
/// Making a configuration takes longer than a look, and each handshake needs one.
#[derive(Default)]
pub(super) struct Configs(Mutex<VecDeque<(Arc<CertifiedKey>, Arc<ServerConfig>)>>);

impl Configs {
    /// The configuration for a certificate; `make` makes it unless it is there.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub(super) fn of<E>(
        &self,
        certificate: &Arc<CertifiedKey>,
        make: impl FnOnce() -> Result<Arc<ServerConfig>, E>,
    ) -> Result<Arc<ServerConfig>, E> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = {
            let known = known();
            let mut same = known.iter();
            let same = same.find(|(one, _)| Arc::ptr_eq(one, certificate));
            same.map(|(_, config)| Arc::clone(config))
        };
        if let Some(config) = found {
            return Ok(config);
        }
        let config = make()?;
        let mut known = known();
        // The oldest leaves: most probably its certificate is in use no more.
        known.truncate(CONFIGS_KEPT_MAX - 1);
        known.push_front((Arc::clone(certificate), Arc::clone(&config)));
        Ok(config)
    }
}

/// Bytes of the public half of an RSA key with 2048 bits, as certificates have it.
const RSA_2048_BYTES: usize = 294;

/// Whether a signature with a key takes milliseconds. Measured: 0.7 ms for RSA with
/// 2048 bits, 6 ms with 4096; the other kinds take a tenth of a millisecond.
pub(super) fn signs_slowly(identity: &CertifiedKey) -> bool {
    let public = identity.key.public_key();
    identity.key.algorithm() == SignatureAlgorithm::RSA
        && public.is_none_or(|public| public.len() > RSA_2048_BYTES)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::{Ticketer, sign};
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    fn identity() -> Arc<CertifiedKey> {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]);
        let certificate = params.expect("a name").self_signed(&key).expect("signed");
        let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = sign::any_supported_type(&der).expect("a key");
        Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
    }

    #[test]
    fn a_configuration_is_made_once_for_a_certificate_and_a_few_are_kept() {
        let configs = Configs::default();
        let made = std::cell::Cell::new(0);
        let of = |identity: &Arc<CertifiedKey>| {
            let config = configs.of(identity, || {
                made.set(made.get() + 1);
                let tickets = Ticketer::new().expect("tickets");
                config(Arc::clone(identity), Vec::new(), tickets)
            });
            config.expect("a configuration")
        };
        let first = identity();
        assert!(Arc::ptr_eq(&of(&first), &of(&first)));
        assert_eq!(made.get(), 1);
        // Another one for the same name is another one.
        let others: Vec<_> = (0..CONFIGS_KEPT_MAX).map(|_| identity()).collect();
        assert!(!Arc::ptr_eq(&of(&first), &of(&others[0])));
        others.iter().for_each(|one| drop(of(one)));
        others.iter().for_each(|one| drop(of(one)));
        assert_eq!(made.get(), 1 + CONFIGS_KEPT_MAX);
        assert_eq!(Arc::strong_count(&first), 1, "it is kept no more");
    }
}
