//! Whose word a client takes for it that a worker is the right one.
//!
//! Without a word: the public authorities that browsers trust. Otherwise exactly the
//! certificates that were given, each an authority or the worker's own. No I/O; used by
//! `transport`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Certificates that are trusted in place of the public authorities.
#[derive(Clone, Debug)]
pub struct TrustedCertificates(Vec<CertificateDer<'static>>);

impl TrustedCertificates {
    /// Reads the certificates of a PEM text.
    ///
    /// # Errors
    ///
    /// A text of one line, when there is none or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let all = all.map_err(|error| format!("it is not a PEM file: {error}"))?;
        if all.is_empty() {
            return Err("there is no certificate in it (BEGIN CERTIFICATE)".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for certificate in &all {
            let added = roots.add(certificate.clone());
            added.map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
        }
        Ok(Self(all))
    }
}

/// How the client speaks TLS.
///
/// # Errors
///
/// When the library does not take it.
pub(super) fn config(trusted: Option<&TrustedCertificates>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let Some(TrustedCertificates(own)) = trusted else {
        let public = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        let roots = RootCertStore::from_iter(public);
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    };
    let verifier = OwnTrust::new(own.clone(), provider)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Takes what the given authorities have signed, and a given certificate itself.
///
/// Certificates that people make for a single server say of themselves, most of the
/// time, that they are authorities, and those of a server of another authority say
/// nothing about that one. The library refuses either, though it is exactly the
/// certificate that was given. Name, time and possession of the key are checked as for
/// others.
#[derive(Debug)]
struct OwnTrust {
    given: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl OwnTrust {
    fn new(
        given: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &given {
            roots.add(certificate.clone())?;
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { given, authorities })
    }
}

impl ServerCertVerifier for OwnTrust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // Both are noticed after the time was looked at.
            Err(Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if self.given.iter().any(|given| given == end_entity) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused_with_the_reason() {
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (pem, reason) in [
            ("", "there is no certificate in it"),
            ("text", "there is no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\nAAAA", "not a PEM file"),
            (damaged, "cannot be used"),
        ] {
            let error = TrustedCertificates::from_pem(pem.as_bytes());
            let error = error.expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}
