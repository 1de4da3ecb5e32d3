//! Collateral: what a verifier needs beside a quote of SGX, TDX or the simulator.
//!
//! The simulator makes its own; that of real hardware is fetched from a caching service
//! (`service`) where the operator names one, and kept in a file for the next start. It
//! is handed on with evidence so that verifiers need no network, and never looked into:
//! they check it, and the worker's word counts for nothing in it. Owned by `attester`.

mod service;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use rustls::pki_types::CertificateDer;
use wapo_rpc::limits::COLLATERAL_BYTES_MAX;
use wapo_rpc::statement::{Bounded, Quote};

use crate::attestation::SimulatedHardware;
use crate::data_dir::{Durability, FILE_MODE, write_whole};
use crate::limits::{COLLATERAL_RENEWAL, COLLATERAL_RETRY_PAUSE};
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
    /// When it was made or fetched, in seconds since 1970, and what came.
    kept: Option<(u64, Json)>,
    /// When it was last tried to fetch it.
    tried_s: Option<u64>,
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
            Quote::Sgx(_) | Quote::Tdx(_) => self.state().kept.clone().map(|(_, json)| json),
            Quote::SevSnp { .. } => None,
        }
    }

    fn simulated(&self, now_s: u64) -> Option<Json> {
        if let Some((made, json)) = &self.state().kept
            && is_new(*made, now_s)
        {
            return Some(json.clone());
        }
        let made = self.simulator.as_ref()?.collateral(now_s);
        let made = made.map(String::into_bytes).ok()?;
        let json = Json::new(made).ok()?;
        self.state().kept = Some((now_s, json.clone()));
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
        if !self.state().begin(now_s) {
            return false;
        }
        let fetched = service.fetch(quote).await;
        let fetched = fetched.and_then(|json| {
            Json::new(json.into_bytes()).map_err(|error| format!("the collateral is {error}"))
        });
        match fetched {
            Ok(json) => {
                self.keep(&json).await;
                self.state().kept = Some((now_s, json));
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
    fn begin(&mut self, now_s: u64) -> bool {
        let has_new = self.kept.as_ref().is_some_and(|(at, _)| is_new(*at, now_s));
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

fn is_new(made_s: u64, now_s: u64) -> bool {
    (made_s..made_s + COLLATERAL_RENEWAL.as_secs()).contains(&now_s)
}

/// What an earlier run has kept, and when.
fn read(file: &std::path::Path) -> Option<(u64, Json)> {
    let metadata = std::fs::metadata(file).ok()?;
    let limit = u64::try_from(COLLATERAL_BYTES_MAX).unwrap_or(u64::MAX);
    if metadata.len() > limit {
        return None;
    }
    let at = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let json = Json::new(std::fs::read(file).ok()?).ok()?;
    Some((at.as_secs(), json))
}

#[cfg(test)]
mod tests;
