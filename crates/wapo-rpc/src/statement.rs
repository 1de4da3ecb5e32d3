//! Statements: what a worker signs, as bytes.
//!
//! Each is a SCALE structure whose layout is public and never changes; the
//! content type that goes with it is [`Statement::CONTENT_TYPE`]. Made here, read
//! here by verifiers, signed by the daemon: this module knows no key.
//! What comes from outside is read with bounds, so that a length in it cannot
//! make the reader allocate more than the statement may hold.

pub mod bounded;
mod description;
mod endpoints;
mod evidence;
mod handover;
mod registration;
mod session;
mod usage;
mod usage_report;

use parity_scale_codec::{Decode, DecodeAll as _, Encode};
use wapo_crypto::ContentType;

pub use bounded::{Bounded, TooLong};
pub use description::{Prices, SignedWorkerDescription, WorkerDescription};
pub use endpoints::{Endpoints, WorkerEndpointPayload};
pub use evidence::{
    AppClaims, AppEvidence, AppLimits, CERTIFICATE_EXTENSION_OID, Quote, WorkerClaims,
    WorkerEvidence, app_key_parameters,
};
pub use handover::{KeyHandover, KeyRequest, KeyRequestClaims};
pub use registration::{AttestationReport, WorkerRegistrationInfoV2};
pub use session::{SESSION_BYTES, SessionUpdate, SignedSessionUpdate};
pub use usage::{AppMetrics, AppsMetrics, MetricsToken, SignedAppsMetrics, VersionedAppsMetrics};
pub use usage_report::{
    AppEntry, ExportedReport, ProvenEntry, REPORT_VERSION, ReportEntries, UsageReport, UsageTotals,
};

use crate::limits::SIGNATURE_BYTES_MAX;

/// A signature as statements carry it.
pub type Signature = Bounded<Vec<u8>, SIGNATURE_BYTES_MAX>;

/// Something that is signed.
pub trait Statement: Encode {
    /// Keeps a signature of this from counting for anything else.
    const CONTENT_TYPE: ContentType;
}

/// Bytes that are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StatementError(String);

/// Reads a value that must be the whole of the bytes.
///
/// # Errors
///
/// [`StatementError`] that says what is wrong.
pub fn decode<T: Decode>(bytes: &[u8]) -> Result<T, StatementError> {
    T::decode_all(&mut &*bytes).map_err(|error| StatementError(error.to_string()))
}

/// Reads a value from the beginning of the bytes. Fields of messages are read
/// so: what follows is ignored.
///
/// # Errors
///
/// [`StatementError`] that says what is wrong.
pub fn decode_prefix<T: Decode>(bytes: &[u8]) -> Result<T, StatementError> {
    T::decode(&mut &*bytes).map_err(|error| StatementError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_may_go_on_after_its_value_and_a_statement_may_not() {
        assert_eq!(decode_prefix::<Option<u8>>(&[1, 7, 9]), Ok(Some(7)));
        assert_eq!(decode::<Option<u8>>(&[1, 7]), Ok(Some(7)));
        assert!(decode::<Option<u8>>(&[1, 7, 9]).is_err());
        let short = decode_prefix::<[u8; 32]>(&[0; 31]).expect_err("short");
        let text = short.to_string();
        assert!(text.contains("Not enough data to fill buffer"), "{text}");
    }
}
