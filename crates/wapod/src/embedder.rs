//! What a guest may ask of the worker, answered for one app.
//!
//! One [`AppEmbedder`] per app implements the host's trait. It holds what
//! belongs to the app (locks, boot data, log, output) and borrows the worker's
//! identity. Its methods are called while the guest runs, so they are short.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wapo_abi::Errno;
use wapo_abi::message::MetricsToken;
use wapo_host::limits::{BOOT_DATA_BYTES_MAX, LOCKS_MAX};
use wapo_host::{BoxFuture, Embedder, InstanceId, LogLine, Meter};
use wapo_rpc::AppAddress;

use crate::blobs::BlobFolder;
use crate::config::LogSink;
use crate::identity::Identity;
use crate::limits::OUTPUT_BYTES_KEPT;
use crate::logs::LogBook;

/// The worker as one app sees it.
pub(crate) struct AppEmbedder {
    pub(crate) address: AppAddress,
    pub(crate) identity: Arc<Identity>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) blobs: Option<BlobFolder>,
    pub(crate) log: Arc<LogBook>,
    pub(crate) log_sink: Option<LogSink>,
    pub(crate) state: Mutex<AppState>,
}

/// What an app left with the worker.
#[derive(Default)]
pub(crate) struct AppState {
    /// Locks by name, each with the instance that holds it.
    locks: HashMap<String, InstanceId>,
    boot_data: Option<Vec<u8>>,
    output: Vec<u8>,
}

impl AppEmbedder {
    /// Takes the output that has come since the last time.
    pub(crate) fn take_output(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().output)
    }

    fn state(&self) -> MutexGuard<'_, AppState> {
        // Nothing below leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedder for AppEmbedder {
    fn app_address(&self) -> [u8; 32] {
        self.address.0
    }

    fn log(&self, line: LogLine) {
        if let Some(sink) = &self.log_sink {
            sink(&self.address, &line);
        }
        self.log.add(line);
    }

    fn output(&self, _instance: InstanceId, data: &[u8]) {
        let output = &mut self.state().output;
        let room = OUTPUT_BYTES_KEPT.saturating_sub(output.len());
        output.extend_from_slice(&data[..data.len().min(room)]);
    }

    fn worker_pubkey(&self) -> [u8; 32] {
        self.identity.public_key()
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        self.identity.sign_for_app(&self.address.0, data)
    }

    fn derive_secret(&self, path: &[u8]) -> [u8; 64] {
        self.identity.derive_secret(&self.address.0, path)
    }

    fn gas_consumed(&self) -> (u64, MetricsToken) {
        (self.meter.read().gas, self.identity.metrics_token())
    }

    fn blob(&self, hash: &str, max_bytes: u64) -> BoxFuture<Result<Vec<u8>, Errno>> {
        let Some(blobs) = self.blobs.clone() else {
            return Box::pin(std::future::ready(Err(Errno::NOT_FOUND)));
        };
        let name = hash.to_owned();
        Box::pin(async move {
            let reading = tokio::task::spawn_blocking(move || blobs.read(&name, max_bytes));
            reading.await.unwrap_or(Err(Errno::IO_ERROR))
        })
    }

    fn read_boot_data(&self) -> BoxFuture<Result<Option<Vec<u8>>, Errno>> {
        let data = self.state().boot_data.clone();
        Box::pin(std::future::ready(Ok(data)))
    }

    fn write_boot_data(&self, data: Vec<u8>) -> BoxFuture<Result<(), Errno>> {
        let result = if data.len() > BOOT_DATA_BYTES_MAX {
            Err(Errno::RESOURCE_LIMITED)
        } else {
            self.state().boot_data = Some(data);
            Ok(())
        };
        Box::pin(std::future::ready(result))
    }

    fn try_lock(&self, instance: InstanceId, name: &str) -> bool {
        let locks = &mut self.state().locks;
        if locks.len() >= LOCKS_MAX || locks.contains_key(name) {
            return false;
        }
        locks.insert(name.to_owned(), instance);
        true
    }

    fn unlock(&self, instance: InstanceId, name: &str) -> bool {
        let locks = &mut self.state().locks;
        let is_held = locks.get(name) == Some(&instance);
        if is_held {
            locks.remove(name);
        }
        is_held
    }

    fn instance_ended(&self, instance: InstanceId) {
        self.state().locks.retain(|_, holder| *holder != instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedder() -> AppEmbedder {
        AppEmbedder {
            address: AppAddress([7; 32]),
            identity: Arc::new(Identity::throw_away()),
            meter: Arc::new(Meter::default()),
            blobs: None,
            log: Arc::new(LogBook::default()),
            log_sink: None,
            state: Mutex::default(),
        }
    }

    const ONE: InstanceId = InstanceId(1);
    const TWO: InstanceId = InstanceId(2);

    #[test]
    fn only_the_holder_unlocks() {
        let app = embedder();
        assert!(app.try_lock(ONE, "a"));
        assert!(!app.try_lock(ONE, "a"));
        assert!(!app.try_lock(TWO, "a"));
        assert!(!app.unlock(TWO, "a"));
        assert!(app.unlock(ONE, "a"));
        assert!(!app.unlock(ONE, "a"));
        assert!(app.try_lock(TWO, "a"));
    }

    #[test]
    fn locks_are_free_when_their_holder_is_gone() {
        let app = embedder();
        assert!(app.try_lock(ONE, "a"));
        assert!(app.try_lock(TWO, "b"));
        app.instance_ended(ONE);
        assert!(app.try_lock(TWO, "a"));
        assert!(!app.try_lock(ONE, "b"));
    }

    #[test]
    fn the_number_of_locks_is_bounded() {
        let app = embedder();
        for number in 0..LOCKS_MAX {
            assert!(app.try_lock(ONE, &number.to_string()), "{number}");
        }
        assert!(!app.try_lock(ONE, "one more"));
    }

    #[test]
    fn signatures_verify_as_data_of_the_app() {
        let app = embedder();
        let message = [[7; 32].as_slice(), b"data"].concat();
        assert!(wapo_crypto::verify(
            &app.worker_pubkey(),
            wapo_crypto::ContentType::AppData,
            &message,
            &app.sign(b"data"),
        ));
    }

    #[tokio::test]
    async fn boot_data_is_kept_and_bounded() {
        let app = embedder();
        assert_eq!(app.read_boot_data().await, Ok(None));
        let full = vec![1; BOOT_DATA_BYTES_MAX];
        assert_eq!(app.write_boot_data(full.clone()).await, Ok(()));
        let long = vec![2; BOOT_DATA_BYTES_MAX + 1];
        assert_eq!(
            app.write_boot_data(long).await,
            Err(Errno::RESOURCE_LIMITED)
        );
        assert_eq!(app.read_boot_data().await, Ok(Some(full)));
    }

    #[test]
    fn output_is_taken_once() {
        let app = embedder();
        app.output(ONE, b"a");
        app.output(TWO, b"b");
        assert_eq!(app.take_output(), b"ab");
        assert!(app.take_output().is_empty());
    }
}
