//! What a verifier demands, on the command line: policy, collateral, nonce, time.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Error, Result, bail};
use chrono::DateTime;
use clap::Args;
use wapo_rpc::hexbytes::from_hex;
use wapo_rpc::limits::{COLLATERAL_BYTES_MAX, EVIDENCE_NONCE_BYTES_MAX};
use wapo_verify::{Context, Policy, Roots};

use super::files::read_bounded;

/// Bytes of a policy. A person writes it: the longest have some hundred lines.
const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// Options that all verifications have.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Demands")]
pub(crate) struct Demands {
    /// What counts: a TOML file, or JSON with the ending .json. Without it any program on
    /// genuine hardware does that is not in debug mode and, with SGX and TDX, up to date.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// The maker's statements about its processors, from `wapo collateral`, in place of
    /// those that the evidence carries.
    #[arg(long, value_name = "FILE")]
    collateral: Option<PathBuf>,

    /// Let the simulator count, behind which there is no hardware: for development.
    #[arg(long)]
    accept_simulator: bool,

    /// The nonce that the evidence has to carry, as hex: what you gave the worker.
    #[arg(long, value_name = "HEX", value_parser = nonce)]
    nonce: Option<Nonce>,

    /// The time at which the evidence has to count, in place of now: seconds since 1970,
    /// or as 2026-06-01T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
}

/// Bytes of a verifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Nonce(pub(crate) Vec<u8>);

/// The same, read and ready.
pub(crate) struct Demanded {
    pub(crate) policy: Policy,
    pub(crate) collateral: Option<Vec<u8>>,
    pub(crate) nonce: Option<Vec<u8>>,
    roots: Roots,
    now: u64,
}

impl Demands {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One cannot be read, or is not what it should be.
    pub(crate) fn read(&self) -> Result<Demanded> {
        let mut policy = self
            .policy
            .as_deref()
            .map_or_else(|| Ok(Policy::default()), policy)?;
        policy.accept_simulator |= self.accept_simulator;
        let collateral = self.collateral.as_deref();
        Ok(Demanded {
            policy,
            collateral: collateral
                .map(|file| read_bounded(file, COLLATERAL_BYTES_MAX))
                .transpose()?,
            nonce: self.nonce.as_ref().map(|nonce| nonce.0.clone()),
            roots: Roots::default(),
            now: self.at.map_or_else(now, Ok)?,
        })
    }
}

impl Demanded {
    /// As the checks take it.
    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            roots: &self.roots,
            policy: &self.policy,
            nonce: self.nonce.as_deref(),
        }
    }

    /// Whom is trusted.
    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }
}

/// The time, in unix seconds.
///
/// # Errors
///
/// The machine's clock is before 1970.
pub(super) fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since
        .context("the clock of this machine is not set")?
        .as_secs())
}

fn policy(file: &Path) -> Result<Policy> {
    let shown = file.display();
    let bytes = read_bounded(file, POLICY_BYTES_MAX)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{shown} is no text"))?;
    let is_json = file.extension().is_some_and(|ending| ending == "json");
    let policy = if is_json {
        serde_json::from_str(&text).map_err(Error::from)
    } else {
        toml::from_str(&text).map_err(Error::from)
    };
    policy.with_context(|| format!("{shown} is no policy"))
}

fn nonce(text: &str) -> Result<Nonce> {
    let bytes = from_hex(text).map_err(Error::msg)?;
    match bytes.len() {
        1..=EVIDENCE_NONCE_BYTES_MAX => Ok(Nonce(bytes)),
        length => bail!("a nonce has 1 to {EVIDENCE_NONCE_BYTES_MAX} bytes, not {length}"),
    }
}

fn time(text: &str) -> Result<u64> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let date = DateTime::parse_from_rfc3339(text).ok();
    let date = date.context("neither seconds since 1970 nor as 2026-06-01T12:00:00Z")?;
    u64::try_from(date.timestamp()).context("before 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_nonces_have_one_meaning() {
        assert_eq!(time("1780272000").expect("seconds"), 1_780_272_000);
        assert_eq!(time("2026-06-01T00:00:00Z").expect("a date"), 1_780_272_000);
        assert_eq!(
            time("2026-06-01T02:00:00+02:00").expect("a date"),
            1_780_272_000
        );
        for text in ["", "tomorrow", "-1", "1969-01-01T00:00:00Z"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(nonce("0x0aff").expect("hex"), Nonce(vec![10, 255]));
        for text in ["", "0", "xy", &"00".repeat(65)] {
            assert!(nonce(text).is_err(), "{text}");
        }
    }
}
