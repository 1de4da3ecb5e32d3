//! Attestation: quotes of the hardware that the worker runs in.
//!
//! [`find`] looks for a source at start: Gramine's files inside SGX, the kernel's
//! reports in a machine of TDX or SEV-SNP, or a simulator that the operator asked
//! for. All are one trait, [`QuoteSource`], whose calls block; [`Quoter`] makes them
//! one at a time, on a thread of its own, for the callers in its queue. What
//! goes into a quote is decided in `worker::attester`; nothing here knows of
//! claims. The folders are settings, so that tests play the hardware with files.

mod configfs;
mod figures;
mod gramine;
mod pace;
mod quoter;
mod report_place;
mod request;
mod simulator;
mod source;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub(crate) use figures::{About, Figures};
pub(crate) use pace::Pace;
pub(crate) use quoter::Quoter;
pub(crate) use request::{Asker, QuoteError};
pub(crate) use simulator::SimulatedHardware;
use source::QuoteSource;
pub(crate) use source::SourceKind;

/// Where Gramine has its files.
const GRAMINE_DIR: &str = "/dev/attestation";
/// Where the kernel has reports.
const REPORTS_DIR: &str = "/sys/kernel/config/tsm/report";

/// Which hardware the worker asks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum AttestationMode {
    /// None, also where there is some.
    #[default]
    Off,
    /// What there is, if anything.
    Auto,
    /// None: quotes that prove nothing, for development.
    Simulator,
}

impl AttestationMode {
    const NAMES: [(Self, &str); 3] = [
        (Self::Off, "off"),
        (Self::Auto, "auto"),
        (Self::Simulator, "simulator"),
    ];
}

impl FromStr for AttestationMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::NAMES.iter().find(|(_, name)| *name == text);
        named
            .map(|(mode, _)| *mode)
            .ok_or("write auto, simulator or off")
    }
}

impl fmt::Display for AttestationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().find(|(mode, _)| mode == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

/// How a server proves what it runs in.
#[derive(Clone, Debug)]
pub struct AttestationSettings {
    /// Which hardware is asked.
    pub mode: AttestationMode,
    /// Folder of Gramine's files.
    pub gramine_dir: PathBuf,
    /// Folder of the kernel's reports.
    pub reports_dir: PathBuf,
    /// Where collateral is fetched; `None` for nowhere.
    pub pccs: Option<String>,
    /// Settings that the host decided and that no measurement covers.
    pub host_controlled: Vec<String>,
}

impl Default for AttestationSettings {
    /// No hardware is asked.
    fn default() -> Self {
        Self {
            mode: AttestationMode::Off,
            gramine_dir: GRAMINE_DIR.into(),
            reports_dir: REPORTS_DIR.into(),
            pccs: None,
            host_controlled: Vec::new(),
        }
    }
}

/// A source with its thread, and who makes collateral if that is a simulator.
pub(crate) type Found = (Option<Quoter>, Option<SimulatedHardware>);

/// Looks for a source, and starts its thread. Blocks.
///
/// # Errors
///
/// A text of one line when the simulator cannot be set up or a thread cannot be started.
pub(crate) fn find(settings: &AttestationSettings) -> Result<Found, String> {
    let mut simulator = None;
    let source: Option<Box<dyn QuoteSource>> = match settings.mode {
        AttestationMode::Off => None,
        AttestationMode::Simulator => {
            // The same for all, so that two of it are one.
            simulator = Some(SimulatedHardware::new()?);
            Some(Box::new(SimulatedHardware::new()?))
        }
        AttestationMode::Auto => {
            let sgx = gramine::find(&settings.gramine_dir);
            let sgx = sgx.map(|source| Box::new(source) as Box<dyn QuoteSource>);
            sgx.or_else(|| {
                let reports = configfs::find(&settings.reports_dir)?;
                Some(Box::new(reports) as Box<dyn QuoteSource>)
            })
        }
    };
    let quoter = source.map(Quoter::start).transpose();
    let quoter = quoter.map_err(|error| format!("attestation: cannot start a thread: {error}"))?;
    Ok((quoter, simulator))
}

#[cfg(test)]
mod kernel;
#[cfg(test)]
mod tests;
