//! PEM texts to a certificate with its key, with the reason in words where they are none.
//!
//! No I/O. Whether clients trust the certificate is for them to say: an operator may have
//! an authority of their own.

use std::time::Duration;

use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use zeroize::Zeroizing;

use crate::limits::TLS_CHAIN_MAX;

/// What cannot be used, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unusable {
    /// The certificate, or one of its chain.
    Certificate(String),
    /// The key.
    Key(String),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate(text) | Self::Key(text) => f.write_str(text),
        }
    }
}

/// Reads a chain and the key of its first certificate.
///
/// # Errors
///
/// [`Unusable`] with a text of one line.
pub(crate) fn identity(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, Unusable> {
    let bad = |text: String| Err(Unusable::Certificate(text));
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain)
        .take(TLS_CHAIN_MAX + 1)
        .collect();
    let certificates = match certificates {
        Ok(certificates) => certificates,
        Err(error) => return bad(format!("it is not a PEM file: {error}")),
    };
    let Some(own) = certificates.first() else {
        return bad("there is no certificate in it (BEGIN CERTIFICATE)".to_owned());
    };
    if certificates.len() > TLS_CHAIN_MAX {
        return bad(format!(
            "there are more than {TLS_CHAIN_MAX} certificates in it; the server's own comes first, then those between it and an authority"
        ));
    }
    if let Err(error) = ParsedCertificate::try_from(own) {
        return bad(format!("its first certificate cannot be read: {error}"));
    }
    let signer = match PrivateKeyDer::from_pem_slice(key) {
        Ok(key) => any_supported_type(&Zeroizing::new(key))
            .map_err(|_| "a key of a kind that is not supported: RSA from 2048 bits, ECDSA of P-256 or P-384, and Ed25519 are".to_owned()),
        Err(_) if contains(key, b"ENCRYPTED") => Err(
            "the key is encrypted, and nobody is here to type a password: decrypt it with `openssl pkey -in FILE -out NEW`".to_owned(),
        ),
        Err(_) => Err("there is no private key in it (BEGIN PRIVATE KEY)".to_owned()),
    };
    let identity = CertifiedKey::new(certificates, signer.map_err(Unusable::Key)?);
    match identity.keys_match() {
        // Of some keys it cannot be told; clients would.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(identity),
        Err(_) => Err(Unusable::Key(
            "the key does not belong to the first certificate of the chain".to_owned(),
        )),
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// Seconds since 1970 after which a certificate is refused; `None` if it does not say.
pub(crate) fn not_after_seconds(identity: &CertifiedKey) -> Option<u64> {
    validity_seconds(identity).map(|(_, not_after)| not_after)
}

/// Seconds since 1970 from which on a certificate is taken, and after which it is not.
///
/// The verifier is asked about the beginning and the end of time: that it is too early or
/// too late is the first that it notices, and it says by how much.
pub(crate) fn validity_seconds(identity: &CertifiedKey) -> Option<(u64, u64)> {
    const END_OF_TIME: u64 = u64::MAX >> 8;
    let (_, not_after) = refused_at(identity, END_OF_TIME)?;
    // Some are good since before 1970.
    let not_before = refused_at(identity, 0).map_or(0, |(not_before, _)| not_before);
    Some((not_before, not_after))
}

/// The ends of a certificate's time, as far as the verifier names them at a time.
fn refused_at(identity: &CertifiedKey, seconds: u64) -> Option<(u64, u64)> {
    let own = ParsedCertificate::try_from(identity.cert.first()?).ok()?;
    let algorithms = default_provider().signature_verification_algorithms;
    let verified = rustls::client::verify_server_cert_signed_by_trust_anchor(
        &own,
        &RootCertStore::empty(),
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        algorithms.all,
    );
    match verified {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some((0, not_after.as_secs()))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => Some((not_before.as_secs(), 0)),
        _ => None,
    }
}
