//! Calls of the family `worker`: what a guest asks of the worker it runs on.
//!
//! All of it is the embedder's; this file only keeps the limits.

use wapo_abi::Errno;
use wapo_abi::message::{LogLevel, MetricsToken};

use super::{WORK_CRYPTO, WaitFuture, family};
use crate::embedder::LogSource;
use crate::limits::{OUTPUT_BYTES_MAX, SECRET_PATH_BYTES_MAX, SIGN_BYTES_MAX};
use crate::state::InstanceState;

impl family::worker::Calls for InstanceState {
    fn log(&mut self, level: LogLevel, text: &str) -> Result<(), Errno> {
        self.logger.write(LogSource::Guest, level, text);
        Ok(())
    }

    fn app_address(&mut self) -> Result<[u8; 32], Errno> {
        Ok(self.embedder.app_address())
    }

    fn emit_program_output(&mut self, data: &[u8]) -> Result<(), Errno> {
        if data.len() > OUTPUT_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        self.embedder.output(self.id, data);
        Ok(())
    }

    fn sign(&mut self, data: &[u8]) -> Result<Vec<u8>, Errno> {
        if data.len() > SIGN_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        self.add_work(WORK_CRYPTO);
        Ok(self.embedder.sign(data))
    }

    fn worker_pubkey(&mut self) -> Result<[u8; 32], Errno> {
        Ok(self.embedder.worker_pubkey())
    }

    fn sgx_quote(&mut self, data: &[u8]) -> WaitFuture<Option<Vec<u8>>> {
        if data.len() > SIGN_BYTES_MAX {
            return Box::pin(std::future::ready(Err(Errno::INVALID_PARAMETER)));
        }
        self.add_work(WORK_CRYPTO);
        let quote = self.embedder.quote(data.to_vec());
        Box::pin(async move { Ok(quote.await) })
    }

    fn tip(&mut self, amount: u64) -> Result<(), Errno> {
        self.config.meter.add_tip(amount);
        Ok(())
    }

    fn app_gas_consumed(&mut self) -> Result<(u64, MetricsToken), Errno> {
        Ok(self.embedder.gas_consumed())
    }

    fn derive_secret(&mut self, path: &[u8]) -> Result<[u8; 64], Errno> {
        if path.len() > SECRET_PATH_BYTES_MAX {
            return Err(Errno::INVALID_PARAMETER);
        }
        self.add_work(WORK_CRYPTO);
        Ok(self.embedder.derive_secret(path))
    }
}
