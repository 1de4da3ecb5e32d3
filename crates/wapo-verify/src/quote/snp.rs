//! SEV-SNP: the report of AMD's firmware, and the certificates of the chip.
//!
//! The layout is that of "SEV Secure Nested Paging Firmware ABI" (56860), table 23;
//! the certificates are those of "Versioned Chip Endorsement Key" (57230). Verified
//! here with ring and `x509-cert`, because the maker's own library links RSA and
//! elliptic curves a second time, and knows Linux only.

use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use wapo_crypto::report_data::REPORT_DATA_BYTES;

use super::snp_chain::{self, Chip, SigningKey};
use super::{Context, program};
use crate::roots::AmdProduct;
use crate::verdict::Verdict;

/// Bytes of a report.
pub(super) const REPORT_BYTES: usize = 1184;
/// Bytes of it that are signed.
const SIGNED_BYTES: usize = 0x2a0;
/// Bytes of a number of the signature, least significant first, of which the first 48 count.
const NUMBER_BYTES: usize = 72;
/// Bytes of a number of P-384.
const SCALAR_BYTES: usize = 48;
/// ECDSA with P-384 and SHA-384.
const ALGORITHM: u32 = 1;
/// Versions of the report whose layout is known.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;
/// Bit of the policy of the machine: the host may look into it.
const DEBUG_ALLOWED: u64 = 1 << 19;
/// Bit of the policy of the machine: an agent of the host's choice may move it elsewhere.
const MIGRATION_ALLOWED: u64 = 1 << 18;

const FORM_PROVES: &str =
    "Every byte is either signed or compared, so nothing can be hidden or changed in it.";
const SIGNATURE_PROVES: &str = "A processor of this maker, certified by its root, signed this report of a machine that \
     ran on it. Not where that processor is, nor that nobody has opened it.";
const REVOCATION_PROVES: &str =
    "The maker has not withdrawn a certificate on the way. AMD publishes a list for that.";
const DEBUG_PROVES: &str =
    "The host cannot look into the machine by the debugger's door that debug mode opens.";
const MIGRATION_PROVES: &str =
    "No agent for migration can take the machine's memory and keys out of this processor.";
const LEVEL_PROVES: &str =
    "The most trusted layer of the machine asked for the report, and not a layer below it.";

/// What is read of a report.
pub(super) struct SnpReport<'a> {
    /// Hash of what the machine began with.
    pub(super) measurement: &'a [u8; 48],
    /// Versions of the platform.
    pub(super) tcb: Tcb,
}

/// Versions of a platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tcb {
    /// Of the chip's manager, from Turin on.
    pub(super) fmc: u8,
    /// Of the chip's boot loader.
    pub(super) bootloader: u8,
    /// Of the chip's own system.
    pub(super) tee: u8,
    /// Of the firmware of SEV-SNP.
    pub(super) snp: u8,
    /// Of the microcode.
    pub(super) microcode: u8,
}

impl Tcb {
    fn read(product: AmdProduct, bytes: [u8; 8]) -> Self {
        let [a, b, c, d, _, _, snp, microcode] = bytes;
        match product {
            AmdProduct::Turin => Self {
                fmc: a,
                bootloader: b,
                tee: c,
                snp: d,
                microcode,
            },
            AmdProduct::Milan | AmdProduct::Genoa => Self {
                fmc: 0,
                bootloader: a,
                tee: b,
                snp,
                microcode,
            },
        }
    }
}

/// Checks a report. The report data is given back where the signatures are good.
pub(super) fn verify(
    report: &[u8],
    certificates: &[u8],
    context: &Context<'_>,
    verdict: &mut Verdict,
) -> Option<[u8; REPORT_DATA_BYTES]> {
    let Some(report) = report
        .first_chunk::<REPORT_BYTES>()
        .filter(|_| report.len() == REPORT_BYTES)
    else {
        let detail = format!(
            "a report has {REPORT_BYTES} bytes, and this has {}",
            report.len()
        );
        verdict.failed("quote.form", detail, FORM_PROVES);
        return None;
    };
    let Some(signature) = form(report) else {
        let detail =
            "version, algorithm or the unused room of the report are not those of a known form";
        verdict.failed("quote.form", detail, FORM_PROVES);
        return None;
    };
    let version = u32::from_le_bytes(field(report, 0));
    let detail = format!("version {version}, {REPORT_BYTES} bytes");
    verdict.passed("quote.form", detail, FORM_PROVES);
    let chip = match snp_chain::verify(certificates, context.roots, context.now) {
        Ok(chip) => chip,
        Err(why) => {
            verdict.failed("quote.signature", why, SIGNATURE_PROVES);
            return None;
        }
    };
    let tcb = Tcb::read(chip.product, field(report, 0x180));
    if let Err(why) = belongs(report, tcb, &chip, &signature) {
        verdict.failed("quote.signature", why, SIGNATURE_PROVES);
        return None;
    }
    let product = chip.product;
    let detail =
        format!("signed by the chip's key ({product:?}), which the maker's root certifies");
    verdict.passed("quote.signature", detail, SIGNATURE_PROVES);
    let detail = "not looked at: reports of SEV-SNP come without AMD's list";
    verdict.noted("quote.revocation", detail, REVOCATION_PROVES);
    state(report, verdict);
    let measurement = &field(report, 0x90);
    let found = SnpReport { measurement, tcb };
    program::snp(&found, context.policy, verdict);
    program::platform(&field::<64>(report, 0x1a0), context.policy, verdict);
    Some(field(report, 0x50))
}

/// Some bytes of a report. Callers pass constants within it.
fn field<const LENGTH: usize>(report: &[u8; REPORT_BYTES], at: usize) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes.copy_from_slice(&report[at..at + LENGTH]);
    bytes
}

/// The signature as ring takes it, of a report whose form is known.
fn form(report: &[u8; REPORT_BYTES]) -> Option<[u8; 2 * SCALAR_BYTES]> {
    let is_known = VERSIONS.contains(&u32::from_le_bytes(field(report, 0)))
        && u32::from_le_bytes(field(report, 0x34)) == ALGORITHM;
    let numbers = &report[SIGNED_BYTES..];
    let (r, rest) = numbers.split_at(NUMBER_BYTES);
    let (s, unused) = rest.split_at(NUMBER_BYTES);
    let mut spare = [&r[SCALAR_BYTES..], &s[SCALAR_BYTES..], unused]
        .into_iter()
        .flatten();
    if !is_known || spare.any(|byte| *byte != 0) {
        return None;
    }
    let mut signature = [0; 2 * SCALAR_BYTES];
    let big_endian = r[..SCALAR_BYTES]
        .iter()
        .rev()
        .chain(s[..SCALAR_BYTES].iter().rev());
    for (to, from) in signature.iter_mut().zip(big_endian) {
        *to = *from;
    }
    Some(signature)
}

/// Whether this chip's key signed the report, and the certificate is of the versions
/// and the chip that the report names.
fn belongs(
    report: &[u8; REPORT_BYTES],
    tcb: Tcb,
    chip: &Chip,
    signature: &[u8],
) -> Result<(), String> {
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &chip.public_key)
        .verify(&report[..SIGNED_BYTES], signature)
        .map_err(|_| "the report is not signed by the key of the certificate".to_owned())?;
    if tcb != chip.tcb {
        return Err(format!(
            "the certificate is for other versions of the platform than the report: {:?}, {tcb:?}",
            chip.tcb
        ));
    }
    let id: [u8; 64] = field(report, 0x1a0);
    match &chip.key {
        SigningKey::Chip(named) => {
            let (head, tail) = id.split_at(named.len().min(id.len()));
            // Chips with shorter identifiers leave the rest of the room zero.
            if head != named || tail.iter().any(|byte| *byte != 0) {
                return Err("the certificate is of another chip than the report".to_owned());
            }
            Ok(())
        }
        SigningKey::Loaded => Ok(()),
    }
}

/// What a report whose signature is good says about the machine's state.
fn state(report: &[u8; REPORT_BYTES], verdict: &mut Verdict) {
    let policy = u64::from_le_bytes(field(report, 0x08));
    if policy & DEBUG_ALLOWED == 0 {
        verdict.passed("quote.debug", "not in debug mode", DEBUG_PROVES);
    } else {
        let detail = "the machine runs in debug mode: the host reads and changes all it has";
        verdict.failed("quote.debug", detail, DEBUG_PROVES);
    }
    if policy & MIGRATION_ALLOWED == 0 {
        let detail = "no agent for migration may be tied to the machine";
        verdict.passed("quote.migration", detail, MIGRATION_PROVES);
    } else {
        let detail = "an agent for migration may be tied to the machine: it can move the machine, with all it has, to where nobody looked";
        verdict.failed("quote.migration", detail, MIGRATION_PROVES);
    }
    match u32::from_le_bytes(field(report, 0x30)) {
        0 => verdict.passed("quote.level", "privilege level 0", LEVEL_PROVES),
        level => {
            let detail = format!(
                "asked for at privilege level {level}: another layer of the machine can ask for the same"
            );
            verdict.failed("quote.level", detail, LEVEL_PROVES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checks that fail for a report with this policy, of privilege level 0.
    fn failures(policy: u64) -> Vec<&'static str> {
        let mut report = [0; REPORT_BYTES];
        report[0x08..0x10].copy_from_slice(&policy.to_le_bytes());
        let mut verdict = Verdict::default();
        state(&report, &mut verdict);
        verdict.failures().map(|check| check.name).collect()
    }

    #[test]
    fn machines_that_may_be_debugged_or_moved_are_refused() {
        assert_eq!(failures(0x3_0000), [""; 0]);
        assert_eq!(failures(0x3_0000 | 1 << 19), ["quote.debug"]);
        assert_eq!(failures(0x3_0000 | 1 << 18), ["quote.migration"]);
    }
}
