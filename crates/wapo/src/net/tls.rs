//! Certificates for TLS that the host terminates.
//!
//! Only carries texts to the host; reading them is the host's part.

use std::fmt;

use wapo_abi::message::TlsServerConfig;

/// A certificate chain and its private key, as PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    cert: String,
    key: String,
}

impl Identity {
    /// Takes the chain (leaf first) and the key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// The texts are checked by the call that uses them.
    pub fn from_pem(cert: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            cert: cert.into(),
            key: key.into(),
        }
    }
}

impl From<Identity> for TlsServerConfig {
    fn from(identity: Identity) -> Self {
        Self::V0 {
            cert: identity.cert,
            key: identity.key,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cert_bytes", &self.cert.len())
            .finish_non_exhaustive()
    }
}
