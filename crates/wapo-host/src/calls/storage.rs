//! Calls of the family `storage`: blobs and the sealed record of an app.
//!
//! They may touch a disk, so they suspend the instance instead of a thread.

use std::sync::Arc;

use wapo_abi::Errno;
use wapo_abi::message::LogLevel;

use super::{WORK_SYSCALL, WaitFuture, Waited, family};
use crate::embedder::LogSource;
use crate::limits::BLOB_GET_BYTES_MAX;
use crate::state::InstanceState;

/// Price of a sealed record that was read.
const BOOT_DATA_READ_GAS: u64 = 1_012;
/// Bytes of a blob for one gas.
const BLOB_BYTES_PER_GAS: u64 = 128;

impl family::storage::Calls for InstanceState {
    fn blob_get(&mut self, hash: &str) -> WaitFuture<Vec<u8>> {
        self.add_work(WORK_SYSCALL);
        let meter = Arc::clone(&self.context.config.meter);
        let embedder = Arc::clone(&self.context.embedder);
        let (memory, logger) = (Arc::clone(&self.dialer.memory), self.context.logger.clone());
        let hash = hash.to_owned();
        Box::pin(async move {
            let bytes = embedder.blob_size(&hash).await?;
            if bytes > BLOB_GET_BYTES_MAX {
                return Err(Errno::RESOURCE_LIMITED);
            }
            let charge = memory.charge(bytes).map_err(|reason| {
                if memory.is_first_refusal() {
                    logger.write(LogSource::Lifecycle, LogLevel::Warn, &reason.to_string());
                }
                Errno::RESOURCE_LIMITED
            })?;
            let blob = embedder.blob(&hash, bytes).await?;
            meter.add_gas(blob.len() as u64 / BLOB_BYTES_PER_GAS);
            meter.add_storage_read(blob.len() as u64);
            Ok(Waited {
                value: blob,
                charge: Some(charge),
            })
        })
    }

    fn read_boot_data(&mut self) -> WaitFuture<Option<Vec<u8>>> {
        self.add_work(WORK_SYSCALL);
        let meter = Arc::clone(&self.context.config.meter);
        let record = self.context.embedder.read_boot_data();
        Box::pin(async move {
            let record = record.await?;
            if let Some(record) = &record {
                meter.add_gas(BOOT_DATA_READ_GAS);
                meter.add_storage_read(record.len() as u64);
            }
            Ok(record.into())
        })
    }

    fn write_boot_data(&mut self, data: &[u8]) -> WaitFuture<()> {
        self.add_work(WORK_SYSCALL);
        let meter = Arc::clone(&self.context.config.meter);
        let bytes = data.len() as u64;
        let writing = self.context.embedder.write_boot_data(data.to_vec());
        Box::pin(async move {
            writing.await?;
            meter.add_storage_written(bytes);
            Ok(().into())
        })
    }
}
