//! Rows: the worker at a glance.
//!
//! Expanded by `schema`, `message` and the tests.

macro_rules! worker_messages {
    ($each:ident) => {
        $each! {
            /// The worker at a glance.
            WorkerInfo {
                /// Public key of the worker.
                pubkey: bytes = 1,
                /// Number of apps.
                deployed_apps: u64 = 2,
                /// Number of instances that run.
                running_instances: u64 = 3,
                /// Number of engine contexts that are alive.
                vm_instances: u64 = 9,
                /// Instances that may run at a time.
                max_instances: u64 = 4,
                /// Memory that one instance may have, in bytes.
                instance_memory_size: u64 = 5,
                /// The worker's session, 32 bytes; empty when there is none.
                session: bytes = 6,
                /// Memory of the worker.
                memory_usage: MemoryUsage = 7,
                /// State of the compiler; on the admin port only.
                module_loader_info: ModuleLoaderInfo = 8,
                /// Ports that guests may listen on, as `A-B`, several with commas; empty for
                /// none.
                tcp_listen_port_range: string = 10,
                /// Address of the app that measures the worker; empty when there is none.
                bench_app_address: bytes = 11,
                /// Instances of that app.
                bench_app_instances: u64 = 12,
                /// Version of the worker.
                version: string = 100,
                /// Where apps are reached, as `host:port`; on the admin port only.
                user_address: string = 101,
                /// Domain below which each app has a host name; on the admin port only.
                base_domain: string = 102,
                /// Memory that all instances together may have, in bytes; on the admin
                /// port only.
                memory_budget: u64 = 103,
                /// Memory that instances have at the moment, in bytes; on the admin port
                /// only.
                memory_committed: u64 = 104,
                /// Whether apps start only when the operator says so; on the admin port
                /// only.
                safe_mode: bool = 110,
                /// Times that the worker stood still for more than a second; on the admin
                /// port only.
                stalls: u64 = 111,
                /// The longest of those times, in milliseconds; on the admin port only.
                longest_stall_ms: u64 = 112,
                /// Everything of which there is a bounded amount for all together; on the
                /// admin port only.
                budgets: [Budget] = 113,
                /// Whether apps are reached there by HTTPS only; on the admin port only.
                user_tls: bool = 120,
                /// Hash of the engine of JavaScript apps that the worker has, as manifests
                /// have it; empty when it has none; on the admin port only.
                javascript_engine: string = 130,
                /// Where apps are reached by server name with TLS, as `host:port`; empty when
                /// there is no such port; on the admin port only.
                tls_address: string = 140,
                /// What stands behind the worker's quotes: `sgx`, `tdx`, `sev-snp`, or
                /// `simulator`, which proves nothing; empty when there are none.
                attestation: string = 150,
            }
            /// Something of which there is a bounded amount.
            Budget {
                /// Who shares it: `guests` (all apps), `daemon`, or the clients of a port,
                /// `user` or `admin`.
                scope: string = 1,
                /// Its name within the scope; that of a number of bytes ends in `_bytes`.
                name: string = 2,
                /// Its name for people.
                title: string = 3,
                /// How much is used at the moment.
                used: u64 = 4,
                /// How much there is; 0 for no limit.
                max: u64 = 5,
                /// How often more was refused since the start.
                refused: u64 = 6,
            }
            /// Memory of a worker, in bytes.
            MemoryUsage {
                /// Allocated by the worker's own code.
                rust_used: u64 = 1,
                /// Most ever allocated by the worker's own code.
                rust_peak: u64 = 2,
                /// Most allocated since the last question.
                rust_spike: u64 = 3,
                /// Resident memory of the process.
                used: u64 = 4,
                /// Most address space the process ever had.
                peak: u64 = 5,
                /// Free memory of the machine.
                free: u64 = 6,
            }
            /// State of a worker's compiler.
            ModuleLoaderInfo {
                /// Modules that are compiled at a time.
                max_compilation_tasks: u32 = 1,
                /// Modules that may wait.
                queue_cap: u32 = 2,
                /// Modules that wait.
                queue_used: u32 = 3,
                /// Compiled modules that are kept.
                cache_cap: u32 = 4,
                /// Compiled modules that are there.
                cache_used: u32 = 5,
                /// Modules that a deployment or start waits for.
                compiling_handles_len: u32 = 6,
                /// Modules that are being compiled.
                compiling_tasks: u32 = 7,
            }
        }
    };
}
pub(crate) use worker_messages;
