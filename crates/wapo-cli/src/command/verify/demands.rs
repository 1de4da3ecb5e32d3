//! What a verifier demands, on the command line: policy, collateral, nonce, time.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Error, Result};
use clap::Args;
use ring::rand::{SecureRandom as _, SystemRandom};
use wapo_rpc::limits::COLLATERAL_BYTES_MAX;
use wapo_verify::demands::{self, POLICY_BYTES_MAX, time};
use wapo_verify::{Context, Policy, Roots};

use super::files::read_bounded;

/// Bytes of a nonce that is drawn here.
const NONCE_BYTES: usize = 32;

/// Options that all verifications have.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Demands")]
pub(crate) struct Demands {
    /// The policy: a TOML file, or JSON with the ending .json. Without it any program
    /// is accepted on genuine hardware that is not in debug mode and, with SGX and
    /// TDX, up to date.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// The maker's statements about its processors, from `wapo collateral`, in place of
    /// those that the evidence carries.
    #[arg(long, value_name = "FILE")]
    collateral: Option<PathBuf>,

    /// Accept the simulator, which has no hardware behind it: for development.
    #[arg(long)]
    accept_simulator: bool,

    /// The nonce that the evidence has to carry, as hex: what you gave the worker.
    #[arg(long, value_name = "HEX", value_parser = nonce)]
    nonce: Option<Nonce>,

    /// The time at which the evidence has to be valid, in place of now: seconds since
    /// 1970, or as 2026-06-01T12:00:00Z.
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
    /// When the command began, or the time that is given.
    begun: u64,
    is_given: bool,
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
            begun: self.at.map_or_else(now, Ok)?,
            is_given: self.at.is_some(),
        })
    }
}

impl Demanded {
    /// The nonce that is demanded, which is drawn where none is given.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub(super) fn nonce_or_drawn(&mut self) -> Result<Vec<u8>> {
        let nonce = match self.nonce.take() {
            Some(nonce) => nonce,
            None => draw()?.to_vec(),
        };
        Ok(self.nonce.insert(nonce).clone())
    }

    /// As the checks take it: at the time that is given, or now. What a worker makes on
    /// demand is newer than the command.
    pub(crate) fn context(&self) -> Context<'_> {
        let now = if self.is_given { None } else { now().ok() };
        Context {
            now: now.unwrap_or(self.begun),
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

/// Draws a nonce, or a seed.
///
/// # Errors
///
/// There are no random numbers.
pub(super) fn draw() -> Result<[u8; NONCE_BYTES]> {
    let mut drawn = [0; NONCE_BYTES];
    let filled = SystemRandom::new().fill(&mut drawn);
    filled
        .ok()
        .context("this machine gives no random numbers")?;
    Ok(drawn)
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
    let content = read_bounded(file, POLICY_BYTES_MAX)?;
    demands::policy(&shown.to_string(), &content)
        .map_err(Error::msg)
        .with_context(|| format!("{shown} is no policy"))
}

fn nonce(text: &str) -> Result<Nonce, String> {
    demands::nonce(text).map(Nonce)
}
