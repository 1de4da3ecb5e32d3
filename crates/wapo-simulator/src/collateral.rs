//! What is published about the simulated hardware: levels of platforms, identity of
//! the quoting enclave, revoked certificates. Signed, with the dates between which
//! it counts, as the JSON of dcap-qvl's `QuoteCollateralV3`.

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::certificates::{
    Authority, FMSPC, PCE_SVN, PCK_SERIAL, Pki, SimulatorError, component_svn,
};
use crate::quote::{QE_PRODUCT_ID, QE_SVN, qe_signer};
use crate::{Platform, PlatformLevel};

/// Counts evaluations of what is current. Real ones are beyond it, this one stands still.
const EVALUATION: u32 = 1;
/// When the levels were published.
const LEVEL_DATE: &str = "2020-01-01T00:00:00Z";

/// From when to when collateral counts.
pub(crate) struct Dates {
    issued: OffsetDateTime,
    next: OffsetDateTime,
}

impl Dates {
    /// Dates from unix seconds and a length of time in seconds.
    pub(crate) fn from(issued_s: u64, life_s: u64) -> Result<Self, SimulatorError> {
        let date = |seconds: u64| {
            i64::try_from(seconds)
                .ok()
                .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
                .ok_or(SimulatorError::Time(seconds))
        };
        Ok(Self {
            issued: date(issued_s)?,
            next: date(issued_s.saturating_add(life_s))?,
        })
    }
}

/// All collateral, as JSON.
pub(crate) fn make(
    pki: &Pki,
    platform: &Platform,
    dates: &Dates,
) -> Result<String, SimulatorError> {
    let revoked: &[u64] = if platform.pck_revoked {
        &[PCK_SERIAL]
    } else {
        &[]
    };
    let tcb_info = tcb_info(dates).to_string();
    let qe_identity = qe_identity(dates).to_string();
    let sign = |text: &str| hex::encode(pki.collateral_signer.key.sign_raw(text.as_bytes()));
    let chain = pki.collateral_chain();
    let platform_chain = [&pki.platform_ca, &pki.root].map(Authority::pem).concat();
    let collateral = json!({
        "pck_crl_issuer_chain": platform_chain,
        "root_ca_crl": hex::encode(revocations(&pki.root, &[], dates)?),
        "pck_crl": hex::encode(revocations(&pki.platform_ca, revoked, dates)?),
        "tcb_info_issuer_chain": chain,
        "tcb_info_signature": sign(&tcb_info),
        "tcb_info": tcb_info,
        "qe_identity_issuer_chain": chain,
        "qe_identity_signature": sign(&qe_identity),
        "qe_identity": qe_identity,
    });
    Ok(collateral.to_string())
}

/// A list of revoked certificates, in DER.
fn revocations(
    issuer: &Authority,
    serials: &[u64],
    dates: &Dates,
) -> Result<Vec<u8>, SimulatorError> {
    let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: dates.issued,
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: dates.issued,
        next_update: dates.next,
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::PreSpecified(issuer.key_id()),
    };
    Ok(list.signed_by(&issuer.issuer())?.der().to_vec())
}

/// Which versions of a platform are current.
fn tcb_info(dates: &Dates) -> Value {
    let level = |level: PlatformLevel, status: &str, advisories: &[&str]| {
        let component = json!({"svn": component_svn(level)});
        json!({
            "tcb": {"sgxtcbcomponents": vec![component; 16], "pcesvn": PCE_SVN},
            "tcbDate": LEVEL_DATE,
            "tcbStatus": status,
            "advisoryIDs": advisories,
        })
    };
    json!({
        "id": "SGX",
        "version": 3,
        "issueDate": text(dates.issued),
        "nextUpdate": text(dates.next),
        "fmspc": hex::encode_upper(FMSPC),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": EVALUATION,
        "tcbLevels": [
            level(PlatformLevel::Current, "UpToDate", &[]),
            level(PlatformLevel::HardeningNeeded, "SWHardeningNeeded", &["INTEL-SA-00334"]),
            level(PlatformLevel::OutOfDate, "OutOfDate", &["INTEL-SA-00334", "INTEL-SA-00615"]),
            level(PlatformLevel::Revoked, "Revoked", &[]),
        ],
    })
}

/// Which enclave may certify reports.
fn qe_identity(dates: &Dates) -> Value {
    json!({
        "id": "QE",
        "version": 2,
        "issueDate": text(dates.issued),
        "nextUpdate": text(dates.next),
        "tcbEvaluationDataNumber": EVALUATION,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "05000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": hex::encode_upper(qe_signer()),
        "isvprodid": QE_PRODUCT_ID,
        "tcbLevels": [
            {"tcb": {"isvsvn": QE_SVN}, "tcbDate": LEVEL_DATE, "tcbStatus": "UpToDate"},
        ],
    })
}

/// A date of RFC 3339.
fn text(date: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second(),
    )
}
