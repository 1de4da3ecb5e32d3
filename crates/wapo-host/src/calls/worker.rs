//! Calls of the family `worker`: what a guest asks of the worker it runs on.
//!
//! All of it is the embedder's; this file counts the work.

use wapo_abi::Errno;
use wapo_abi::message::{LogLevel, MetricsToken};

use super::{WORK_CRYPTO, WORK_LOCK, WORK_PARSED_BYTE, WaitFuture, family, work_moved};
use crate::embedder::LogSource;
use crate::state::InstanceState;

impl family::worker::Calls for InstanceState {
    fn log(&mut self, level: LogLevel, text: &str) -> Result<(), Errno> {
        self.add_work(WORK_LOCK + WORK_PARSED_BYTE * text.len() as u64);
        self.context.logger.write(LogSource::Guest, level, text);
        Ok(())
    }

    fn app_address(&mut self) -> Result<[u8; 32], Errno> {
        Ok(self.context.embedder.app_address())
    }

    fn emit_program_output(&mut self, data: &[u8]) -> Result<(), Errno> {
        self.add_work(WORK_LOCK + work_moved(data.len()));
        let charge = self.charge_memory(data.len() as u64)?;
        self.context.embedder.output(self.context.id, data, charge);
        Ok(())
    }

    fn sign(&mut self, data: &[u8]) -> Result<Vec<u8>, Errno> {
        self.add_work(WORK_CRYPTO + WORK_PARSED_BYTE * data.len() as u64);
        Ok(self.context.embedder.sign(data))
    }

    fn worker_pubkey(&mut self) -> Result<[u8; 32], Errno> {
        Ok(self.context.embedder.worker_pubkey())
    }

    fn sgx_quote(&mut self, data: &[u8]) -> WaitFuture<Option<Vec<u8>>> {
        self.add_work(WORK_CRYPTO + WORK_PARSED_BYTE * data.len() as u64);
        let quote = self.context.embedder.quote(data.to_vec());
        Box::pin(async move { Ok(quote.await.into()) })
    }

    fn tip(&mut self, amount: u64) -> Result<(), Errno> {
        self.context.config.meter.add_tip(amount);
        Ok(())
    }

    fn app_gas_consumed(&mut self) -> Result<(u64, MetricsToken), Errno> {
        self.add_work(WORK_LOCK);
        Ok(self.context.embedder.gas_consumed())
    }

    fn derive_secret(&mut self, path: &[u8]) -> Result<[u8; 64], Errno> {
        self.add_work(WORK_CRYPTO);
        Ok(self.context.embedder.derive_secret(path))
    }
}
