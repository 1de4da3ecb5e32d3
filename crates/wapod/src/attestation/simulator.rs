//! Quotes that prove nothing, for development: the form of SGX, a root whose key
//! everyone knows.
//!
//! Only where the operator asked for it. Verifiers refuse such quotes unless they are
//! asked to take them.

use wapo_rpc::statement::{Bounded, Quote};
use wapo_simulator::{DEVELOPMENT_SEED, Enclave, Platform, Simulator};

use super::report_place;
use super::source::{QuoteSource, ReportData, SourceError, SourceKind};

/// The simulator, as a source of quotes and of collateral.
pub(crate) struct SimulatedHardware(Simulator);

impl SimulatedHardware {
    /// The hardware whose secrets are public.
    ///
    /// # Errors
    ///
    /// A text of one line.
    pub(crate) fn new() -> Result<Self, String> {
        let made = Simulator::new(&DEVELOPMENT_SEED, Enclave::default(), Platform::default());
        made.map(Self)
            .map_err(|error| format!("attestation: the simulator cannot be set up: {error}"))
    }

    /// Collateral of this moment, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// A text of one line.
    pub(crate) fn collateral(&self, now_s: u64) -> Result<String, String> {
        let made = self.0.collateral(now_s);
        made.map_err(|error| error.to_string())
    }
}

impl QuoteSource for SimulatedHardware {
    fn kind(&self) -> SourceKind {
        SourceKind::Simulator
    }

    fn quote(&mut self, report_data: &ReportData) -> Result<Quote, SourceError> {
        let quote = Bounded::new(self.0.quote(report_data));
        let quote = quote.map_err(|error| SourceError::Wrong(error.to_string()))?;
        report_place::check(Quote::Simulator(quote), report_data)
    }
}
