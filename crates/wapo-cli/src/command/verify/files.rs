//! Files that are verified: read with a bound, whatever their form.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use parity_scale_codec::Decode;
use wapo_verify::evidence_file::{self, FILE_BYTES_MAX};

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
    let content = read_bounded(file, 3 * bytes_max)?;
    Ok(evidence_file::bytes(&content))
}

/// Reads evidence from a file.
///
/// # Errors
///
/// It cannot be read, or is not this kind of evidence.
pub(crate) fn read_evidence<T: Decode>(file: &Path, kind: &'static str) -> Result<T> {
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
            content: read_bounded(file, FILE_BYTES_MAX)?,
        })
    }

    /// The evidence.
    ///
    /// # Errors
    ///
    /// It is not of this kind.
    pub(crate) fn decode<T: Decode>(&self, kind: &'static str) -> Result<T> {
        evidence_file::read(&self.content, kind)
            .with_context(|| format!("cannot verify {}", self.shown))
    }
}

/// Writes evidence into a file.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn write_evidence(file: &Path, kind: &str, encoded: &[u8]) -> Result<()> {
    let text = evidence_file::write(kind, encoded);
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
