//! A worker without a key that asks another one for its key: its quote, and what it claims.
//! Bytes in, checks out; called by the worker that is asked.
//!
//! What answers such a request is for the machine in the quote alone: the claims have the
//! key that it is encrypted to. Which policy decides is the business of the worker that is
//! asked; [`names_programs`] says whether one is narrow enough for a key.

use wapo_rpc::statement::{KeyRequest, KeyRequestClaims};

use crate::policy::{Policy, SgxProgram, SnpProgram, TdxProgram};
use crate::quote::{self, Context};
use crate::text;
use crate::verdict::Verdict;
use crate::worker::{self, Claims, Life, claims};

const BINDING_PROVES: &str = "The program in the quote made this request and has the secret of the key in it: nobody else \
     can read the answer.";

/// A request, as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRequest {
    /// The checks.
    pub verdict: Verdict,
    /// The claims; absent where the quote is not over them. Believe them when the verdict
    /// is good.
    pub claims: Option<KeyRequestClaims>,
}

/// A policy that would give a key to programs that it does not name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TooWide {
    /// Any program.
    #[error(
        "it lists no program in `sgx`, `tdx` or `sev_snp`, so any program on genuine hardware would pass"
    )]
    Any,
    /// An entry of SGX.
    #[error("an entry of `sgx` has neither `measurement` nor `signer`, so any enclave would pass")]
    Sgx,
    /// An entry of TDX.
    #[error(
        "an entry of `tdx` lacks one of `mrtd`, `rtmr0`, `rtmr1` and `rtmr2`, so any firmware, kernel or command line would pass"
    )]
    Tdx,
    /// An entry of SEV-SNP.
    #[error(
        "an entry of `sev_snp` lacks `measurement`, or a least version of what runs below it (`bootloader_min`, `tee_min`, `snp_min`, `microcode_min`), so any machine or old firmware would pass"
    )]
    SevSnp,
    /// Settings.
    #[error(
        "it does not say `host_controlled`, so a host could decide the settings of what it names"
    )]
    Host,
}

/// Whether each entry of a policy names a program. A policy for looking may be wide; one
/// that a key depends on may not.
///
/// # Errors
///
/// [`TooWide`]
pub fn names_programs(policy: &Policy) -> Result<(), TooWide> {
    let sgx = |program: &SgxProgram| program.measurement.is_some() || program.signer.is_some();
    let tdx = |program: &TdxProgram| {
        let registers = [program.rtmr0, program.rtmr1, program.rtmr2];
        program.mrtd.is_some() && registers.iter().all(Option::is_some)
    };
    let snp = |program: &SnpProgram| {
        let versions = [
            program.bootloader_min,
            program.tee_min,
            program.snp_min,
            program.microcode_min,
        ];
        program.measurement.is_some() && versions.iter().all(Option::is_some)
    };
    if policy.sgx.is_empty() && policy.tdx.is_empty() && policy.sev_snp.is_empty() {
        Err(TooWide::Any)
    } else if !policy.sgx.iter().all(sgx) {
        Err(TooWide::Sgx)
    } else if !policy.tdx.iter().all(tdx) {
        Err(TooWide::Tdx)
    } else if !policy.sev_snp.iter().all(snp) {
        Err(TooWide::SevSnp)
    } else if policy.host_controlled.is_none() {
        Err(TooWide::Host)
    } else {
        Ok(())
    }
}

/// Checks a request. The context's nonce is the one that was given for it.
pub fn verify(request: &KeyRequest, context: &Context<'_>) -> VerifiedRequest {
    let carried = request.collateral.as_ref().map(|bytes| bytes.as_slice());
    let quoted = quote::verify(&request.quote, carried, context);
    let mut verdict = quoted.verdict;
    let claims: Option<KeyRequestClaims> = claims(&request.claims, &mut verdict);
    let Some(report_data) = quoted.report_data else {
        return VerifiedRequest {
            verdict,
            claims: None,
        };
    };
    if report_data != request.report_data() {
        let detail = format!(
            "the quote is over other data: {}, and this request is {}",
            hex::encode(report_data),
            hex::encode(request.report_data())
        );
        verdict.failed("request.binding", detail, BINDING_PROVES);
        return VerifiedRequest {
            verdict,
            claims: None,
        };
    }
    if let Some(claims) = &claims {
        let detail = format!(
            "key {}, {}",
            hex::encode(claims.recipient),
            text::printable(&claims.software)
        );
        verdict.passed("request.binding", detail, BINDING_PROVES);
        let life = Life {
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            nonce: &claims.nonce,
        };
        life.check(["request.time", "request.nonce"], context, &mut verdict);
        let settings = claims.host_controlled.iter().map(|name| name.as_str());
        let name = "request.host_controlled";
        worker::host(name, settings, context.policy, &mut verdict);
    }
    VerifiedRequest { verdict, claims }
}

impl Claims for KeyRequestClaims {
    const VERSION: u8 = Self::VERSION;
    const CHECK: &'static str = "request.claims";

    fn keys(&self) -> String {
        "a key for one answer".to_owned()
    }
}
