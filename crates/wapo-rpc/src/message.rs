//! The messages of the interface.
//!
//! Field numbers are public and never change; fields of ours start at 100. The
//! order of the fields in a struct is their order in JSON. Read and written by
//! `encoding`.

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::hexbytes;

/// Arguments of `User.Query`.
#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryArgs {
    /// Address of the app, 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hexbytes")]
    pub address: Vec<u8>,
    /// What is asked; opaque to the worker.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Argument bytes; opaque to the worker.
    #[prost(bytes = "vec", tag = "3")]
    #[serde(with = "hexbytes")]
    pub payload: Vec<u8>,
    /// An encoded optional signature; empty when the query is not signed.
    #[prost(bytes = "vec", tag = "4")]
    #[serde(with = "hexbytes")]
    pub encoded_signature: Vec<u8>,
}

/// Answer to `User.Query`.
#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryResponse {
    /// What the app answered.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hexbytes")]
    pub output: Vec<u8>,
}

/// Body of an answer that reports a failure, in protobuf mode.
#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorMessage {
    /// What was wrong, for a person.
    #[prost(string, tag = "1")]
    pub message: String,
}

/// Answer to `User.Info`: the worker at a glance.
#[derive(Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerInfo {
    /// Public key of the worker.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hexbytes")]
    pub pubkey: Vec<u8>,
    /// Number of apps.
    #[prost(uint64, tag = "2")]
    pub deployed_apps: u64,
    /// Number of instances that run.
    #[prost(uint64, tag = "3")]
    pub running_instances: u64,
    /// Number of engine contexts that are alive.
    #[prost(uint64, tag = "9")]
    pub vm_instances: u64,
    /// Instances that may run at a time.
    #[prost(uint64, tag = "4")]
    pub max_instances: u64,
    /// Memory that one instance may have, in bytes.
    #[prost(uint64, tag = "5")]
    pub instance_memory_size: u64,
    /// The worker's session; empty when there is none.
    #[prost(bytes = "vec", tag = "6")]
    #[serde(with = "hexbytes")]
    pub session: Vec<u8>,
    /// Memory of the worker.
    #[prost(message, optional, tag = "7")]
    pub memory_usage: Option<MemoryUsage>,
    /// State of the compiler; for operators only.
    #[prost(message, optional, tag = "8")]
    pub module_loader_info: Option<ModuleLoaderInfo>,
    /// Ports that guests may listen on, as `A-B`; empty for none.
    #[prost(string, tag = "10")]
    pub tcp_listen_port_range: String,
    /// Address of the app that measures the worker; empty when there is none.
    #[prost(bytes = "vec", tag = "11")]
    #[serde(with = "hexbytes")]
    pub bench_app_address: Vec<u8>,
    /// Instances of that app.
    #[prost(uint64, tag = "12")]
    pub bench_app_instances: u64,
}

/// Memory of a worker, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUsage {
    /// Allocated by the worker's own code.
    #[prost(uint64, tag = "1")]
    pub rust_used: u64,
    /// Most ever allocated by the worker's own code.
    #[prost(uint64, tag = "2")]
    pub rust_peak: u64,
    /// Most allocated since the last question.
    #[prost(uint64, tag = "3")]
    pub rust_spike: u64,
    /// Resident memory of the process.
    #[prost(uint64, tag = "4")]
    pub used: u64,
    /// Most address space the process ever had.
    #[prost(uint64, tag = "5")]
    pub peak: u64,
    /// Free memory of the machine.
    #[prost(uint64, tag = "6")]
    pub free: u64,
}

/// State of a worker's compiler.
#[derive(Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[serde(default)]
pub struct ModuleLoaderInfo {
    /// Modules that are compiled at a time.
    #[prost(uint32, tag = "1")]
    pub max_compilation_tasks: u32,
    /// Modules that may wait.
    #[prost(uint32, tag = "2")]
    pub queue_cap: u32,
    /// Modules that wait.
    #[prost(uint32, tag = "3")]
    pub queue_used: u32,
    /// Compiled modules that are kept.
    #[prost(uint32, tag = "4")]
    pub cache_cap: u32,
    /// Compiled modules that are there.
    #[prost(uint32, tag = "5")]
    pub cache_used: u32,
    /// Modules that somebody waits for.
    #[prost(uint32, tag = "6")]
    pub compiling_handles_len: u32,
    /// Modules that are being compiled.
    #[prost(uint32, tag = "7")]
    pub compiling_tasks: u32,
}
