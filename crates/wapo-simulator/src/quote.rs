//! The quote: header, report of the enclave, and what certifies it. Version 3 of
//! DCAP's format (Intel, "SGX ECDSA QuoteLibReference", appendix A.4).

use crate::certificates::{PCE_SVN, Pki};
use crate::keys::digest;
use crate::{Enclave, REPORT_DATA_BYTES};

/// Who makes quoting enclaves: Intel, in this format.
const QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// Version of the quoting enclave.
pub(crate) const QE_SVN: u16 = 8;
/// The signer's number for the quoting enclave.
pub(crate) const QE_PRODUCT_ID: u16 = 1;
/// The enclave is initialised, and of 64 bits.
const ATTRIBUTES: u8 = 0x01 | 0x04;
/// The host may look into it.
const DEBUG: u8 = 0x02;
/// Which states of the processor it uses: x87 and SSE.
const XFRM: u8 = 0x03;
/// Certification data is a chain of certificates as text.
const PCK_CHAIN: u16 = 5;
/// What the quoting enclave adds to its attestation key.
const QE_AUTHENTICATION: [u8; 32] = *b"wapo simulator: authentication..";

/// Who signed the quoting enclave.
pub(crate) fn qe_signer() -> [u8; 32] {
    digest(b"wapo simulator: signer of the quoting enclave", &[])
}

/// A quote over report data.
pub(crate) fn make(pki: &Pki, enclave: &Enclave, report_data: &[u8; REPORT_DATA_BYTES]) -> Vec<u8> {
    let mut quote = header();
    quote.extend(report(enclave, report_data));
    let signature = pki.attestation_key.sign_raw(&quote);
    let auth = authentication(pki, &signature);
    quote.extend(length(&auth));
    quote.extend(auth);
    quote
}

fn header() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend(3_u16.to_le_bytes());
    // ECDSA with P-256, of SGX.
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(QE_SVN.to_le_bytes());
    bytes.extend(PCE_SVN.to_le_bytes());
    bytes.extend(QE_VENDOR);
    bytes.extend([0; 20]);
    bytes
}

/// The report of an enclave: 384 bytes.
fn report(enclave: &Enclave, report_data: &[u8; REPORT_DATA_BYTES]) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    let debug = if enclave.debug { DEBUG } else { 0 };
    bytes.extend([ATTRIBUTES | debug, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([XFRM, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(enclave.measurement);
    bytes.extend([0; 32]);
    bytes.extend(enclave.signer);
    bytes.extend([0; 96]);
    bytes.extend(enclave.product_id.to_le_bytes());
    bytes.extend(enclave.svn.to_le_bytes());
    bytes.extend([0; 60]);
    bytes.extend(report_data);
    bytes
}

fn authentication(pki: &Pki, signature: &[u8; 64]) -> Vec<u8> {
    let public = pki.attestation_key.raw_public();
    let mut bytes = signature.to_vec();
    bytes.extend(public);
    let qe = Enclave {
        measurement: digest(b"wapo simulator: quoting enclave", &[]),
        signer: qe_signer(),
        product_id: QE_PRODUCT_ID,
        svn: QE_SVN,
        debug: false,
    };
    let mut qe_data = [0; REPORT_DATA_BYTES];
    qe_data[..32].copy_from_slice(&sha256(&[public, &QE_AUTHENTICATION].concat()));
    let qe_report = report(&qe, &qe_data);
    bytes.extend(&qe_report);
    bytes.extend(pki.platform.key.sign_raw(&qe_report));
    // 32, in two bytes.
    bytes.extend([32, 0]);
    bytes.extend(QE_AUTHENTICATION);
    let chain = pki.pck_chain();
    bytes.extend(PCK_CHAIN.to_le_bytes());
    bytes.extend(length(chain.as_bytes()));
    bytes.extend(chain.as_bytes());
    bytes
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

/// A length in four bytes; what is measured here is some KiB long.
fn length(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = bytes.len().to_le_bytes();
    [a, b, c, d]
}
