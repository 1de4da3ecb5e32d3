//! The host alone, for microbenchmarks: an engine, a runtime, and an embedder
//! that keeps what guests emit. Rows about servers go through `wapod` instead.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use wapo_abi::message::MetricsToken;
use wapo_host::{
    Embedder, Engine, EngineConfig, InstanceConfig, InstanceId, LogLine, MemoryCharge, Program,
};

/// Keeps output, forgets log lines, knows no secrets.
#[derive(Default)]
pub(crate) struct Keeper {
    output: Mutex<Vec<u8>>,
}

impl Embedder for Keeper {
    fn app_address(&self) -> [u8; 32] {
        [0; 32]
    }

    fn log(&self, _line: LogLine) {}

    fn output(&self, _instance: InstanceId, data: &[u8], _charge: MemoryCharge) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.extend_from_slice(data);
    }

    fn worker_pubkey(&self) -> [u8; 32] {
        [0; 32]
    }

    fn sign(&self, _data: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    fn derive_secret(&self, _path: &[u8]) -> [u8; 64] {
        [0; 64]
    }

    fn gas_consumed(&self) -> (u64, MetricsToken) {
        let token = MetricsToken {
            sn: 0,
            session: [0; 32],
            nonce: [0; 32],
        };
        (0, token)
    }

    fn try_lock(&self, _instance: InstanceId, _name: &str) -> bool {
        false
    }

    fn unlock(&self, _instance: InstanceId, _name: &str) -> bool {
        false
    }

    fn instance_ended(&self, _instance: InstanceId) {}
}

/// An engine as the daemon has it, on a runtime of its own.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) runtime: Runtime,
}

/// What a guest did that ran to its end.
pub(crate) struct Ran {
    /// Processor time of the whole process meanwhile.
    pub(crate) cpu: Duration,
    /// What it emitted.
    pub(crate) output: String,
}

impl Host {
    /// Sets up the engine.
    ///
    /// # Errors
    ///
    /// No threads or address space.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            engine: Engine::new(EngineConfig {
                instances_max: 16,
                ..EngineConfig::default()
            })?,
            runtime: wapo_host::runtime_builder().build()?,
        })
    }

    /// Compiles a module.
    ///
    /// # Errors
    ///
    /// It is no guest.
    pub(crate) fn load(&self, wasm: &[u8]) -> Result<Program> {
        Ok(self.runtime.block_on(self.engine.load(wasm))?)
    }

    /// Runs a guest to its end.
    ///
    /// # Errors
    ///
    /// It does not end well.
    pub(crate) fn run(&self, program: &Program, args: &[&str]) -> Result<Ran> {
        let mut words = vec!["bench".to_owned()];
        words.extend(args.iter().map(|word| (*word).to_owned()));
        let config = InstanceConfig {
            args: words,
            ..InstanceConfig::default()
        };
        let keeper = Arc::new(Keeper::default());
        let before = cpu_time();
        let reason = self.runtime.block_on(async {
            let embedder = Arc::clone(&keeper) as Arc<dyn Embedder>;
            let handle = self.engine.start(program, config, embedder);
            handle.ended().await
        });
        let cpu = cpu_time().saturating_sub(before);
        ensure!(reason.is_success(), "the guest ended: {reason}");
        let output =
            std::mem::take(&mut *keeper.output.lock().unwrap_or_else(PoisonError::into_inner));
        let output = String::from_utf8(output).context("the guest's output is no text")?;
        Ok(Ran { cpu, output })
    }
}

/// Processor time of this process: what other programs do at the same time
/// does not count, so rows that only compute are measured by it.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // A clock of the processor is never negative.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The value after `name=` in a line that a guest printed.
///
/// # Errors
///
/// There is none.
pub(crate) fn value<'a>(line: &'a str, name: &str) -> Result<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .with_context(|| format!("no `{name}` in the guest's line `{line}`"))
}
