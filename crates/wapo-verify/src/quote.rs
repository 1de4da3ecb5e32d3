//! Quotes of hardware, and of the simulator. Bytes in, checks out; called by
//! `wapo verify quote` and by [`crate::worker`].
//!
//! What is checked is the same for all kinds: form, signatures up to a vendor's root,
//! dates and revocation, debug mode, versions of the platform, program, machine. What
//! the quote is *about* (its report data) is compared by the caller.

mod dcap;
mod form;
mod program;
mod snp;
mod snp_chain;

use wapo_crypto::report_data::REPORT_DATA_BYTES;
use wapo_rpc::limits::QUOTE_BYTES_MAX;
use wapo_rpc::statement::{Bounded, Quote, TooLong};

use crate::policy::{Hardware, Policy};
use crate::roots::Roots;
use crate::verdict::Verdict;

/// What is the same for each check of a verification.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The time, in unix seconds. A verifier must have it from its own clock.
    pub now: u64,
    /// Whom to trust.
    pub roots: &'a Roots,
    /// What is demanded.
    pub policy: &'a Policy,
    /// What the verifier gave the worker, for evidence that is made for it.
    pub nonce: Option<&'a [u8]>,
}

/// What a quote was found to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// The checks.
    pub verdict: Verdict,
    /// What the hardware signed over; absent where the signature is not good.
    pub report_data: Option<[u8; REPORT_DATA_BYTES]>,
}

const KIND_PROVES: &str = "Says which maker's word the rest rests on. A quote of the simulator proves nothing: \
     anyone can make any with its public seed.";

/// Bytes that are no quote of a known kind.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoQuote {
    /// Too long for any.
    #[error("the quote is {0}")]
    TooLong(#[from] TooLong),
    /// No kind is like this.
    #[error(
        "these {0} bytes are no quote of SGX (version 3), TDX (version 4 or 5) or SEV-SNP (a report of 1184 bytes)"
    )]
    Unknown(usize),
}

/// Finds out of which kind a quote is that comes without a label.
///
/// `certificates` go with a report of SEV-SNP: DER, one behind the other. A quote in the
/// form of SGX is the simulator's where its chain ends in the simulator's root.
///
/// # Errors
///
/// [`NoQuote`]
pub fn recognise(bytes: &[u8], certificates: &[u8], roots: &Roots) -> Result<Quote, NoQuote> {
    if bytes.len() > QUOTE_BYTES_MAX {
        return Err(NoQuote::TooLong(TooLong {
            actual: bytes.len(),
            max: QUOTE_BYTES_MAX,
        }));
    }
    let quote = Bounded::new(bytes.to_vec())?;
    match bytes {
        [3, 0, _, _, 0, 0, 0, 0, ..] if form::is_chained_to(bytes, &roots.simulator) => {
            Ok(Quote::Simulator(quote))
        }
        [3, 0, _, _, 0, 0, 0, 0, ..] => Ok(Quote::Sgx(quote)),
        [4 | 5, 0, _, _, 0x81, 0, 0, 0, ..] => Ok(Quote::Tdx(quote)),
        _ if bytes.len() == snp::REPORT_BYTES => Ok(Quote::SevSnp {
            report: quote,
            certificates: Bounded::new(certificates.to_vec())?,
        }),
        _ => Err(NoQuote::Unknown(bytes.len())),
    }
}

/// Checks a quote, with the collateral that goes with it for SGX, TDX and the simulator.
pub fn verify(quote: &Quote, collateral: Option<&[u8]>, context: &Context<'_>) -> Quoted {
    let mut verdict = Verdict::default();
    let hardware = hardware(quote);
    let report_data = if accepts(hardware, context.policy, &mut verdict) {
        match quote {
            Quote::Sgx(bytes) | Quote::Tdx(bytes) | Quote::Simulator(bytes) => {
                dcap::verify(hardware, bytes, collateral, context, &mut verdict)
            }
            Quote::SevSnp {
                report,
                certificates,
            } => snp::verify(report, certificates, context, &mut verdict),
        }
    } else {
        None
    };
    Quoted {
        verdict,
        report_data,
    }
}

fn hardware(quote: &Quote) -> Hardware {
    match quote {
        Quote::Sgx(_) => Hardware::Sgx,
        Quote::Tdx(_) => Hardware::Tdx,
        Quote::SevSnp { .. } => Hardware::SevSnp,
        Quote::Simulator(_) => Hardware::Simulator,
    }
}

/// Whether the policy lets this kind count.
fn accepts(hardware: Hardware, policy: &Policy, verdict: &mut Verdict) -> bool {
    const NAME: &str = "quote.kind";
    let name = hardware.name();
    if hardware == Hardware::Simulator && !policy.accept_simulator {
        let detail = "the quote is the simulator's: no hardware stands behind it; for development, \
                      --accept-simulator lets it count";
        verdict.failed(NAME, detail, KIND_PROVES);
        return false;
    }
    let is_listed = policy.hardware.is_empty() || policy.hardware.contains(&hardware);
    if !is_listed && hardware != Hardware::Simulator {
        let detail = format!("the quote is of {name}, which the policy does not list");
        verdict.failed(NAME, detail, KIND_PROVES);
        return false;
    }
    if hardware == Hardware::Simulator {
        let detail = "the simulator, which you accepted: NO HARDWARE stands behind this";
        verdict.noted(NAME, detail, KIND_PROVES);
    } else {
        verdict.passed(NAME, format!("a quote of {name}"), KIND_PROVES);
    }
    true
}
