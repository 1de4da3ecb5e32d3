//! SGX, TDX and the simulator, which has SGX's form: by dcap-qvl, which does the
//! signatures, dates, revocation and versions, in the form that `form` demands.

use dcap_qvl::quote::Report;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{Policy as ClaimsPolicy, QuoteClaims, QuoteCollateralV3};
use wapo_crypto::report_data::REPORT_DATA_BYTES;

use super::{Context, form, program};
use crate::collateral;
use crate::policy::{Hardware, Policy};
use crate::text;
use crate::verdict::Verdict;

const FORM_PROVES: &str =
    "Every byte is either signed or compared, so nothing can be hidden or changed in it.";
const SIGNATURE_PROVES: &str = "A processor of this maker, certified by its root, signed this report of a program that \
     ran on it. Not where that processor is, nor that nobody has opened it.";
const COLLATERAL_PROVES: &str = "The maker's own statements about its processors, signed and within their dates, were \
     used, and no certificate on the way was revoked in them. Not what the maker learned since.";
const REVOCATION_PROVES: &str =
    "The maker has not withdrawn a certificate on the way, by the lists in the collateral.";
const DEBUG_PROVES: &str =
    "The host cannot look into the program by the debugger's door that debug mode opens.";
const TCB_PROVES: &str = "The platform had the versions of microcode and firmware that the maker asks for. Not that \
     these have no faults that are not known yet.";
const ADVISORIES_PROVES: &str =
    "The known faults that the platform is subject to are those that you accepted.";

/// Takes what the library found; what is demanded is decided here, check by check.
struct Everything;

impl ClaimsPolicy for Everything {
    fn validate(&self, _: &QuoteClaims) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Checks a quote. The report data is given back where the signatures are good.
pub(super) fn verify(
    hardware: Hardware,
    bytes: &[u8],
    collateral: Option<&[u8]>,
    context: &Context<'_>,
    verdict: &mut Verdict,
) -> Option<[u8; REPORT_DATA_BYTES]> {
    let roots = context.roots;
    let root = match hardware {
        Hardware::Simulator => &roots.simulator,
        _ => &roots.intel,
    };
    let quote = match form::read(bytes, root) {
        Ok(quote) => quote,
        // Its chain does not end in the maker's root: there may be better words for that.
        Err(_)
            if hardware != Hardware::Simulator && form::is_chained_to(bytes, &roots.simulator) =>
        {
            let detail = "the quote pretends to be of hardware, and is the simulator's";
            verdict.failed("quote.signature", detail, SIGNATURE_PROVES);
            return None;
        }
        Err(why) => {
            verdict.failed("quote.form", why, FORM_PROVES);
            return None;
        }
    };
    if quote.header.is_sgx() == (hardware == Hardware::Tdx) {
        let detail = format!("the quote is not of {}, as it is labelled", hardware.name());
        verdict.failed("quote.form", detail, FORM_PROVES);
        return None;
    }
    let version = quote.header.version;
    let detail = format!("version {version}, {} bytes, nothing else", bytes.len());
    verdict.passed("quote.form", detail, FORM_PROVES);
    let collateral = read_collateral(collateral, verdict)?;
    let claims = QuoteVerifier::new(root.clone())
        // Whether it is in debug mode is a check of its own, below.
        .allow_debug(true)
        .verify_with_policy(bytes, collateral, context.now, &Everything);
    let claims = match claims {
        Ok(claims) => claims,
        Err(error) => {
            refused(&format!("{error:#}"), verdict);
            return None;
        }
    };
    found(&claims, context.policy, verdict);
    let report_data = match &claims.report {
        Report::SgxEnclave(report) => report.report_data,
        report => report.as_td10()?.report_data,
    };
    match &claims.report {
        Report::SgxEnclave(report) => program::sgx(hardware, report, context.policy, verdict),
        report => program::tdx(report.as_td10()?, context.policy, verdict),
    }
    program::platform(&claims.platform.pck.ppid, context.policy, verdict);
    Some(report_data)
}

fn read_collateral(given: Option<&[u8]>, verdict: &mut Verdict) -> Option<QuoteCollateralV3> {
    let read = match given {
        None => Err(
            "there is no collateral: the maker's signed statements about its processors are needed; \
             `wapo collateral` fetches them, --collateral FILE gives them"
                .to_owned(),
        ),
        Some(json) => collateral::read(json).map_err(|error| error.to_string()),
    };
    match read {
        // The chain is in the quote, where its form was checked.
        Ok(collateral) => Some(QuoteCollateralV3 {
            pck_certificate_chain: None,
            ..collateral
        }),
        Err(why) => {
            verdict.failed("quote.collateral", why, COLLATERAL_PROVES);
            None
        }
    }
}

/// Sorts a refusal of the library by what was refused. Its texts are those of the exact
/// version that the lock file names; tests hold each of them.
fn refused(why: &str, verdict: &mut Verdict) {
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if has(&["CertRevoked"]) {
        let detail = format!("a certificate on the way was revoked: {why}");
        verdict.failed("quote.revocation", detail, REVOCATION_PROVES);
    } else if has(&["TCB status is invalid: Revoked"]) {
        let detail = "the maker has withdrawn its word for this version of the platform: Revoked";
        verdict.failed("quote.tcb", detail, TCB_PROVES);
    } else if has(&["in the future", "NotValidYet"]) {
        let detail = format!("the collateral is of the future, or your clock is late: {why}");
        verdict.failed("quote.collateral", detail, COLLATERAL_PROVES);
    } else if has(&["expired", "Expired"]) {
        let detail = format!(
            "the collateral is too old: {why}; `wapo collateral` fetches what is published now"
        );
        verdict.failed("quote.collateral", detail, COLLATERAL_PROVES);
    } else if has(&["No matching TCB level", "is below minimum"]) {
        let detail = format!("the platform is older than anything the maker vouches for: {why}");
        verdict.failed("quote.tcb", detail, TCB_PROVES);
    } else if has(&[
        "TCB Info",
        "TCBInfo",
        "TcbInfo",
        "tcb_info",
        "QE Identity",
        "QeIdentity",
        "qe_identity",
        "CRL",
        "Fmspc",
    ]) {
        let detail = format!("the collateral is not the maker's, or not for this quote: {why}");
        verdict.failed("quote.collateral", detail, COLLATERAL_PROVES);
    } else {
        verdict.failed("quote.signature", why, SIGNATURE_PROVES);
    }
}

/// What a quote whose signatures are good says about the platform.
fn found(claims: &QuoteClaims, policy: &Policy, verdict: &mut Verdict) {
    let detail = "signed by the platform's key, which the maker's root certifies";
    verdict.passed("quote.signature", detail, SIGNATURE_PROVES);
    let issued = text::date(claims.earliest_issue_date);
    let expires = text::date(claims.earliest_expiration_date);
    let detail =
        format!("all of it is signed and counts until {expires}; the oldest part is of {issued}");
    verdict.passed("quote.collateral", detail, COLLATERAL_PROVES);
    let detail = "no certificate on the way is on the lists in the collateral";
    verdict.passed("quote.revocation", detail, REVOCATION_PROVES);
    if is_debug(&claims.report) {
        let detail = "the program runs in debug mode: the host reads and changes all it has";
        verdict.failed("quote.debug", detail, DEBUG_PROVES);
    } else {
        verdict.passed("quote.debug", "not in debug mode", DEBUG_PROVES);
    }
    let status = claims.tcb.status;
    let date = &claims.platform.tcb_level.tcb_date;
    if policy.tcb.contains(&status) {
        let detail = format!("{status}, of {date}");
        verdict.passed("quote.tcb", detail, TCB_PROVES);
    } else {
        let accepted: Vec<_> = policy.tcb.iter().map(ToString::to_string).collect();
        let accepted = accepted.join(", ");
        let detail =
            format!("the platform is {status} (of {date}); the policy's `tcb` accepts {accepted}");
        verdict.failed("quote.tcb", detail, TCB_PROVES);
    }
    advisories(&claims.tcb.advisory_ids, policy, verdict);
}

fn advisories(ids: &[String], policy: &Policy, verdict: &mut Verdict) {
    const NAME: &str = "quote.advisories";
    let open: Vec<_> = ids
        .iter()
        .filter(|id| !policy.advisories.contains(id))
        .map(|id| text::printable(id))
        .collect();
    if !open.is_empty() {
        let open = open.join(", ");
        let detail = format!(
            "the platform is subject to {open}, which the policy's `advisories` does not accept"
        );
        verdict.failed(NAME, detail, ADVISORIES_PROVES);
    } else if ids.is_empty() {
        verdict.passed(NAME, "none", ADVISORIES_PROVES);
    } else {
        let all: Vec<_> = ids.iter().map(|id| text::printable(id)).collect();
        let detail = format!("{}, all accepted", all.join(", "));
        verdict.passed(NAME, detail, ADVISORIES_PROVES);
    }
}

fn is_debug(report: &Report) -> bool {
    /// Of the attributes of an enclave.
    const SGX_DEBUG: u8 = 0x02;
    match report {
        Report::SgxEnclave(report) => report.attributes[0] & SGX_DEBUG != 0,
        // Each bit of the first byte says that the machine is not to be trusted: debug,
        // profiling, and what is reserved for more of that.
        report => report.as_td10().is_none_or(|td| td.td_attributes[0] != 0),
    }
}
