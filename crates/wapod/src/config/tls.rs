//! The configuration of TLS: the port that apps share, and trusted authorities. Part
//! of [`Config`](super::Config); the port itself is in `edge`.

use std::net::SocketAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::tls_files::TlsFiles;

/// The port that apps share for TLS: each serves names there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether the certificates of guests have to be of this time, and signed by one
    /// of the Mozilla roots or of [`Config::trust_roots`](super::Config::trust_roots). That they are for the name
    /// and belong to their key is always checked.
    pub verifies_certificates: bool,
    /// Certificate of the daemon, for names that apps leave to the gateway; `None` for
    /// none but those of domains.
    pub certificate: Option<TlsFiles>,
}

/// Reads the certificates of a PEM file. Blocks.
///
/// # Errors
///
/// A text naming the file and what is wrong with it.
pub fn read_trust_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots = roots.map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
    if roots.is_empty() {
        return Err(format!("{shown} holds no certificate (BEGIN CERTIFICATE)"));
    }
    Ok(roots)
}
