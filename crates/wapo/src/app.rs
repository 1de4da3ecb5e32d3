//! The app itself: its address, its usage, its output.

use crate::error::Result;
use crate::sys::calls;

/// The app's address: the hash of the manifest it was deployed with.
///
/// # Errors
///
/// Only when there is no host.
pub fn address() -> Result<[u8; 32]> {
    calls::app_address()
}

/// Hands the program's output to its user.
///
/// # Errors
///
/// [`crate::Error::INVALID_PARAMETER`] when it is too long.
pub fn output(data: impl AsRef<[u8]>) -> Result<()> {
    calls::emit_program_output(data.as_ref())
}

/// Adds to what the app offers its worker beyond the price.
///
/// # Errors
///
/// Only when there is no host.
pub fn tip(amount: u64) -> Result<()> {
    calls::tip(amount)
}

/// One reading of the app's gas, unlike any other reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GasReading {
    /// Gas used in this deployment by all instances.
    pub gas: u64,
    /// Number of the reading in the worker's session.
    pub number: u64,
    /// The worker's session.
    pub session: [u8; 32],
    /// Random bytes of this reading.
    pub nonce: [u8; 32],
}

/// Reads how much gas the app has used.
///
/// # Errors
///
/// Only when there is no host.
pub fn gas_used() -> Result<GasReading> {
    let (gas, token) = calls::app_gas_consumed()?;
    Ok(GasReading {
        gas,
        number: token.sn,
        session: token.session,
        nonce: token.nonce,
    })
}

/// Switches the host's log of this instance's calls on or off, to find faults.
///
/// # Errors
///
/// Only when there is no host.
pub fn trace_calls(enable: bool) -> Result<()> {
    calls::enable_ocall_trace(enable)
}
