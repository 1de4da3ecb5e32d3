//! Collateral: what a verifier needs beside a quote of SGX, TDX or the simulator.
//!
//! The simulator makes its own; that of real hardware is fetched from a caching service
//! (`service`) where the operator names one, and kept in a file, for a next start at which
//! the service does not answer. It is handed on with evidence so that verifiers need no
//! network, and never looked into: they check it, and the worker's word counts for nothing
//! in it. Owned by `attester`.

mod service;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;
use wapo_rpc::limits::COLLATERAL_BYTES_MAX;
use wapo_rpc::statement::{Bounded, Quote};
use wapo_verify::collateral::Plan;

use crate::attestation::SimulatedHardware;
use crate::data_dir::{Durability, write_whole};
use crate::limits::{COLLATERAL_RENEWAL, COLLATERAL_RETRY_PAUSE};
use crate::system::FILE_MODE;
use service::Service;

/// Collateral as evidence has it.
type Json = Bounded<Vec<u8>, COLLATERAL_BYTES_MAX>;

/// What there is.
pub(super) struct Collateral {
    simulator: Option<SimulatedHardware>,
    service: Option<Service>,
    /// Where what was fetched is kept; `None` for nowhere.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// When it was last tried to fetch it.
    tried_s: Option<u64>,
}

/// What was made or fetched, or came from the file.
struct Kept {
    json: Json,
    /// Whose it is, and when it was made or fetched, in seconds since 1970; `None` for
    /// what is from the file.
    origin: Option<(Platform, u64)>,
}

/// What has collateral of its own.
#[derive(Clone, PartialEq, Eq)]
enum Platform {
    Simulator,
    /// Processors of one kind, with certificates of one authority.
    Real(Plan),
}

impl Kept {
    /// Whether it may go with a quote of a platform. Where the file is from is not known:
    /// verifiers see it.
    fn is_of(&self, platform: &Platform) -> bool {
        let origin = self.origin.as_ref();
        origin.is_none_or(|(of, _)| of == platform)
    }

    /// Whether nothing newer need be fetched for a platform. A clock that was set back
    /// makes it old.
    fn is_new(&self, platform: &Platform, now_s: u64) -> bool {
        self.origin.as_ref().is_some_and(|(of, at)| {
            of == platform && (*at..at + COLLATERAL_RENEWAL.as_secs()).contains(&now_s)
        })
    }
}

impl Collateral {
    /// What an earlier run has kept, or none yet. A simulator makes its own. Blocks for
    /// a moment.
    ///
    /// # Errors
    ///
    /// A text of one line, when the service cannot be one.
    pub(super) fn open(
        simulator: Option<SimulatedHardware>,
        pccs: Option<&str>,
        roots: &[CertificateDer<'static>],
        file: Option<PathBuf>,
    ) -> Result<Self, String> {
        let service = pccs.map(|url| Service::new(url, roots)).transpose()?;
        let kept = match (&service, &file) {
            (Some(_), Some(file)) => read(file),
            _ => None,
        };
        let state = State {
            kept,
            tried_s: None,
        };
        Ok(Self {
            simulator,
            service,
            file,
            state: Mutex::new(state),
        })
    }

    /// What goes with a quote; `None` where there is none, or none is needed.
    pub(super) fn of(&self, quote: &Quote, now_s: u64) -> Option<Json> {
        match quote {
            Quote::Simulator(_) => self.simulated(now_s),
            Quote::Sgx(quote) | Quote::Tdx(quote) => {
                let state = self.state();
                let kept = state.kept.as_ref()?;
                let platform = Platform::Real(Plan::of(quote).ok()?);
                kept.is_of(&platform).then(|| kept.json.clone())
            }
            Quote::SevSnp { .. } => None,
        }
    }

    fn simulated(&self, now_s: u64) -> Option<Json> {
        let mut state = self.state();
        let kept = state.kept.as_ref();
        if let Some(kept) = kept.filter(|kept| kept.is_new(&Platform::Simulator, now_s)) {
            return Some(kept.json.clone());
        }
        let made = self.simulator.as_ref()?.collateral(now_s);
        let made = made.map(String::into_bytes).ok()?;
        let json = Json::new(made).ok()?;
        state.kept = Some(Kept {
            json: json.clone(),
            origin: Some((Platform::Simulator, now_s)),
        });
        Some(json)
    }

    /// Fetches the collateral of a quote where it is time for that, and says whether
    /// there is other one now. What fails is tried again later.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was fetched is lost.
    pub(super) async fn renew(&self, quote: &Quote, now_s: u64) -> bool {
        let (Some(service), Quote::Sgx(quote) | Quote::Tdx(quote)) = (&self.service, quote) else {
            return false;
        };
        let plan = Plan::of(quote);
        if !self.state().begin(plan.as_ref().ok(), now_s) {
            return false;
        }
        let fetched = async {
            let plan = plan.map_err(|error| error.to_string())?;
            let json = Json::new(service.fetch(&plan).await?.into_bytes());
            let json = json.map_err(|error| format!("the collateral is {error}"))?;
            Ok::<_, String>((plan, json))
        };
        match fetched.await {
            Ok((plan, json)) => {
                self.keep(&json).await;
                self.state().kept = Some(Kept {
                    json,
                    origin: Some((Platform::Real(plan), now_s)),
                });
                true
            }
            Err(error) => {
                tracing::warn!(%error, "collateral was not fetched (--pccs)");
                false
            }
        }
    }

    async fn keep(&self, json: &Json) {
        let Some(file) = self.file.clone() else {
            return;
        };
        let content = json.to_vec();
        let write = move || write_whole(&file, &content, FILE_MODE, Durability::Temporary);
        let written = tokio::task::spawn_blocking(write).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!("collateral could not be kept for the next start");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether it is time to fetch, and nobody has tried a moment ago. Clocks that were
    /// set back make it time.
    fn begin(&mut self, plan: Option<&Plan>, now_s: u64) -> bool {
        let has_new = match (&self.kept, plan) {
            (Some(kept), Some(plan)) => kept.is_new(&Platform::Real(plan.clone()), now_s),
            _ => false,
        };
        let pause = COLLATERAL_RETRY_PAUSE.as_secs();
        let tried = self
            .tried_s
            .is_some_and(|at| (at..at + pause).contains(&now_s));
        if has_new || tried {
            return false;
        }
        self.tried_s = Some(now_s);
        true
    }
}

/// What an earlier run has kept.
fn read(file: &Path) -> Option<Kept> {
    let metadata = std::fs::metadata(file).ok()?;
    let limit = u64::try_from(COLLATERAL_BYTES_MAX).unwrap_or(u64::MAX);
    if metadata.len() > limit {
        return None;
    }
    let json = Json::new(std::fs::read(file).ok()?).ok()?;
    Some(Kept { json, origin: None })
}

#[cfg(test)]
mod tests;
