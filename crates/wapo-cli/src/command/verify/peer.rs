//! The certificate of a server: asked for over TLS, with the proof that the server has its
//! key. Whether the certificate is a good one is decided by what it carries, not here.

use std::io::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// How long each step with the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The certificate of a server, in DER.
///
/// # Errors
///
/// There is no such server, or it does not prove to have the certificate's key.
pub(super) fn certificate(server: &str, name: Option<&str>) -> Result<Vec<u8>> {
    let (host, _) = server.rsplit_once(':').context("HOST:PORT is needed")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = name.unwrap_or(host);
    let name = ServerName::try_from(host.to_owned());
    let name = name.with_context(|| format!("{host} is no name of a server"))?;
    let address = server
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {server}"))?;
    let Some(mut socket) = address
        .into_iter()
        .find_map(|address| TcpStream::connect_timeout(&address, PATIENCE).ok())
    else {
        bail!("nothing answers at {server}");
    };
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    // A server is not told an address as its name, and a port of many apps needs a name.
    let hint = match name {
        ServerName::IpAddress(_) => "; does it need --server-name?",
        _ => "",
    };
    let mut connection = ClientConnection::new(config()?, name)?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut socket)
            .with_context(|| format!("the handshake with {server} failed{hint}"))?;
    }
    connection.send_close_notify();
    // The certificate is here; whether the server hears of the end does not matter.
    let _ = connection
        .write_tls(&mut socket)
        .and_then(|_| socket.flush());
    let certificates = connection.peer_certificates().unwrap_or_default();
    let first = certificates
        .first()
        .context("the server showed no certificate")?;
    Ok(first.to_vec())
}

fn config() -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(ByEvidence(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate whose key the server proves to have: the evidence in it is
/// verified afterwards, and nothing is sent before that.
#[derive(Debug)]
struct ByEvidence(Arc<CryptoProvider>);

impl ServerCertVerifier for ByEvidence {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
