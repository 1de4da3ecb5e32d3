//! Connections of the daemon itself to servers in the web: an ACME authority, a service
//! that has collateral.
//!
//! HTTP/1.1; certificates are checked against the public authorities and the extra roots
//! of the operator. What apps connect to is no business of this module. Called by `acme`,
//! `worker::collateral`, and by `server` for the roots.

use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// Connects a client.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// What a client may be asked to fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Schemes {
    /// `https` alone.
    Https,
    /// And `http`, for what is checked by itself.
    HttpToo,
}

/// The public authorities and those of the operator.
///
/// # Errors
///
/// A text of one line, when a root cannot be used.
pub(crate) fn roots(extra: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in extra {
        let added = roots.add(root.clone());
        added.map_err(|error| format!("a trust root cannot be used: {error}"))?;
    }
    Ok(roots)
}

/// Makes connections that are there within `time`.
///
/// # Errors
///
/// A text of one line, when a root cannot be used.
pub(crate) fn connector(
    extra_roots: &[CertificateDer<'static>],
    schemes: Schemes,
    time: Duration,
) -> Result<Connector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots(extra_roots)?)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(time));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    let builder = match schemes {
        Schemes::Https => builder.https_only(),
        Schemes::HttpToo => builder.https_or_http(),
    };
    Ok(builder.enable_http1().wrap_connector(tcp))
}
