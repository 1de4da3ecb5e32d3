//! What every source of quotes is, whatever the hardware.
//!
//! Implemented by `gramine`, `configfs` and `simulator`; called by the thread of `quoter`.

use std::path::PathBuf;

use wapo_crypto::report_data::REPORT_DATA_BYTES;
use wapo_rpc::statement::Quote;

/// What stands behind quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SourceKind {
    Sgx,
    Tdx,
    SevSnp,
    Simulator,
}

impl SourceKind {
    /// The word for people and programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sgx => "sgx",
            Self::Tdx => "tdx",
            Self::SevSnp => "sev-snp",
            Self::Simulator => "simulator",
        }
    }
}

/// Report data of a quote.
pub(crate) type ReportData = [u8; REPORT_DATA_BYTES];

/// Something that makes quotes. Its calls block.
pub(super) trait QuoteSource: Send {
    /// What it is.
    fn kind(&self) -> SourceKind;

    /// Makes a quote with this report data.
    fn quote(&mut self, report_data: &ReportData) -> Result<Quote, SourceError>;
}

/// Why a source made no quote. For the log, not for clients.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// A file.
    #[error("{}: {error}", path.display())]
    File {
        path: PathBuf,
        error: std::io::Error,
    },
    /// What came is no quote, or one of something else.
    #[error("{0}")]
    Wrong(String),
}
