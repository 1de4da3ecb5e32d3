//! Evidence in a file: JSON that says of which kind it is, or the bytes in it, as they are
//! or as hex.
//!
//! Bytes in, evidence out. Written and read by `wapo verify`, read by the page that
//! verifies in a browser. What the evidence is worth is another matter ([`crate::worker`],
//! [`crate::app`]).

use parity_scale_codec::Decode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use wapo_rpc::hexbytes;
use wapo_rpc::statement::{self, StatementError};

use crate::text;

/// Bytes of a file with evidence.
///
/// Evidence is below 400 KiB, and hex has twice that.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Version of the form of these files.
const VERSION: u32 = 1;

/// What a file with evidence of a worker says that it is.
pub const WORKER: &str = "wapo-worker-evidence";
/// What a file with evidence of an app says that it is.
pub const APP: &str = "wapo-app-evidence";

/// Why there is no evidence in a file.
#[derive(Debug, thiserror::Error)]
pub enum NoEvidenceFile {
    /// JSON of another form.
    #[error("the file is no evidence: {0}")]
    Form(#[from] serde_json::Error),
    /// Of the same form, with something else.
    #[error("the file has {found}, and {wanted} is what is verified here")]
    Kind {
        /// What it says it has.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Of a later form.
    #[error(
        "the file has version {0} of its form, and {VERSION} is known; is there a newer `wapo`?"
    )]
    Version(u32),
    /// The evidence is not written as hex.
    #[error("the evidence in the file is no hex")]
    Hex,
    /// The bytes are something else.
    #[error("the file is no {wanted}: {error}")]
    Content {
        /// What was asked for.
        wanted: &'static str,
        /// What is wrong.
        error: StatementError,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    kind: String,
    version: u32,
    evidence: String,
}

/// Reads evidence of a kind, [`WORKER`] or [`APP`], from a file.
///
/// # Errors
///
/// [`NoEvidenceFile`]
pub fn read<T: Decode>(content: &[u8], wanted: &'static str) -> Result<T, NoEvidenceFile> {
    let bytes = if content.trim_ascii_start().starts_with(b"{") {
        let envelope: Envelope = serde_json::from_slice(content)?;
        if envelope.kind != wanted {
            let found = text::printable(&envelope.kind);
            return Err(NoEvidenceFile::Kind { found, wanted });
        }
        if envelope.version != VERSION {
            return Err(NoEvidenceFile::Version(envelope.version));
        }
        from_hex(envelope.evidence.as_bytes()).ok_or(NoEvidenceFile::Hex)?
    } else {
        bytes(content)
    };
    statement::decode(&bytes).map_err(|error| NoEvidenceFile::Content { wanted, error })
}

/// The text of a file with evidence of a kind, given as SCALE.
pub fn write(kind: &str, encoded: &[u8]) -> String {
    let envelope = Envelope {
        kind: kind.to_owned(),
        version: VERSION,
        evidence: hexbytes::to_hex(encoded),
    };
    // Texts and a number are always written.
    serde_json::to_string(&envelope).unwrap_or_default() + "\n"
}

/// The bytes of a file in which they may be written as hex digits.
pub fn bytes(content: &[u8]) -> Vec<u8> {
    from_hex(content).unwrap_or_else(|| content.to_vec())
}

/// The first certificate of a file in DER or PEM, in DER. What is no text is none in PEM,
/// though the evidence in a certificate has some: those of the quote.
pub fn certificate(content: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(content).ok();
    let pem = text.and_then(|text| CertificateDer::from_pem_slice(text.as_bytes()).ok());
    pem.map_or_else(|| content.to_vec(), |der| der.to_vec())
}

fn from_hex(content: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    let digits: String = text.split_whitespace().collect();
    hexbytes::from_hex(&digits).ok()
}
