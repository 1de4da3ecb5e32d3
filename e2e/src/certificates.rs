//! A certificate authority that exists for one test.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Issues certificates and trusts them.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate and its key, both as PEM texts.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    ///
    /// When the library refuses.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("certificate");
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The authority's own certificate as PEM text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's own certificate.
    pub fn root(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// A certificate for a name or address.
    ///
    /// # Panics
    ///
    /// When it is neither.
    pub fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Identity {
            cert: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Speaks TLS as a client that trusts only this authority.
    ///
    /// # Errors
    ///
    /// What the handshake says.
    ///
    /// # Panics
    ///
    /// When `name` is none.
    pub async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
        &self,
        name: &str,
        io: IO,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<IO>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, io).await
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// The server's side of TLS with this identity.
    ///
    /// # Panics
    ///
    /// When certificate and key do not fit.
    pub fn acceptor(&self) -> TlsAcceptor {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(self.cert.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.expect("chain"), key)
            .expect("certificate and key");
        TlsAcceptor::from(Arc::new(config))
    }
}
