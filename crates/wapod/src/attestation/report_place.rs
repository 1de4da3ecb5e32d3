//! Where the report data is within a quote.
//!
//! A source looks there before it hands a quote on: one with the data of another
//! requester, who used the same files at the same time, must never pass for the
//! caller's. Nothing else of a quote is read here; that is the work of verifiers.

use wapo_rpc::statement::Quote;

use super::source::{ReportData, SourceError};

/// In a quote of SGX, version 3: header of 48 bytes, 320 bytes of the report.
const SGX: usize = 48 + 320;
/// In a quote of TDX, version 4: header, 520 bytes of the report.
const TDX_4: usize = 48 + 520;
/// Version 5 has 6 bytes before the report, its type and length.
const TDX_5: usize = TDX_4 + 6;
/// In a report of SEV-SNP.
const SEV_SNP: usize = 0x50;

/// Checks that a quote has the report data that it was asked for with.
pub(super) fn check(quote: Quote, expected: &ReportData) -> Result<Quote, SourceError> {
    let (bytes, place) = match &quote {
        Quote::Sgx(bytes) | Quote::Simulator(bytes) => (bytes, SGX),
        Quote::Tdx(bytes) if bytes.starts_with(&[5, 0]) => (bytes, TDX_5),
        Quote::Tdx(bytes) => (bytes, TDX_4),
        Quote::SevSnp { report, .. } => (report, SEV_SNP),
    };
    match bytes.get(place..place + expected.len()) {
        Some(found) if found == expected => Ok(quote),
        Some(_) => Err(SourceError::Wrong(
            "the quote has the report data of another process".to_owned(),
        )),
        None => Err(SourceError::Wrong(format!(
            "a quote of {} bytes has no room for report data",
            bytes.len()
        ))),
    }
}
