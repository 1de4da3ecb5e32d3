//! How TLS is spoken on the shared port: the part that all names have in common.
//!
//! TLS 1.2 and 1.3, no certificates of clients, no early data. Sessions are resumed
//! by tickets alone, so nothing is kept for a client that is gone, and tickets of one
//! family mean nothing to another. Used by `serving`.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SignatureAlgorithm};

/// One for all, because there may be ten thousand names.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));

/// The server's side of TLS with a certificate.
///
/// # Errors
///
/// What the library says.
pub(super) fn config(
    identity: Arc<CertifiedKey>,
    protocols: Vec<Vec<u8>>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = protocols;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Bytes of the public half of an RSA key with 2048 bits, as certificates have it.
const RSA_2048_BYTES: usize = 294;

/// Whether a signature with a key takes milliseconds. Measured: 0.7 ms for RSA with
/// 2048 bits, 6 ms with 4096; the other kinds take a tenth of a millisecond.
pub(super) fn signs_slowly(identity: &CertifiedKey) -> bool {
    let public = identity.key.public_key();
    identity.key.algorithm() == SignatureAlgorithm::RSA
        && public.is_none_or(|public| public.len() > RSA_2048_BYTES)
}
