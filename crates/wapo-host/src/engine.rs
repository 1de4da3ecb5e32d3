//! The engine: one per process, configured once, shared by all instances.
//!
//! Wraps wasmtime's engine, the linker with every host call, the module cache,
//! the resolver and TLS settings, and the threads of low priority. Does not know
//! any app. Made by the daemon at start.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::sync::watch;
use wasmtime::{Config, InstanceAllocationStrategy, Linker, PoolingAllocationConfig};

use crate::budget::{BudgetUsage, MemoryBudget, MemoryShare};
use crate::compiler::{CompileSettings, Compiler};
use crate::control::Control;
use crate::descriptors::{DescriptorBudget, DescriptorLimits, DescriptorShare};
use crate::embedder::{Embedder, InstanceId};
use crate::host_memory::HostMemory;
use crate::instance::{InstanceConfig, InstanceHandle, Status};
use crate::intake::Intake;
use crate::limits::{INSTANCE_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::load_error::LoadError;
use crate::memory_pool::MemoryPool;
use crate::module_cache::{CompilerLoad, LoadFor, ModuleCache, Program};
use crate::module_files::ModuleCacheConfig;
use crate::net::dns::{Dns, Resolver};
use crate::net::machine::Machine;
use crate::net::proxy::Proxies;
use crate::net::tls_settings::TlsSettings;
use crate::schedule::LowPriority;
use crate::state::InstanceState;
use crate::steps::{StepMarker, Steps};
use crate::supervise::{EngineParts, Supervisor};

/// Memory and table of an ended instance that stay resident for the next one.
///
/// Clearing this much by hand is cheaper than giving it back to the kernel and
/// taking the page faults again, which is half of the time that a small program
/// needs from its start to its end. Where the kernel tells which pages were
/// touched (`PAGEMAP_SCAN`, Linux 6.7), these are cleared wherever they lie, up
/// to this amount; else it is the lowest part. At most 100 slots are kept so.
const KEEP_RESIDENT_BYTES: usize = 64 * 1024;

/// Stack of an ended instance that stays resident for the next one.
///
/// The rest goes back to the kernel, so that a stack that was deep once does not stay
/// so in the pool. Every stack that was ever used has this much.
const STACK_KEEP_RESIDENT_BYTES: usize = 16 * 1024;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Linear memory of one instance at most, in bytes (the `-m` of the daemon).
    pub memory_max_bytes: u64,
    /// Instances that may exist at a time.
    pub instances_max: u32,
    /// Memory of all instances together, in bytes: linear memory and tables, as
    /// granted, and what the host keeps for them. Beyond it guests are refused growth and new ones do not start.
    /// `None` for no limit.
    pub memory_budget_bytes: Option<u64>,
    /// File descriptors that instances may hold, each and together; what the
    /// embedder needs itself is not part of them.
    pub descriptors: DescriptorLimits,
    /// The machine; guests never listen on the ports that are the worker's own.
    pub machine: Arc<Machine>,
    /// How linear memories are allocated.
    pub allocation: Allocation,
    /// Modules that are compiled at a time.
    pub compile_threads: usize,
    /// Who compiles them.
    pub compiler: Compiler,
    /// Low-priority threads for guests that hog the CPU.
    pub hog_threads: usize,
    /// Where compiled modules are kept; `None` keeps them in memory only.
    pub module_cache: Option<ModuleCacheConfig>,
    /// Certificates trusted by `tcp_connect_tls` besides the Mozilla roots.
    pub trust_roots: Vec<CertificateDer<'static>>,
    /// Who resolves names.
    pub resolver: Resolver,
    /// Through whom guests connect; without any, directly.
    pub proxies: Proxies,
}

impl Default for EngineConfig {
    /// 128 MiB per instance, 1000 instances, no budget, pooled, two threads each, no disk cache.
    fn default() -> Self {
        Self {
            memory_max_bytes: 128 << 20,
            instances_max: 1_000,
            memory_budget_bytes: None,
            descriptors: DescriptorLimits::UNLIMITED,
            machine: Arc::default(),
            allocation: Allocation::Pooled,
            compile_threads: 2,
            compiler: Compiler::InProcess,
            hog_threads: 2,
            module_cache: None,
            trust_roots: Vec::new(),
            resolver: Resolver::System,
            proxies: Proxies::default(),
        }
    }
}

/// How linear memories are allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allocation {
    /// Pool of address space with guard regions and copy-on-write images.
    Pooled,
    /// Plain allocations without guard regions, for enclaves.
    Enclave,
}

/// The engine could not be set up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot set up the engine: {0}")]
pub struct EngineError(String);

/// Runs guests. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<EngineParts>,
}

impl Engine {
    /// Sets up an engine.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when address space, threads or DNS are not to be had.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let text = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let wasmtime = wasmtime::Engine::new(&wasmtime_config(&config)).map_err(text)?;
        let mut linker = Linker::<InstanceState>::new(&wasmtime);
        crate::calls::add_to_linker(&mut linker).map_err(text)?;
        crate::wasi::add_to_linker(&mut linker).map_err(text)?;
        let settings = compile_settings(&config);
        let modules = ModuleCache::new(
            &wasmtime,
            linker,
            config.module_cache,
            // An enclave has no other process.
            match config.allocation {
                Allocation::Enclave => Compiler::InProcess,
                Allocation::Pooled => config.compiler,
            },
            settings,
            config.compile_threads,
        )
        .map_err(text)?;
        let low_priority = LowPriority::new(config.hog_threads)
            .map_err(|error| EngineError(format!("cannot start threads: {error}")))?;
        Ok(Self {
            parts: Arc::new(EngineParts {
                wasmtime,
                dns: Arc::new(Dns::new(&config.resolver).map_err(EngineError)?),
                tls: Arc::new(TlsSettings::new(&config.trust_roots).map_err(EngineError)?),
                modules,
                low_priority,
                budget: MemoryBudget::new(config.memory_budget_bytes),
                descriptors: DescriptorBudget::new(config.descriptors, config.instances_max),
                machine: config.machine,
                proxies: config.proxies,
                memory_max_bytes: config.memory_max_bytes,
                wasm_stack_bytes: settings.stacks().0,
                instances: AtomicU64::new(0),
                steps: Arc::default(),
            }),
        })
    }

    /// Gives a module ready to start; compiles it unless that was done before.
    ///
    /// # Errors
    ///
    /// [`LoadError`] with a text for the author of the module.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. A compilation that nobody waits for any more is stopped.
    pub async fn load(&self, wasm: &[u8]) -> Result<Program, LoadError> {
        let wasm = Bytes::copy_from_slice(wasm);
        self.parts.modules.load(None, wasm).await
    }

    /// As [`load`](Self::load), for an app: it takes turns with other apps, and
    /// the module must fit into the memory of its instances.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    ///
    /// # Cancel safety
    ///
    /// As [`load`](Self::load).
    pub async fn load_for(&self, wanted: LoadFor, wasm: Vec<u8>) -> Result<Program, LoadError> {
        self.parts.modules.load(Some(wanted), wasm.into()).await
    }

    /// Keeps a program in memory as one that was used just now, as long as others are not
    /// used more.
    pub fn keep(&self, program: &Program) {
        self.parts.modules.keep(program);
    }

    /// Whether compiled modules are on disk as well: one that memory does not keep is
    /// then loaded in milliseconds.
    pub fn has_modules_on_disk(&self) -> bool {
        self.parts.modules.is_on_disk()
    }

    /// Checks whether a file would be compiled, without compiling it. Takes some
    /// milliseconds for each megabyte.
    ///
    /// # Errors
    ///
    /// [`LoadError`], as [`load`](Self::load) would give it.
    pub fn check(&self, wasm: &[u8]) -> Result<(), LoadError> {
        self.parts.modules.check(wasm)
    }

    /// Stops all compilations at once; from then on only what is compiled
    /// already can be loaded. For the shutdown.
    pub fn stop_compiling(&self) {
        self.parts.modules.stop_compiling();
    }

    /// Removes compiled modules whose hash is not among `live` from the folder
    /// of this worker alone ([`CacheKind::Own`](crate::CacheKind::Own)), and what interrupted writers
    /// have left. Blocks.
    pub fn keep_only(&self, live: &HashSet<[u8; 32]>) {
        self.parts.modules.keep_only(live);
    }

    /// How busy the compiler is.
    pub fn compiler_load(&self) -> CompilerLoad {
        self.parts.modules.compiler_load()
    }

    /// Memory that all instances together were granted, and that the host keeps
    /// for them, in bytes; and how much there is.
    pub fn memory(&self) -> BudgetUsage {
        self.parts.budget.usage()
    }

    /// Which instances run on a thread at this moment.
    pub fn steps(&self) -> &Arc<Steps> {
        &self.parts.steps
    }

    /// The machine that the engine was told of.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.parts.machine
    }

    /// File descriptors that instances hold, and may hold.
    pub fn descriptors(&self) -> BudgetUsage {
        self.parts.descriptors.usage()
    }

    /// Starts an instance in a task of its own and returns at once.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(
        &self,
        program: &Program,
        config: InstanceConfig,
        embedder: Arc<dyn Embedder>,
    ) -> InstanceHandle {
        let id = InstanceId(self.parts.instances.fetch_add(1, Ordering::Relaxed));
        let control = Arc::new(Control::default());
        let (status, status_seen) = watch::channel(Status::starting());
        let memory = HostMemory::of_app(&self.parts.budget, &config.quotas);
        let intake = Intake::new(
            id,
            Arc::clone(&embedder),
            Arc::clone(&control),
            Arc::clone(&memory),
        );
        let descriptors = DescriptorShare::new(&self.parts.descriptors, &config.quotas);
        let handle = InstanceHandle {
            id,
            control: Arc::clone(&control),
            intake: Arc::clone(&intake),
            status: status_seen,
            meter: Arc::clone(&config.meter),
            descriptors: Arc::clone(&descriptors),
            host_memory: Arc::clone(&memory),
        };
        let history = Arc::clone(&config.history);
        control
            .stack()
            .belongs_to(MemoryShare::new(&self.parts.budget, &config.quotas));
        let supervisor = Supervisor {
            id,
            parts: Arc::clone(&self.parts),
            program: program.clone(),
            descriptors,
            host_memory: memory,
            runtime: Handle::current(),
            config,
            embedder,
            control: Arc::clone(&control),
            intake,
            status: Arc::new(status),
        };
        crate::schedule::spawn(
            &self.parts.low_priority,
            control,
            history,
            StepMarker::new(Arc::clone(&self.parts.steps), id),
            supervisor.run(),
        );
        handle
    }
}

fn compile_settings(config: &EngineConfig) -> CompileSettings {
    CompileSettings {
        is_enclave: config.allocation == Allocation::Enclave,
        memory_max_bytes: config.memory_max_bytes,
    }
}

fn wasmtime_config(config: &EngineConfig) -> Config {
    let mut wasmtime = compile_settings(config).config();
    match config.allocation {
        Allocation::Pooled => {
            wasmtime.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
        }
        Allocation::Enclave => {
            let capacity = usize::try_from(config.memory_max_bytes).unwrap_or(usize::MAX);
            let buffers = usize::try_from(config.instances_max).unwrap_or(usize::MAX);
            wasmtime
                .allocation_strategy(InstanceAllocationStrategy::OnDemand)
                .with_host_memory(Arc::new(MemoryPool::new(capacity, buffers)));
        }
    }
    wasmtime
}

fn pool(config: &EngineConfig) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let instances = config.instances_max;
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_stacks(instances)
        .total_tables(instances.saturating_mul(TABLES_MAX))
        .max_tables_per_module(TABLES_MAX)
        .max_memories_per_module(1)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(usize::try_from(config.memory_max_bytes).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT_BYTES)
        .pagemap_scan(wasmtime::Enabled::Auto);
    pool
}

/// A builder for the runtime that instances should start on.
///
/// Threads that are busy look at sockets only every so many tasks. With slices
/// of 0.1 ms, tokio's default of 61 would let a neighbour wait for 6 ms.
pub fn runtime_builder() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().event_interval(EVENT_INTERVAL);
    builder
}

/// Tasks between two looks at the sockets while a thread is busy.
const EVENT_INTERVAL: u32 = 8;
