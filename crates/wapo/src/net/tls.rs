//! Certificates for TLS that the host terminates.
//!
//! Only carries texts to the host; reading them is the host's part.

use std::fmt;

use wapo_abi::message::{TlsClientOptions, TlsServerConfig};

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

/// Wishes for a TLS connection out, for [`connect_tls_with`](super::connect_tls_with).
///
/// ```no_run
/// # async fn demo(cert: String, key: String, roots: String) -> std::io::Result<()> {
/// use wapo::net::{Identity, TlsOptions};
/// let options = TlsOptions::new()
///     .protocols(["h2", "http/1.1"])
///     .identity(Identity::from_pem(cert, key))
///     .roots_pem(roots);
/// let stream = wapo::net::connect_tls_with("api.example.com", 443, options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TlsOptions(TlsClientOptions);

impl TlsOptions {
    /// No wishes: as [`connect_tls`](super::connect_tls).
    pub fn new() -> Self {
        Self::default()
    }

    /// Protocols to offer (ALPN), the preferred one first; 16 of them at most, each of
    /// 1 to 255 bytes.
    #[must_use]
    pub fn protocols<T: AsRef<[u8]>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_vec());
        self.0.protocols = names.collect();
        self
    }

    /// A certificate and key to show to a server that asks for one.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.0.identity = Some(identity.into());
        self
    }

    /// Certificates in PEM that are trusted in place of the worker's roots, 64 KiB at
    /// most.
    #[must_use]
    pub fn roots_pem(mut self, pem: impl Into<String>) -> Self {
        self.0.roots = Some(pem.into());
        self
    }
}

impl From<TlsOptions> for TlsClientOptions {
    fn from(options: TlsOptions) -> Self {
        options.0
    }
}
