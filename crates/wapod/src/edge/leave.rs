//! Connections of names for which the daemon terminates TLS; the gateway serves them.
//!
//! An app leaves a name to the gateway by not serving it itself. That takes a certificate of
//! the daemon: of the domain, which an operator gave with it, that which attests the app, if
//! it was deployed so, or that of the port, which is for names below the base domain. Sessions are resumed within one app, and with a certificate
//! that attests it under that alone; names that are no
//! app's (the base domain itself, say) have tickets of their own. Called by `port`.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::CertifiedKey;
use wapo_sni::{ClientHello, Pattern, ServerName};

use super::certificates::ACME_TLS;
use super::{Edge, Found, certificate, tickets};

/// The protocols within TLS, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How TLS is spoken on a connection that the gateway serves.
pub(super) struct Left {
    pub(super) config: Arc<ServerConfig>,
    pub(super) certificate: Arc<CertifiedKey>,
    /// The serial number of the app that it attests.
    pub(super) attested: Option<u64>,
    pub(super) signs_slowly: bool,
}

/// What an authority is shown that looks whether a name leads here (RFC 8737); `None` for all
/// other connections, and for authorities that the daemon has asked nothing of. No guest gets
/// those: `port` refuses them.
pub(super) fn to_authority(edge: &Edge, name: &ServerName, hello: &ClientHello) -> Option<Left> {
    if !hello.protocols().any(|protocol| protocol == ACME_TLS) {
        return None;
    }
    let certificate = edge.certificates.tls_challenge(name)?;
    let tickets = edge.certificates.tickets().ok()?;
    let config = tickets::config(Arc::clone(&certificate), vec![ACME_TLS.to_vec()], tickets);
    Some(Left {
        config: config.ok()?,
        certificate,
        attested: None,
        signs_slowly: false,
    })
}

/// The certificate that attests the app with a name, if it is to have one; but a domain's
/// own, which an operator gave, is preferred.
fn attested(
    edge: &Edge,
    name: &ServerName,
    found: Option<&Found>,
) -> Option<(Arc<CertifiedKey>, u64)> {
    let app = &found?.app;
    let certificate = app.attested()?;
    let pattern = Pattern::Exact(name.clone());
    let has_own = edge.certificates.has_domain(&pattern);
    let is_good = !has_own && certificate::is_for(&certificate, &pattern).is_ok();
    is_good.then_some((certificate, app.serial))
}

/// What a name is left to the gateway with; `None` when a guest serves it, or the daemon has
/// no certificate for it.
pub(super) fn to_gateway(edge: &Edge, name: &ServerName, found: Option<&Found>) -> Option<Left> {
    if found.is_some_and(|found| found.serving.is_some()) {
        return None;
    }
    let (certificate, attested) = match attested(edge, name, found) {
        Some((certificate, serial)) => (certificate, Some(serial)),
        None => (edge.certificates.find(name)?, None),
    };
    let (configs, tickets) = match found {
        Some(found) => (found.kin.configs(), found.kin.tickets()),
        None => (edge.certificates.configs(), edge.certificates.tickets()),
    };
    let config = configs.of(&certificate, || {
        let protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        match attested {
            Some(_) => tickets::attested_config(Arc::clone(&certificate), protocols),
            None => tickets::config(Arc::clone(&certificate), protocols, tickets?),
        }
    });
    match config {
        Ok(config) => Some(Left {
            config,
            signs_slowly: tickets::signs_slowly(&certificate),
            certificate,
            attested,
        }),
        Err(error) => {
            tracing::error!(%error, "TLS cannot be set up for a name");
            None
        }
    }
}
