//! Quotes of SGX through the files that Gramine shows in an enclave.
//!
//! `attestation_type` says whether there are quotes; what is written into
//! `user_report_data` is in the next quote that is read from `quote`. The files are
//! one for all threads of the process, so writing and reading are one step of the
//! one thread that has this source.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use wapo_rpc::limits::QUOTE_BYTES_MAX;
use wapo_rpc::statement::{Bounded, Quote};

use super::report_place;
use super::source::{QuoteSource, ReportData, SourceError, SourceKind};

/// Bytes of `attestation_type` that are looked at. A word stands there.
const TYPE_BYTES_MAX: usize = 64;

/// Gramine's files.
pub(super) struct GramineFiles {
    dir: PathBuf,
}

/// The files, where they are and give quotes that can be checked.
pub(super) fn find(dir: &Path) -> Option<GramineFiles> {
    let kind = read(&dir.join("attestation_type"), TYPE_BYTES_MAX).ok()?;
    match kind.trim_ascii() {
        b"dcap" => Some(GramineFiles {
            dir: dir.to_owned(),
        }),
        b"none" => None,
        other => {
            let kind = String::from_utf8_lossy(other);
            tracing::warn!(%kind, "the enclave attests in a way that is not known: there will be no quotes");
            None
        }
    }
}

impl QuoteSource for GramineFiles {
    fn kind(&self) -> SourceKind {
        SourceKind::Sgx
    }

    fn quote(&mut self, report_data: &ReportData) -> Result<Quote, SourceError> {
        write(&self.dir.join("user_report_data"), report_data)?;
        let quote = read(&self.dir.join("quote"), QUOTE_BYTES_MAX)?;
        let quote = Bounded::new(quote).map_err(|error| SourceError::Wrong(error.to_string()))?;
        report_place::check(Quote::Sgx(quote), report_data)
    }
}

/// Writes a file that is there, in one piece: such files are no ordinary ones.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), SourceError> {
    let opened = OpenOptions::new().write(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(content));
    written.map_err(|error| failed(path, error))
}

/// Reads a file that is no longer than so many bytes.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
    let mut content = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let opened = fs::File::open(path);
    let read = opened.and_then(|file| file.take(limit + 1).read_to_end(&mut content));
    read.map_err(|error| failed(path, error))?;
    if content.len() > bytes_max {
        let text = format!("{}: more than {bytes_max} bytes", path.display());
        return Err(SourceError::Wrong(text));
    }
    Ok(content)
}

fn failed(path: &Path, error: io::Error) -> SourceError {
    SourceError::File {
        path: path.to_owned(),
        error,
    }
}
