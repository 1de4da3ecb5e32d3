//! An embedder without identity, and guests in the text format.
//!
//! Used by the host's own tests, which check what cannot be seen from outside
//! (exact numbers, order of events). What users see is tested in `e2e`.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wapo_abi::Errno;
use wapo_abi::message::MetricsToken;
use wapo_host::{
    BoxFuture, Embedder, Engine, EngineConfig, ExitReason, InstanceConfig, InstanceHandle,
    InstanceId, LogLine, MemoryCharge,
};

/// Remembers what guests log and emit; knows no secrets.
#[derive(Default)]
pub(crate) struct Deaf {
    pub(crate) lines: Mutex<Vec<LogLine>>,
    pub(crate) output: Mutex<Vec<u8>>,
    /// The sealed record.
    pub(crate) record: Mutex<Option<Vec<u8>>>,
    /// A socket of which every listener is a clone.
    pub(crate) port: Option<TcpListener>,
    /// Addresses that guests have closed.
    pub(crate) closed: Mutex<Vec<SocketAddr>>,
    /// Panics when a guest emits output, as a bug of the host would.
    pub(crate) breaks: bool,
}

/// The one blob of the tests: any name gives it.
pub(crate) const BLOB: &[u8] = &[7; 1_000];

impl Embedder for Deaf {
    fn app_address(&self) -> [u8; 32] {
        [7; 32]
    }

    fn log(&self, line: LogLine) {
        self.lines.lock().expect("lines").push(line);
    }

    fn output(&self, _instance: InstanceId, data: &[u8], _charge: MemoryCharge) {
        assert!(!self.breaks, "asked to break");
        self.output.lock().expect("output").extend_from_slice(data);
    }

    fn worker_pubkey(&self) -> [u8; 32] {
        [8; 32]
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        data.to_vec()
    }

    fn derive_secret(&self, path: &[u8]) -> [u8; 64] {
        [path.first().copied().unwrap_or(0); 64]
    }

    fn gas_consumed(&self) -> (u64, MetricsToken) {
        let token = MetricsToken {
            sn: 1,
            session: [0; 32],
            nonce: [0; 32],
        };
        (42, token)
    }

    fn blob_size(&self, _hash: &str) -> BoxFuture<Result<u64, Errno>> {
        Box::pin(std::future::ready(Ok(BLOB.len() as u64)))
    }

    fn blob(&self, _hash: &str, _max_bytes: u64) -> BoxFuture<Result<Vec<u8>, Errno>> {
        Box::pin(std::future::ready(Ok(BLOB.to_vec())))
    }

    fn read_boot_data(&self) -> BoxFuture<Result<Option<Vec<u8>>, Errno>> {
        let record = self.record.lock().expect("record").clone();
        Box::pin(std::future::ready(Ok(record)))
    }

    fn write_boot_data(&self, data: Vec<u8>) -> BoxFuture<Result<(), Errno>> {
        *self.record.lock().expect("record") = Some(data);
        Box::pin(std::future::ready(Ok(())))
    }

    fn listen_tcp(&self, _instance: InstanceId, address: SocketAddr) -> io::Result<TcpListener> {
        match &self.port {
            Some(port) => port.try_clone(),
            None => wapo_host::net::bind_tcp(address),
        }
    }

    fn unlisten_tcp(&self, _instance: InstanceId, address: SocketAddr) {
        self.closed.lock().expect("closed").push(address);
    }

    fn try_lock(&self, _instance: InstanceId, _name: &str) -> bool {
        true
    }

    fn unlock(&self, _instance: InstanceId, _name: &str) -> bool {
        false
    }

    fn instance_ended(&self, _instance: InstanceId) {}
}

/// A small engine of its own for one test.
pub(crate) fn engine() -> Engine {
    Engine::new(EngineConfig {
        instances_max: 16,
        hog_threads: 1,
        ..EngineConfig::default()
    })
    .expect("engine")
}

/// The parts every guest in the text format needs, around `body`.
pub(crate) fn module(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wapo" "ocall_fast_return"
                (func $fast (param i32 i32 i32 i32 i32 i32) (result i64)))
            (import "wapo" "ocall"
                (func $slow (param i32 i32 i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            {body})"#
    );
    wat::parse_str(text).expect("valid text")
}

/// Starts a guest made of `body`.
pub(crate) async fn start(
    engine: &Engine,
    body: &str,
    config: InstanceConfig,
) -> (InstanceHandle, Arc<Deaf>) {
    start_with(engine, body, config, Deaf::default()).await
}

/// As [`start`], with an embedder that was prepared.
pub(crate) async fn start_with(
    engine: &Engine,
    body: &str,
    config: InstanceConfig,
    embedder: Deaf,
) -> (InstanceHandle, Arc<Deaf>) {
    let program = engine.load(&module(body)).await.expect("module");
    let embedder = Arc::new(embedder);
    let handle = engine.start(&program, config, Arc::clone(&embedder) as Arc<dyn Embedder>);
    (handle, embedder)
}

/// Runs a guest made of `body` to its end.
pub(crate) async fn run(engine: &Engine, body: &str) -> ExitReason {
    let (handle, _embedder) = start(engine, body, InstanceConfig::default()).await;
    ended(&handle).await
}

/// Waits for the end, for ten seconds at most.
pub(crate) async fn ended(handle: &InstanceHandle) -> ExitReason {
    tokio::time::timeout(Duration::from_secs(10), handle.ended())
        .await
        .expect("the guest ends")
}

/// Waits until the guest is polled.
pub(crate) async fn running(handle: &InstanceHandle) {
    let mut status = handle.status();
    tokio::time::timeout(
        Duration::from_secs(10),
        status.wait_for(|status| status.has_run),
    )
    .await
    .expect("in time")
    .expect("the guest runs");
}
