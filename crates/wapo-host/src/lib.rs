//! Runs Wapo guests on wasmtime.
//!
//! The host takes a wasm module and gives it everything the contract
//! ([`wapo_abi`]) promises: sockets, timers, channels, TLS, WASI, within limits
//! of memory, CPU and network, metered. It knows no HTTP server, no RPC, no
//! keys, no configuration file and no environment variable: what it cannot know
//! it asks of its [`Embedder`].
//!
//! # The life of an instance
//!
//! 1. [`Engine::load`] compiles a module, or finds it compiled ([`Program`]).
//! 2. [`Engine::start`] spawns a task that owns the wasmtime store, and returns
//!    an [`InstanceHandle`].
//! 3. The task instantiates the module and polls its export whenever a waker
//!    fired or a request arrived (`drive`). Host calls enter through `calls`.
//! 4. A guest that burns its slice is suspended and gets in line again; one that
//!    keeps doing so continues on low-priority threads (`schedule`).
//! 5. The guest ends, or is stopped within a slice; fuel is settled, handles are
//!    closed, and [`RestartPolicy`] decides whether it starts again (`supervise`).

mod budget;
mod bulk;
mod calls;
mod compiler;
mod compute;
mod connections;
mod context;
mod control;
mod descriptors;
mod drive;
pub mod embedder;
pub mod engine;
mod externref;
mod guest_abi;
mod halt;
mod host_memory;
mod http_head;
pub mod instance;
mod intake;
pub mod limits;
pub mod line;
mod load_error;
mod logs;
mod memory;
mod memory_image;
mod memory_pool;
pub mod meter;
mod module_cache;
mod module_files;
pub mod net;
mod notices;
mod output;
mod pace;
mod poll_abi;
mod precheck;
pub mod quotas;
mod request;
mod resource;
mod schedule;
mod stack;
mod stack_account;
mod state;
pub mod steps;
mod supervise;
mod trap;
mod turn;
mod wake;
mod wasi;

pub use budget::BudgetUsage;
pub use compiler::{ChildCompiler, Compiler, compile_child};
pub use descriptors::DescriptorLimits;
pub use embedder::{
    Accepted, AcceptedIo, BoxFuture, Denial, Embedder, InstanceId, LiveTls, LogLine, LogSource,
    SniIdentity, SniListener, SniRequest,
};
pub use engine::{Allocation, Engine, EngineConfig, EngineError, runtime_builder};
pub use host_memory::MemoryCharge;
pub use http_head::{HttpAnswer, RequestHead, ResponseHead};
pub use instance::{
    ExitReason, InstanceConfig, InstanceHandle, ListenAddress, Phase, RestartPolicy, Status,
};
pub use intake::{HttpCall, HttpExchange, PendingResponse, Reservation};
pub use line::LineText;
pub use load_error::LoadError;
pub use logs::LogRate;
pub use meter::{EgressRefusals, Meter, Usage};
pub use module_cache::{CompilerLoad, LoadFor, Program, WeakProgram};
pub use module_files::{CacheKind, ModuleCacheConfig};
pub use net::body::{BodyReader, BodyStream, BodyWriter, Trailers};
pub use net::dns::Resolver;
pub use net::machine::Machine;
pub use net::names::NameShare;
pub use net::policy::{
    AppEgress, Denied, DenyReason, EgressDefault, EgressPolicy, EgressRule, EgressRules, RuleError,
    RuleSet, WorkerEgress,
};
pub use net::port_ranges::PortRanges;
pub use net::proxy::{Proxies, Proxy, ProxyError};
pub use net::read_ahead::ReadAhead;
pub use quotas::{DormantQuotas, GasQuota, QuotaKind, QuotaLimits, QuotaReading, Quotas};
pub use request::RequestError;
pub use schedule::{SchedulingHistory, Weight};
