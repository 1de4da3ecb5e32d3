//! Whether a certificate is good for a name.
//!
//! The name has to be in it, always. Who signed it, and whether it is of this time,
//! is asked only where there are trust roots. That it belongs to its key was seen
//! before, by the host. Called by the parent module when a guest asks for a name.

use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use wapo_sni::Pattern;

/// A label that stands for all that a wildcard covers: a certificate has to have
/// the same wildcard to be good for it.
const ANY_LABEL: &str = "wapo-any-name-below";

/// Checks the first certificate of a chain.
///
/// # Errors
///
/// A text for the guest.
pub(super) fn check(
    identity: &CertifiedKey,
    pattern: &Pattern,
    roots: Option<&RootCertStore>,
) -> Result<(), String> {
    is_for(identity, pattern)?;
    let Some(roots) = roots else {
        return Ok(());
    };
    let (first, rest) = identity.cert.split_first().ok_or("there is none")?;
    let leaf = parse(first)?;
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let verified = verify_server_cert_signed_by_trust_anchor(
        &leaf,
        roots,
        rest,
        UnixTime::now(),
        algorithms.all,
    );
    verified.map_err(|error| {
        format!(
            "{error}; certificates have to be valid now and signed by a trusted authority, unless wapod runs with --do-not-verify-tls-server-cert"
        )
    })
}

/// Whether the first certificate of a chain is for a name or a wildcard.
///
/// # Errors
///
/// A text for the owner of the certificate.
pub(crate) fn is_for(identity: &CertifiedKey, pattern: &Pattern) -> Result<(), String> {
    let name = match pattern {
        Pattern::Exact(name) => name.as_str().to_owned(),
        Pattern::Wildcard(parent) => format!("{ANY_LABEL}.{parent}"),
    };
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let (first, rest) = identity.cert.split_first().ok_or("there is none")?;
    let leaf = parse(first)?;
    if let Err(error) = verify_server_name(&leaf, &name) {
        let is_for = |one: &CertificateDer<'_>| {
            parse(one).is_ok_and(|one| verify_server_name(&one, &name).is_ok())
        };
        return Err(match rest.iter().position(is_for) {
            Some(index) => format!(
                "the chain begins with another certificate: the one for {pattern} is number {} and has to be the first",
                index + 2
            ),
            None => format!("the certificate is not for {pattern}: {error}"),
        });
    }
    Ok(())
}

fn parse<'a>(one: &'a CertificateDer<'a>) -> Result<ParsedCertificate<'a>, String> {
    ParsedCertificate::try_from(one)
        .map_err(|error| format!("the certificate cannot be read: {error}"))
}
