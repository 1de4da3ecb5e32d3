//! The worker at a glance: what every client may see, and what only its operator may.
//!
//! Read from the present state and not signed; what is signed is in `statements`. Called
//! by `api` (`User.Info`, `Operation.Info`, `/metrics`).

use std::sync::PoisonError;

use wapo_host::CompilerLoad;
use wapo_rpc::message::{MemoryUsage, ModuleLoaderInfo, WorkerInfo};

use super::Worker;
use crate::system;

impl Worker {
    /// The worker at a glance, as everyone may see it.
    pub(crate) fn info(&self) -> WorkerInfo {
        let instances = self.instances_now();
        WorkerInfo {
            pubkey: self.identity.public_key().to_vec(),
            deployed_apps: self.app_count() as u64,
            running_instances: instances,
            vm_instances: instances,
            max_instances: u64::from(self.limits.instances_max),
            instance_memory_size: self.limits.memory_max_bytes,
            session: self.session.id().to_vec(),
            tcp_listen_port_range: self
                .limits
                .listen_ports
                .as_ref()
                .map(|ports| ports.to_string().replace("..", "-"))
                .unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            attestation: self
                .attester
                .source()
                .map_or_else(String::new, |source| source.name().to_owned()),
            ..WorkerInfo::default()
        }
    }

    /// The worker at a glance, with what concerns only its operator.
    pub(crate) fn operator_info(&self) -> WorkerInfo {
        let bench = *self.bench.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = system::memory();
        let committed = self.engine.memory().used;
        let stalls = self.stalls.read();
        let own = memory.resident_bytes.saturating_sub(committed);
        WorkerInfo {
            memory_usage: Some(MemoryUsage {
                rust_used: own,
                rust_peak: memory.resident_peak_bytes,
                rust_spike: own,
                used: memory.resident_bytes,
                peak: memory.virtual_peak_bytes,
                free: memory.machine_free_bytes,
            }),
            module_loader_info: Some(loader_info(self.engine.compiler_load())),
            bench_app_address: bench.address.map(Vec::from).unwrap_or_default(),
            bench_app_instances: bench.instances,
            memory_budget: self.limits.memory_budget_bytes.unwrap_or_default(),
            memory_committed: committed,
            safe_mode: self.is_safe_mode,
            stalls: stalls.count,
            javascript_engine: crate::javascript::engine_hash().unwrap_or_default(),
            longest_stall_ms: u64::try_from(stalls.longest.as_millis()).unwrap_or(u64::MAX),
            ..self.info()
        }
    }
}

fn loader_info(load: CompilerLoad) -> ModuleLoaderInfo {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    ModuleLoaderInfo {
        max_compilation_tasks: number(load.compiling_max),
        queue_cap: number(load.waiting_max),
        queue_used: number(load.waiting),
        cache_cap: number(load.kept_max),
        cache_used: number(load.kept),
        compiling_handles_len: number(load.waiting + load.compiling),
        compiling_tasks: number(load.compiling),
    }
}
