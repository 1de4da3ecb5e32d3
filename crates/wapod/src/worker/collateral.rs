//! Collateral: what a verifier needs beside a quote of SGX, TDX or the simulator.
//!
//! The simulator makes its own; that of real hardware comes from a caching service
//! (`pccs`) or from the file of an earlier run. It is handed on with evidence so that
//! verifiers need no network, and never looked into: they check it, and the worker's
//! word counts for nothing in it. Owned by `attester`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use wapo_rpc::limits::COLLATERAL_BYTES_MAX;
use wapo_rpc::statement::{Bounded, Quote};

use crate::attestation::SimulatedHardware;
use crate::limits::COLLATERAL_RENEWAL;

/// Collateral as evidence has it.
pub(crate) type Json = Bounded<Vec<u8>, COLLATERAL_BYTES_MAX>;

/// What there is.
pub(crate) struct Collateral {
    simulator: Option<SimulatedHardware>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it was made or fetched, in seconds since 1970, and what came.
    kept: Option<(u64, Json)>,
}

impl Collateral {
    /// None yet. A simulator makes its own.
    pub(crate) fn new(simulator: Option<SimulatedHardware>) -> Self {
        Self {
            simulator,
            state: Mutex::default(),
        }
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
        let until = |made: &u64| made + COLLATERAL_RENEWAL.as_secs();
        if let Some((made, json)) = &self.state().kept
            && (*made..until(made)).contains(&now_s)
        {
            return Some(json.clone());
        }
        let made = self.simulator.as_ref()?.collateral(now_s);
        let made = made.map(String::into_bytes).ok()?;
        let json = Json::new(made).ok()?;
        self.state().kept = Some((now_s, json.clone()));
        Some(json)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
