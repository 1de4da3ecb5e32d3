//! What the host speaks TLS with as a server, on ports of guests: a certificate of the
//! guest's, or one that the embedder keeps new.
//!
//! Keys stay here, those of guests included. Made by the calls that listen, asked by
//! `tls` at each handshake.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use wapo_abi::Errno;
use wapo_abi::message::TlsServerConfig;

use crate::embedder::LiveTls;
use crate::host_memory::MemoryCharge;
use crate::net::identity;
use crate::net::tls_settings::TlsSettings;

/// A server's side of TLS, and the memory that it takes.
pub(crate) struct ServerIdentity {
    tls: Tls,
    _memory: MemoryCharge,
}

enum Tls {
    Provided(Arc<ServerConfig>),
    Attested(Arc<dyn LiveTls>),
}

impl ServerIdentity {
    /// With the PEM texts of a guest.
    ///
    /// # Errors
    ///
    /// [`Errno::INVALID_PARAMETER`] when certificate or key cannot be used.
    pub(crate) fn given(
        settings: &TlsSettings,
        config: &TlsServerConfig,
        memory: MemoryCharge,
    ) -> Result<Arc<Self>, Errno> {
        let TlsServerConfig::V0 { cert, key } = config;
        let key = identity::read(cert, key).map_err(|_| Errno::INVALID_PARAMETER)?;
        let resolver = SingleCertAndKey::from(key);
        let config = ServerConfig::builder_with_provider(Arc::clone(settings.provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| Errno::INVALID_PARAMETER)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        Ok(Arc::new(Self {
            tls: Tls::Provided(Arc::new(config)),
            _memory: memory,
        }))
    }

    /// With what the embedder keeps new.
    pub(crate) fn attested(tls: Arc<dyn LiveTls>, memory: MemoryCharge) -> Arc<Self> {
        Arc::new(Self {
            tls: Tls::Attested(tls),
            _memory: memory,
        })
    }

    /// How TLS is spoken by a handshake that begins now.
    ///
    /// # Errors
    ///
    /// When the embedder has no certificate.
    pub(super) async fn config(&self) -> io::Result<Arc<ServerConfig>> {
        match &self.tls {
            Tls::Provided(config) => Ok(Arc::clone(config)),
            Tls::Attested(tls) => {
                let config = Arc::clone(tls).config().await;
                config.map_err(|denial| io::Error::other(denial.text))
            }
        }
    }
}
