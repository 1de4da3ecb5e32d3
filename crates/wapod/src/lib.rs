//! The Wapo daemon, as a library.
//!
//! [`Server::start`] runs apps and serves them over HTTP; the `wapod` program,
//! `wapo run` and the tests all go through it. With a data folder, everything
//! outlives the process; without one, nothing does.
//!
//! # The rooms
//!
//! * [`config`]: what a server is started with. `data_dir`, `store`, `blobs`,
//!   `boot_data`: what it keeps on disk.
//! * `worker`: the apps; lets requests in (`admit`) and apps out (`retire`).
//!   Knows no HTTP.
//! * `edge`: whose names are, and the TLS port that apps share.
//! * `api`: the user port. `api::error` is the only place where an error becomes
//!   an answer.
//! * `attestation`: quotes of the hardware.
//! * `identity`: the secret key lives here and nowhere else.
//! * [`mistakes`]: words for what is wrong with a setting.
//! * [`javascript`]: the engine of JavaScript apps.
//! * `fuzz`: what fuzzers call.
//! * [`signals`], `watchdog`: threads that work when the runtime does not.
//! * [`backup`]: data folders in a file, while no daemon runs. [`system`]: what
//!   the machine has to give.
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use wapod::{AppConfig, Config, Module, Server};
//!
//! let module = Module::read("hello.wasm".as_ref())?;
//! let running = Server::start(Config {
//!     apps: vec![AppConfig::new(module)],
//!     root_app: true,
//!     ..Config::default()
//! })
//! .await?;
//! println!("http://{}/", running.user_address());
//! tokio::signal::ctrl_c().await?;
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod acme;
mod api;
mod attestation;
pub mod backup;
mod blobs;
mod boot_data;
pub mod compile;
pub mod config;
mod data_dir;
mod edge;
mod error;
mod identity;
pub mod javascript;
pub mod limits;
mod logs;
pub mod mistakes;
mod proxy_protocol;
pub mod quotas;
mod reserve;
mod server;
pub mod signals;
mod store;
pub mod system;
mod tls_files;
mod watchdog;
mod web_client;
mod worker;

#[doc(hidden)]
pub use api::fuzz;
pub use attestation::{AttestationMode, AttestationSettings};
pub use config::{
    AcmeSettings, AdminToken, AppConfig, ByteSize, Config, LogSink, Module, ModuleError,
    TlsSettings,
};
pub use data_dir::is_new;
pub use error::{AppError, StartError};
pub use logs::{LogEvent, LogReader};
pub use proxy_protocol::ProxyProtocol;
pub use quotas::QuotaList;
pub use server::{LastSave, Running, Server};
pub use signals::{Signals, StopCause};
pub use store::STORE_THREAD;
pub use tls_files::TlsFiles;
pub use wapo_abi::message::LogLevel;
pub use wapo_host::net::address::special_range;
pub use wapo_host::net::policy::{
    AppEgress, EgressDefault, EgressPolicy, EgressRule, EgressRules, Host, RuleError, RuleSet,
    WorkerEgress,
};
pub use wapo_host::net::proxy::{Proxies, Proxy, ProxyError};
pub use wapo_host::{
    Allocation, BudgetUsage, CacheKind, ChildCompiler, Compiler, DescriptorLimits, ExitReason,
    ListenAddress, LogLine, LogRate, LogSource, ModuleCacheConfig, Phase, PortRanges, QuotaKind,
    QuotaLimits, Resolver, RestartPolicy, Status, Usage, runtime_builder,
};
pub use wapo_rpc::AppAddress;
pub use worker::AppHandle;
