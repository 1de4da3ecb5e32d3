//! The form of DCAP quotes, byte for byte.
//!
//! The library that verifies them skips what it does not need: bytes behind the
//! quote and inside its lengths, text around certificates, certificates that the
//! path does not use. A quote that was changed there would pass. Here a quote has to
//! be exactly what its maker writes, so that each byte is one that was signed or is
//! compared. Called by `dcap`.

use data_encoding::BASE64;
use dcap_qvl::intel::extract_cert_chain;
use dcap_qvl::quote::{AuthData, Quote};
use parity_scale_codec::Encode as _;

/// Certification data: a report of the quoting enclave, and more inside.
const QE_REPORT: u16 = 6;
/// Certification data: a chain of certificates as text.
const PCK_CHAIN: u16 = 5;
/// Characters of a line of a certificate as text.
const LINE_CHARS: usize = 64;
/// Platform, its authority, root.
const CHAIN_CERTIFICATES: usize = 3;

/// Reads a quote that is exactly in form and whose chain ends in this root.
///
/// # Errors
///
/// What is not in form.
pub(super) fn read(bytes: &[u8], root: &[u8]) -> Result<Quote, String> {
    let quote =
        Quote::parse(bytes).map_err(|error| format!("the quote cannot be read: {error:#}"))?;
    let written = quote.encode();
    // Where quotes have a fixed room, what is left of it is zero.
    let rest = bytes
        .strip_prefix(written.as_slice())
        .ok_or("the lengths in the quote do not add up")?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err("something follows the quote".to_owned());
    }
    if let AuthData::V4(data) = &quote.auth_data
        && data.certification_data.cert_type != QE_REPORT
    {
        return Err("the quote carries no report of the quoting enclave".to_owned());
    }
    if quote.inner_cert_type() != PCK_CHAIN {
        return Err(format!(
            "the quote carries its platform's certificates in form {}, and only form {PCK_CHAIN} \
             (a chain as text) is verified",
            quote.inner_cert_type()
        ));
    }
    chain(&quote, root)?;
    Ok(quote)
}

/// Whether the chain of a quote ends in this certificate, for telling kinds apart.
pub(super) fn is_chained_to(bytes: &[u8], root: &[u8]) -> bool {
    Quote::parse(bytes)
        .and_then(|quote| extract_cert_chain(&quote))
        .is_ok_and(|chain| chain.last().is_some_and(|last| last == root))
}

fn chain(quote: &Quote, root: &[u8]) -> Result<(), String> {
    let chain = extract_cert_chain(quote)
        .map_err(|error| format!("the platform's certificates cannot be read: {error:#}"))?;
    if chain.len() != CHAIN_CERTIFICATES {
        return Err(format!(
            "the platform's chain has {} certificates, not {CHAIN_CERTIFICATES}",
            chain.len()
        ));
    }
    if chain.last().is_none_or(|last| last != root) {
        return Err("the platform's certificates do not end in the maker's root".to_owned());
    }
    let written: String = chain.iter().map(|certificate| pem(certificate)).collect();
    let text = quote.inner_cert_data();
    match text.strip_prefix(written.as_bytes()) {
        Some([] | [0]) => Ok(()),
        _ => Err("the platform's certificates are not written as their maker does".to_owned()),
    }
}

/// A certificate as text (RFC 7468).
fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // Base64 has one byte for each character.
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARS));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}
