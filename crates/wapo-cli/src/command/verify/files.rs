//! Files that are verified: read with a bound, whatever their form.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use parity_scale_codec::Decode;
use serde::{Deserialize, Serialize};
use wapo_rpc::{hexbytes, statement};

/// Bytes of a file with evidence: evidence is below 400 KiB, and hex has twice that.
const EVIDENCE_BYTES_MAX: usize = 1024 * 1024;
/// Version of the form of these files.
const VERSION: u32 = 1;

/// Evidence in a file.
#[derive(Serialize, Deserialize)]
struct Envelope {
    kind: String,
    version: u32,
    evidence: String,
}

/// Reads a file, or standard input for `-`, of at most so many bytes.
///
/// # Errors
///
/// It cannot be read, or is longer.
pub(crate) fn read_bounded(file: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        return read_from(&mut io::stdin().lock(), file, bytes_max);
    }
    let opened = File::open(file);
    let mut opened = opened.with_context(|| format!("cannot read {}", file.display()))?;
    read_from(&mut opened, file, bytes_max)
}

/// The same for a file that is open.
///
/// # Errors
///
/// As [`read_bounded`].
pub(crate) fn read_from(from: &mut dyn Read, file: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let shown = file.display();
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    from.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {shown}"))?;
    if bytes.len() > bytes_max {
        bail!("{shown} has more than {bytes_max} bytes");
    }
    Ok(bytes)
}

/// Reads bytes that may be written as hex digits, as a whole.
///
/// # Errors
///
/// As [`read_bounded`].
pub(crate) fn read_bytes(file: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    // Two digits for each byte, and line breaks.
    let bytes = read_bounded(file, 3 * bytes_max)?;
    Ok(from_hex(&bytes).unwrap_or(bytes))
}

fn from_hex(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits: String = text.split_whitespace().collect();
    hexbytes::from_hex(&digits).ok()
}

/// Reads evidence from a file.
///
/// # Errors
///
/// It cannot be read, or is not this kind of evidence.
pub(crate) fn read_evidence<T: Decode>(file: &Path, kind: &str) -> Result<T> {
    EvidenceFile::read(file)?.decode(kind)
}

/// A file with evidence of some kind: JSON of the documented form, or the bytes in it, as
/// they are or as hex.
pub(crate) struct EvidenceFile {
    shown: String,
    content: Vec<u8>,
}

impl EvidenceFile {
    /// Reads the file, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is longer than evidence.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        Ok(Self {
            shown: file.display().to_string(),
            content: read_bounded(file, EVIDENCE_BYTES_MAX)?,
        })
    }

    /// The evidence.
    ///
    /// # Errors
    ///
    /// It is not of this kind.
    pub(crate) fn decode<T: Decode>(&self, kind: &str) -> Result<T> {
        let Self { shown, content } = self;
        if !content.trim_ascii_start().starts_with(b"{") {
            let bytes = from_hex(content);
            let bytes = bytes.as_deref().unwrap_or(content);
            return statement::decode(bytes).with_context(|| format!("{shown} is no {kind}"));
        }
        let envelope: Envelope =
            serde_json::from_slice(content).with_context(|| format!("{shown} is no evidence"))?;
        if envelope.kind != kind {
            let found = crate::human::printable(&envelope.kind);
            bail!("{shown} has {found}, and {kind} is what is verified here");
        }
        if envelope.version != VERSION {
            let version = envelope.version;
            bail!(
                "{shown} has version {version} of its form, and {VERSION} is known; is there a newer `wapo`?"
            );
        }
        let bytes = from_hex(envelope.evidence.as_bytes())
            .with_context(|| format!("the evidence in {shown} is no hex"))?;
        statement::decode(&bytes).with_context(|| format!("{shown} is no {kind}"))
    }
}

/// Writes evidence into a file.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn write_evidence(file: &Path, kind: &str, encoded: &[u8]) -> Result<()> {
    let envelope = Envelope {
        kind: kind.to_owned(),
        version: VERSION,
        evidence: hexbytes::to_hex(encoded),
    };
    let text = serde_json::to_string(&envelope).context("cannot write JSON")?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}
