//! Which program, on which machine: what a quote says, against the policy's lists.

use dcap_qvl::quote::{EnclaveReport, TDReport10};

use super::snp::SnpReport;
use crate::policy::{Hardware, HexArray, Policy, SgxProgram, SnpProgram, TdxProgram};
use crate::verdict::Verdict;

const NAME: &str = "quote.program";
const PROVES: &str = "Exactly this program was loaded, as its measurement is known to you. Not that the program is \
     good: to know that, read its source and build it again.";
const TCB_PROVES: &str = "The versions of the platform are at least those that you demand. AMD's report does not say \
     whether they are up to date: to know that, read AMD's bulletins.";
const PLATFORM_PROVES: &str = "The machine is one of those that you listed, because you know where it stands and who can \
     touch it. A quote alone does not tell: hands on the memory bus break SGX, TDX and SNP.";

/// An enclave.
pub(super) fn sgx(
    hardware: Hardware,
    report: &EnclaveReport,
    policy: &Policy,
    verdict: &mut Verdict,
) {
    let matches = |program: &SgxProgram| {
        is(program.measurement, &report.mr_enclave)
            && is(program.signer, &report.mr_signer)
            && program.product_id.is_none_or(|id| id == report.isv_prod_id)
            && program.svn_min.is_none_or(|min| report.isv_svn >= min)
    };
    let detail = format!(
        "measurement {}, signer {}, product {}, version {}",
        hex::encode(report.mr_enclave),
        hex::encode(report.mr_signer),
        report.isv_prod_id,
        report.isv_svn
    );
    let is_listed = policy.sgx.iter().any(matches);
    tell(hardware, detail, is_listed, policy, verdict);
}

/// A machine of TDX.
pub(super) fn tdx(report: &TDReport10, policy: &Policy, verdict: &mut Verdict) {
    let matches = |program: &TdxProgram| {
        is(program.mrtd, &report.mr_td)
            && is(program.rtmr0, &report.rt_mr0)
            && is(program.rtmr1, &report.rt_mr1)
            && is(program.rtmr2, &report.rt_mr2)
            && is(program.rtmr3, &report.rt_mr3)
    };
    let [mrtd, rtmr0, rtmr1, rtmr2, rtmr3] = [
        report.mr_td,
        report.rt_mr0,
        report.rt_mr1,
        report.rt_mr2,
        report.rt_mr3,
    ]
    .map(hex::encode);
    let detail = format!("mrtd {mrtd}, rtmr0 {rtmr0}, rtmr1 {rtmr1}, rtmr2 {rtmr2}, rtmr3 {rtmr3}");
    let is_listed = policy.tdx.iter().any(matches);
    tell(Hardware::Tdx, detail, is_listed, policy, verdict);
}

/// A machine of SEV-SNP.
pub(super) fn snp(report: &SnpReport<'_>, policy: &Policy, verdict: &mut Verdict) {
    let tcb = report.tcb;
    let matches = |program: &SnpProgram| {
        let at_least = |min: Option<u8>, actual: u8| min.is_none_or(|min| actual >= min);
        is(program.measurement, report.measurement)
            && at_least(program.bootloader_min, tcb.bootloader)
            && at_least(program.tee_min, tcb.tee)
            && at_least(program.snp_min, tcb.snp)
            && at_least(program.microcode_min, tcb.microcode)
    };
    let versions = format!(
        "bootloader {}, tee {}, snp {}, microcode {}",
        tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode
    );
    let measurement = hex::encode(report.measurement);
    let detail = format!("measurement {measurement}; versions: {versions}");
    let mut listed = policy.sev_snp.iter().filter(|one| matches(one)).peekable();
    tell(
        Hardware::SevSnp,
        detail,
        listed.peek().is_some(),
        policy,
        verdict,
    );
    if !listed.any(has_minimum) {
        let detail = format!(
            "{versions}; ANY versions pass, as no such entry of the policy's `sev_snp` demands some"
        );
        verdict.noted("quote.tcb", detail, TCB_PROVES);
    }
}

fn has_minimum(program: &SnpProgram) -> bool {
    let SnpProgram {
        measurement: _,
        bootloader_min,
        tee_min,
        snp_min,
        microcode_min,
    } = program;
    [bootloader_min, tee_min, snp_min, microcode_min]
        .into_iter()
        .any(Option::is_some)
}

/// The machine, by the identifier in its certificate.
pub(super) fn platform(id: &[u8], policy: &Policy, verdict: &mut Verdict) {
    const NAME: &str = "quote.platform";
    let shown = hex::encode(id);
    if policy.platforms.is_empty() {
        let detail = format!("machine {shown}; no policy says where it may stand (`platforms`)");
        verdict.noted(NAME, detail, PLATFORM_PROVES);
    } else if policy.platforms.iter().any(|listed| listed.0 == id) {
        verdict.passed(
            NAME,
            format!("machine {shown}, which is listed"),
            PLATFORM_PROVES,
        );
    } else {
        let detail = format!("machine {shown} is not in the policy's `platforms`");
        verdict.failed(NAME, detail, PLATFORM_PROVES);
    }
}

fn is<const LENGTH: usize>(demanded: Option<HexArray<LENGTH>>, actual: &[u8]) -> bool {
    demanded.is_none_or(|demanded| demanded.0 == actual)
}

fn tell(
    hardware: Hardware,
    detail: String,
    is_listed: bool,
    policy: &Policy,
    verdict: &mut Verdict,
) {
    let key = match hardware {
        Hardware::Sgx | Hardware::Simulator => "sgx",
        Hardware::Tdx => "tdx",
        Hardware::SevSnp => "sev_snp",
    };
    let demands_none = policy.sgx.is_empty() && policy.tdx.is_empty() && policy.sev_snp.is_empty();
    if is_listed {
        verdict.passed(NAME, detail, PROVES);
    } else if demands_none {
        let detail = format!("{detail}; ANY program passes, as the policy lists none in `{key}`");
        verdict.noted(NAME, detail, PROVES);
    } else {
        let detail = format!("{detail}: no entry of the policy's `{key}` is like this");
        verdict.failed(NAME, detail, PROVES);
    }
}
