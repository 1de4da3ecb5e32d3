//! How certificates are got. Used by `acme`.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

/// How certificates are got.
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// URL of the directory of the authority's server.
    pub directory_url: String,
    /// Where the authority reaches the operator: an address of mail.
    pub contact: Option<String>,
    /// Roots that are trusted for the server besides the public ones.
    pub roots: Vec<CertificateDer<'static>>,
    /// Whether host names of apps below the base domain get certificates, too.
    pub app_names: bool,
    /// Pause after a failure; later ones are longer.
    pub retry: Duration,
}
