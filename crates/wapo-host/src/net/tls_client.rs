//! A client's side of TLS as a guest wants it: protocols, a certificate, trust roots.
//!
//! Without wishes all guests share the engine's configuration (`tls`). One with wishes
//! has a configuration of its own, which remembers no sessions: what was shown to a
//! server by one app is shown by no other. Used by the calls that connect.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use wapo_abi::message::{TlsClientOptions, TlsServerConfig};

use crate::host_memory::MemoryCharge;
use crate::limits::caps::{PEM_BYTES_MAX, PROTOCOL_BYTES_MAX, PROTOCOLS_MAX};
use crate::net::tls_settings::TlsSettings;

/// How a connection attempt speaks TLS: to this server, in this way, with the memory
/// that it needs.
pub(crate) struct TlsClient {
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) memory: MemoryCharge,
}

/// Options that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadOptions;

/// Bytes of all parts of the options, if each has a bearable size. To be asked before
/// anything is read.
///
/// # Errors
///
/// [`BadOptions`].
pub(crate) fn check_sizes(options: &TlsClientOptions) -> Result<usize, BadOptions> {
    let TlsClientOptions {
        protocols,
        identity,
        roots,
    } = options;
    let is_named = |name: &Vec<u8>| (1..=PROTOCOL_BYTES_MAX).contains(&name.len());
    if protocols.len() > PROTOCOLS_MAX || !protocols.iter().all(is_named) {
        return Err(BadOptions);
    }
    let identity = identity
        .iter()
        .flat_map(|TlsServerConfig::V0 { cert, key }| [cert, key]);
    let texts: Vec<usize> = identity.chain(roots).map(String::len).collect();
    if texts.iter().any(|bytes| *bytes > PEM_BYTES_MAX) {
        return Err(BadOptions);
    }
    Ok(texts.iter().sum())
}

impl TlsSettings {
    /// A configuration as a guest wants it.
    ///
    /// # Errors
    ///
    /// [`BadOptions`] for texts that are no certificates or no key, a key of another
    /// certificate, or no trust root.
    pub(crate) fn client_with(
        &self,
        options: &TlsClientOptions,
    ) -> Result<Arc<ClientConfig>, BadOptions> {
        let TlsClientOptions {
            protocols,
            identity,
            roots,
        } = options;
        let roots = match roots {
            None => Arc::clone(self.roots()),
            Some(pem) => Arc::new(roots_of(pem)?),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(self.provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| BadOptions)?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(TlsServerConfig::V0 { cert, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| BadOptions)?;
                let builder = builder.with_client_auth_cert(certificates(cert)?, key);
                builder.map_err(|_| BadOptions)?
            }
        };
        config.alpn_protocols.clone_from(protocols);
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, BadOptions> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|_| BadOptions)?;
    match all.is_empty() {
        true => Err(BadOptions),
        false => Ok(all),
    }
}

fn roots_of(pem: &str) -> Result<RootCertStore, BadOptions> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|_| BadOptions)?;
    }
    Ok(roots)
}
