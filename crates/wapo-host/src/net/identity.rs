//! Certificates and keys as texts, and what is wrong with them in words.
//!
//! Reads PEM and sees to it that key and certificate belong together. Whether a
//! certificate is good for a name, or who signed it, is checked elsewhere.
//! Called by `tls` for ports of guests and by `calls/net_sni` for names.

use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, crypto::ring};

/// Why texts are no certificate with its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadIdentity {
    /// The certificates.
    #[error("the certificate chain is no PEM text: {0}")]
    Chain(String),
    /// None of them.
    #[error("the certificate chain holds no certificate (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// The first one.
    #[error("the first certificate of the chain cannot be read: {0}")]
    Certificate(String),
    /// The key.
    #[error("the key is no PEM text: {0}")]
    Key(String),
    /// Nothing of the kind.
    #[error("the text of the key holds no private key (BEGIN PRIVATE KEY)")]
    NoKey,
    /// Nobody here has the password.
    #[error(
        "the key is encrypted: store it without a password (`openssl pkey -in KEY -out PLAIN`)"
    )]
    EncryptedKey,
    /// A kind of key that is not supported.
    #[error("the key cannot be used: {0} (RSA from 2048 bits, P-256, P-384 and Ed25519 can)")]
    UnusableKey(String),
    /// Each is right, and they do not fit.
    #[error("the key is not the one of the first certificate of the chain")]
    OtherKey,
}

/// Reads a chain, the certificate of the server first, and its key.
///
/// # Errors
///
/// [`BadIdentity`].
pub(crate) fn read(chain: &str, key: &str) -> Result<Arc<CertifiedKey>, BadIdentity> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| BadIdentity::Chain(error.to_string()))?;
    if chain.is_empty() {
        return Err(BadIdentity::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| match error {
        _ if is_encrypted(key) => BadIdentity::EncryptedKey,
        pem::Error::NoItemsFound => BadIdentity::NoKey,
        error => BadIdentity::Key(error.to_string()),
    })?;
    let key = ring::sign::any_supported_type(&key);
    let key = key.map_err(|error| BadIdentity::UnusableKey(error.to_string()))?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        // The library cannot tell for keys that do not show their other half.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(BadIdentity::OtherKey),
        Err(error) => return Err(BadIdentity::Certificate(error.to_string())),
    }
    Ok(Arc::new(identity))
}

/// Whether a text is a key with a password, in either of its two forms.
fn is_encrypted(key: &str) -> bool {
    key.contains("BEGIN ENCRYPTED PRIVATE KEY") || key.contains("Proc-Type: 4,ENCRYPTED")
}
