//! A certificate authority that exists for one test, and clients that trust it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wapod::TlsFiles;

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
        // Another name than its certificates have: some clients tell by that.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "an authority of a test");
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
        self.issue_names(&[name])
    }

    /// A certificate for several names and addresses.
    ///
    /// # Panics
    ///
    /// When one is neither.
    pub fn issue_names(&self, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.issue_params(CertificateParams::new(names).expect("names"))
    }

    /// A certificate for a name after `change` has seen what is to be in it.
    ///
    /// # Panics
    ///
    /// As [`issue`](Self::issue).
    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        change(&mut params);
        self.issue_params(params)
    }

    /// A certificate for a name that is good no more.
    ///
    /// # Panics
    ///
    /// As [`issue`](Self::issue).
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_with(name, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn issue_params(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Identity {
            cert: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate for a name with a key of one's own, as PEM text.
    ///
    /// # Panics
    ///
    /// When one of them is none.
    pub fn issue_for(&self, name: &str, key: &str) -> Identity {
        let pair = KeyPair::from_pem(key).expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&pair, &self.issuer).expect("certificate");
        Identity {
            cert: certificate.pem(),
            key: key.to_owned(),
        }
    }

    /// An authority that this one has signed; nobody trusts it by itself.
    ///
    /// # Panics
    ///
    /// When the library refuses.
    pub fn intermediate(&self) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "between");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
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
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(self.client(&[]));
        connector.connect(name, io).await
    }

    /// How clients speak TLS that trust only this authority, and these protocols
    /// within it.
    ///
    /// # Panics
    ///
    /// When the library refuses.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        Arc::new(config)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Accepts every certificate, with any signer.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// How clients speak TLS in these versions that do not ask whose a certificate is.
///
/// # Panics
///
/// When the library refuses.
pub fn gullible_client(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth()
}

/// A certificate that has signed itself and says that it is an authority, as people
/// make them for a single server.
///
/// # Panics
///
/// When `name` is none.
pub fn self_signed(name: &str) -> Identity {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("certificate");
    Identity {
        cert: certificate.pem(),
        key: key.serialize_pem(),
    }
}

/// A port of this machine; what connects to it goes on to another port with TLS.
///
/// Clients that speak no TLS reach ports that do.
pub struct Tunnel {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Tunnel {
    /// Opens one to a server that is to have this name.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub async fn open(server: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut inner, _)) = listener.accept().await {
                let (name, config) = (name.clone(), Arc::clone(&config));
                connections.spawn(async move {
                    let tcp = TcpStream::connect(server).await.expect("accepted");
                    tcp.set_nodelay(true).expect("set");
                    let connecting = TlsConnector::from(config).connect(name, tcp);
                    let mut outer = connecting.await.expect("a handshake");
                    // How it ends is for the two at its ends.
                    let _ = copy_bidirectional(&mut inner, &mut outer).await;
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Identity {
    /// Writes both into one file, as a port reads them.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> TlsFiles {
        // Whole or not at all, as programs do that renew.
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, format!("{}{}", self.cert, self.key)).expect("written");
        std::fs::rename(&fresh, path).expect("renamed");
        TlsFiles {
            certificate: path.to_owned(),
            key: None,
        }
    }

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
