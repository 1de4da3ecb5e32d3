//! Row `trust-verify`: a published quote with its collateral, verified by `wapo-verify`,
//! beside dcap-qvl alone. Both begin with the bytes of the quote and the JSON of the
//! collateral; ours adds the form, the policy and the list of checks. Rounds alternate.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::verify::QuoteVerifier;
use wapo_verify::quote::{recognise, verify};
use wapo_verify::{Context, Policy, Roots};

use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

const ROW: &str = "trust-verify";
/// Verifications of one round: some 200 ms.
const VERIFICATIONS: u32 = 200;
/// The same, to see that it works.
const SMOKE_VERIFICATIONS: u32 = 3;

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../../../crates/wapo-verify/tests/vectors/", $name))
    };
}

/// A quote of a platform that is up to date, and a time at which its collateral counts.
const QUOTE: &str = vector!("tdx_quote.hex");
const COLLATERAL: &str = vector!("tdx_quote_collateral.json");
const NOW_S: u64 = 1_750_400_000;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let digits: String = QUOTE.split_whitespace().collect();
    let quote = hex::decode(digits).context("the vector is hex")?;
    let count = if plan.smoke {
        SMOKE_VERIFICATIONS
    } else {
        VERIFICATIONS
    };
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        theirs.push(each(count, || by_library(&quote))?);
        ours.push(each(count, || by_us(&quote))?);
    }
    let (theirs, ours) = (median(&theirs), median(&ours));
    report.add(Line {
        row: ROW,
        what: "a TDX quote with collateral is verified; beside: dcap-qvl alone".to_owned(),
        beside: format!("{} µs", number(theirs)),
        ours: format!("{} µs", number(ours)),
        value: ours / theirs,
        unit: "× the time",
        goal: Goal::AtMost(1.5),
    });
    Ok(())
}

/// Microseconds of one verification.
fn each(count: u32, mut verification: impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..count {
        verification()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

fn by_library(quote: &[u8]) -> Result<()> {
    let collateral: QuoteCollateralV3 = serde_json::from_str(black_box(COLLATERAL))?;
    let verified = QuoteVerifier::new_prod().verify(black_box(quote), &collateral, NOW_S)?;
    ensure!(verified.status == "UpToDate", "{}", verified.status);
    Ok(())
}

fn by_us(quote: &[u8]) -> Result<()> {
    let (roots, policy) = (Roots::default(), Policy::default());
    let context = Context {
        now: NOW_S,
        roots: &roots,
        policy: &policy,
        nonce: None,
    };
    let quote = recognise(black_box(quote), &[], &roots)?;
    let quoted = verify(&quote, Some(black_box(COLLATERAL).as_bytes()), &context);
    ensure!(quoted.verdict.is_good(), "{:?}", quoted.verdict);
    Ok(())
}
