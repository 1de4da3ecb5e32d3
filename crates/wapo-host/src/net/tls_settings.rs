//! Trust roots and protocol versions of TLS, one for an engine.
//!
//! Streams (`tls`) do not know them: a client's side is made of them in `tls_client`, a
//! server's in `tls_server`. Made by the engine.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// How the host speaks TLS.
pub(crate) struct TlsSettings {
    provider: Arc<CryptoProvider>,
    client: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
}

impl TlsSettings {
    /// Trusts the Mozilla roots and `extra_roots`.
    ///
    /// # Errors
    ///
    /// When an extra root is no certificate.
    pub(crate) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra_roots {
            roots
                .add(root.clone())
                .map_err(|error| format!("a trust root cannot be used: {error}"))?;
        }
        let roots = Arc::new(roots);
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        Ok(Self {
            provider,
            client: Arc::new(client),
            roots,
        })
    }

    /// What clients without wishes of their own share.
    pub(crate) fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    /// The worker's trust roots.
    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// The cryptography in use.
    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }
}
