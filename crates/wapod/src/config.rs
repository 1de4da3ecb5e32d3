//! The configuration of a server, and the text form of its parts.
//!
//! Values only: nothing here opens a socket or reads the environment. Made by
//! the `wapod` and `wapo` commands and by tests.

mod acme;
mod handover;
mod key;
mod tls;
mod values;

use std::fmt;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use wapo_host::net::policy::{EgressDefault, EgressRule, WorkerEgress};
use wapo_host::net::proxy::Proxies;
use wapo_host::{
    Allocation, CacheKind, Compiler, DescriptorLimits, LogLine, LogRate, ModuleCacheConfig,
    PortRanges, QuotaLimits, Resolver, RestartPolicy,
};
use wapo_rpc::{AppAddress, AppManifest};
use zeroize::Zeroize as _;

use crate::attestation::AttestationSettings;
use crate::limits::{
    CONNECTIONS_MAX, DRAIN_GRACE, ON_DEMAND_TIME, QUERY_BYTES_MAX_DEFAULT, REPORT_INTERVAL, SETTLE,
    Timeouts,
};
use crate::system::Demand;
use crate::tls_files::TlsFiles;

pub use acme::AcmeSettings;
pub use handover::{HandoverPolicy, HandoverSettings, KeySource};
pub use key::{KeySecret, KeySettings, Passphrase};
pub use tls::{TlsSettings, read_trust_roots};
pub use values::ByteSize;

/// Takes every line of every app, while the guest runs: it must be quick.
pub type LogSink = Arc<dyn Fn(&AppAddress, &LogLine) + Send + Sync>;

/// How a server is set up.
#[derive(Clone)]
pub struct Config {
    /// Where the gateway listens; port 0 takes any free one.
    pub address: SocketAddr,
    /// Apps that run from the start.
    pub apps: Vec<AppConfig>,
    /// Whether the first app answers at `/` as well.
    pub root_app: bool,
    /// Linear memory of one instance at most, in bytes.
    pub memory_max_bytes: u64,
    /// Instances that may exist at a time.
    pub instances_max: u32,
    /// How linear memories are allocated.
    pub allocation: Allocation,
    /// Where compiled modules are kept; `None` for memory only.
    pub module_cache: Option<ModuleCacheConfig>,
    /// Who compiles modules (see [`crate::compile`]). The default has no limits
    /// of memory and time, and suits programs that run their own modules only.
    pub compiler: Compiler,
    /// Certificates that guests trust besides the Mozilla roots.
    pub trust_roots: Vec<CertificateDer<'static>>,
    /// Who resolves names for guests.
    pub resolver: Resolver,
    /// What apps may connect to, for all of them.
    pub egress: WorkerEgress,
    /// Who carries their connections.
    pub proxies: Proxies,
    /// Folder of everything that outlives the server; `None` for one that goes
    /// away with it, and an identity that does.
    pub data_dir: Option<PathBuf>,
    /// Where the worker's key is, and what opens it. Without effect without a data
    /// folder.
    pub key: KeySettings,
    /// How the worker's key goes from one worker to another. Without effect without a
    /// data folder.
    pub handover: HandoverSettings,
    /// The port that apps share for TLS; `None` for none.
    pub tls: Option<TlsSettings>,
    /// How certificates are got for the TLS port; `None` for not at all. Needs a data
    /// folder.
    pub acme: Option<AcmeSettings>,
    /// Where the operator's interface listens; `None` for nowhere.
    pub admin_address: Option<SocketAddr>,
    /// What the operator has to show there; `None` for nothing.
    pub admin_token: Option<AdminToken>,
    /// Certificate of the gateway; `None` for HTTP in the clear.
    pub user_tls: Option<TlsFiles>,
    /// Certificate of the operator's interface; `None` for HTTP in the clear.
    pub admin_tls: Option<TlsFiles>,
    /// Domain below which each app has a host name.
    pub base_domain: String,
    /// Proxies whose word about clients counts (`X-Forwarded-For` and the like).
    pub trusted_proxies: Vec<IpNet>,
    /// Where those proxies say by a PROXY header who a connection's client is.
    pub proxy_protocol: crate::ProxyProtocol,
    /// How long the gateway waits for clients and guests.
    pub timeouts: Timeouts,
    /// Connections to the user port at a time; see [`CONNECTIONS_MAX`]. The other ports
    /// have no more than that either.
    pub connections_max: u32,
    /// Ports that apps may listen on, unless they have their own range.
    pub listen_ports: Option<PortRanges>,
    /// Memory of all instances together, in bytes; `None` for no limit.
    pub memory_budget_bytes: Option<u64>,
    /// File descriptors that guests may hold; `None` for what the limit of open
    /// files leaves.
    pub guest_descriptors: Option<DescriptorLimits>,
    /// Quotas of each app that has none of its own; see [`crate::quotas`].
    pub quotas: QuotaLimits,
    /// Quotas of all apps together. One app gets half of what is left at most.
    pub worker_quotas: QuotaLimits,
    /// Time that an instance on demand serves.
    pub on_demand_time: Duration,
    /// One more folder of blobs, each file named by its hash; only read.
    pub blob_dir: Option<PathBuf>,
    /// Sees all log lines as they come.
    pub log_sink: Option<LogSink>,
    /// How many lines of an app's log may pass.
    pub log_rate: LogRate,
    /// Time that an instance that leaves gets for what it has begun, and requests
    /// at shutdown.
    pub drain_grace: Duration,
    /// Time that a deployment that replaces another has to stay alive before the
    /// old one leaves.
    pub settle: Duration,
    /// Time between two reports of usage, the links of the bill.
    pub usage_interval: Duration,
    /// Whether apps start only when the operator says so.
    pub safe_mode: bool,
    /// How the server proves what it runs in.
    pub attestation: AttestationSettings,
}

impl Config {
    /// What the server may need at most of what the kernel gives.
    pub fn demand(&self) -> Demand {
        Demand {
            instances_max: self.instances_max,
            connections_max: self.connections_max,
            has_tls: self.tls.is_some(),
        }
    }
}

impl Default for Config {
    /// Any free port on loopback, no app, limits as the engine has them.
    fn default() -> Self {
        let engine = wapo_host::EngineConfig::default();
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            apps: Vec::new(),
            root_app: false,
            memory_max_bytes: engine.memory_max_bytes,
            instances_max: engine.instances_max,
            allocation: engine.allocation,
            module_cache: None,
            compiler: engine.compiler,
            trust_roots: Vec::new(),
            resolver: engine.resolver,
            egress: WorkerEgress::default(),
            proxies: Proxies::default(),
            data_dir: None,
            key: KeySettings::default(),
            handover: HandoverSettings::default(),
            tls: None,
            acme: None,
            admin_address: None,
            admin_token: None,
            user_tls: None,
            admin_tls: None,
            base_domain: "localhost".to_owned(),
            trusted_proxies: Vec::new(),
            proxy_protocol: crate::ProxyProtocol::default(),
            timeouts: Timeouts::default(),
            connections_max: CONNECTIONS_MAX,
            listen_ports: None,
            memory_budget_bytes: None,
            guest_descriptors: None,
            quotas: QuotaLimits::default(),
            worker_quotas: QuotaLimits::default(),
            on_demand_time: ON_DEMAND_TIME,
            blob_dir: None,
            log_sink: None,
            log_rate: LogRate::Limited,
            drain_grace: DRAIN_GRACE,
            settle: SETTLE,
            usage_interval: REPORT_INTERVAL,
            safe_mode: false,
            attestation: AttestationSettings::default(),
        }
    }
}

/// What the operator has to show. Printed nowhere, wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(pub String);

impl Drop for AdminToken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(hidden)")
    }
}

/// An app: its code and what it may use.
#[derive(Clone)]
pub struct AppConfig {
    /// The code.
    pub module: Module,
    /// What the app reads by hash, besides what the server has: each is kept as a blob.
    pub blobs: Vec<Module>,
    /// Name for people; part of the address, so it tells equal apps apart.
    pub label: String,
    /// Program arguments after the program's name, which is the app's address.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Linear memory at most, in bytes; `None` for as much as the server allows.
    pub memory_max_bytes: Option<u64>,
    /// Gas after which the app is ended; `None` for no limit.
    pub gas_max: Option<u64>,
    /// Time after which the app is ended; `None` for no limit.
    pub time_max: Option<Duration>,
    /// Share of the CPU in competition.
    pub weight: NonZeroU32,
    /// What happens when the guest ends by itself.
    pub restart: RestartPolicy,
    /// Ports the guest may listen on; `None` for none.
    pub listen_ports: Option<PortRanges>,
    /// Keeps the app's listeners on loopback, whatever address it names.
    pub listen_on_loopback: bool,
    /// Addresses besides public ones that the guest may connect to.
    pub egress: Vec<EgressRule>,
    /// Addresses that it may not connect to, whatever the rules above say.
    pub egress_deny: Vec<EgressRule>,
    /// What it may connect to where no rule says anything.
    pub egress_default: EgressDefault,
    /// Bytes of path and payload of a query at most.
    pub query_max_bytes: u32,
    /// Whether host calls are logged.
    pub trace_calls: bool,
    /// Quotas of its own; see [`crate::quotas`].
    pub quotas: QuotaLimits,
    /// Whether the server ends TLS for its names at the shared port with a certificate
    /// that attests the app.
    pub attested: bool,
}

impl AppConfig {
    /// An app without arguments that may use what the server allows, listen on
    /// no port, connect to public addresses, and stays ended when it ends.
    pub fn new(module: Module) -> Self {
        Self {
            module,
            blobs: Vec::new(),
            label: String::new(),
            args: Vec::new(),
            env: Vec::new(),
            memory_max_bytes: None,
            gas_max: None,
            time_max: None,
            weight: NonZeroU32::MIN,
            restart: RestartPolicy::Never,
            listen_ports: None,
            listen_on_loopback: false,
            egress: Vec::new(),
            egress_deny: Vec::new(),
            egress_default: EgressDefault::Public,
            query_max_bytes: QUERY_BYTES_MAX_DEFAULT,
            trace_calls: false,
            quotas: QuotaLimits::default(),
            attested: false,
        }
    }

    /// The manifest, from which the app's address follows.
    pub fn manifest(&self) -> AppManifest {
        AppManifest {
            version: AppManifest::VERSION,
            code_hash: self.module.hash(),
            args: self.args.clone(),
            env_vars: self.env.clone(),
            on_demand: false,
            resizable: false,
            max_query_size: self.query_max_bytes,
            label: self.label.clone(),
            required_blobs: required(&self.blobs),
        }
    }
}

/// Blobs as a manifest requires them.
fn required(blobs: &[Module]) -> Vec<(String, String)> {
    let names = blobs.iter().map(|blob| (blob.hash(), String::new()));
    names.collect()
}

/// Code of an app. Clones share the bytes, and the hash is computed once.
#[derive(Clone)]
pub struct Module(Arc<ModuleContent>);

struct ModuleContent {
    wasm: Vec<u8>,
    sha256: [u8; 32],
}

impl Module {
    /// Takes the bytes of a wasm file; nothing is checked yet.
    pub fn new(wasm: Vec<u8>) -> Self {
        let sha256 = Sha256::digest(&wasm).into();
        Self(Arc::new(ModuleContent { wasm, sha256 }))
    }

    /// Takes bytes whose sha256 is known.
    pub(crate) fn with_hash(wasm: Vec<u8>, sha256: [u8; 32]) -> Self {
        Self(Arc::new(ModuleContent { wasm, sha256 }))
    }

    /// Reads a file. Blocks.
    ///
    /// # Errors
    ///
    /// [`ModuleError`] naming the file, and what to do when it is no wasm.
    pub fn read(path: &Path) -> Result<Self, ModuleError> {
        let wasm = std::fs::read(path).map_err(|error| ModuleError::Read {
            path: path.to_owned(),
            error: error.to_string(),
        })?;
        if !wasm.starts_with(b"\0asm") {
            return Err(ModuleError::NotWasm {
                path: path.to_owned(),
            });
        }
        Ok(Self::new(wasm))
    }

    /// The bytes.
    pub fn wasm(&self) -> &[u8] {
        &self.0.wasm
    }

    /// The hash as manifests have it: `sha256:<hex>`.
    pub fn hash(&self) -> String {
        format!("sha256:{}", hex::encode(self.0.sha256))
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({}, {} bytes)", self.hash(), self.wasm().len())
    }
}

/// A file that is no module.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModuleError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
    /// It is something else.
    #[error(
        "{} is not a wasm file: it does not start with `\\0asm`. Build the program for wasm32-wasip1 and pass the .wasm file",
        path.display()
    )]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
}

/// Opens a folder for compiled modules that several programs share, with a key
/// of its own that is made when there is none. Blocks.
///
/// # Errors
///
/// The folder cannot be written, or the key in it is damaged.
pub fn module_cache(dir: PathBuf) -> io::Result<ModuleCacheConfig> {
    let path = dir.join("key");
    std::fs::create_dir_all(&dir)?;
    if !path.exists() {
        // Another program may make it at the same time: the first whole one counts.
        // Only the owner may read it: the holder of the key can have code executed.
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&dir)?;
        file.write_all(&rand::random::<[u8; 32]>())?;
        match file.persist_noclobber(&path) {
            Err(taken) if taken.error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(taken.error);
            }
            _ => {}
        }
    }
    let key = std::fs::read(&path)?;
    let key = key.try_into().map_err(|_| {
        io::Error::other(format!("{} is damaged: delete the folder", path.display()))
    })?;
    let kind = CacheKind::Shared {
        bytes_max: crate::compile::SHARED_CACHE_BYTES_MAX,
    };
    Ok(ModuleCacheConfig { dir, key, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_tells_equal_apps_apart() {
        let one = AppConfig::new(Module::new(b"\0asm".to_vec()));
        let other = AppConfig {
            label: "other".into(),
            ..one.clone()
        };
        assert_eq!(one.manifest().address(), one.clone().manifest().address());
        assert_ne!(one.manifest().address(), other.manifest().address());
    }

    #[test]
    fn the_key_of_a_cache_is_kept_and_private() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = folder.path().join("modules");
        let first = module_cache(dir.clone()).expect("made");
        let second = module_cache(dir.clone()).expect("read");
        assert_eq!(first.key, second.key);
        let raced = folder.path().join("raced");
        let open = |_| {
            std::thread::spawn({
                let dir = raced.clone();
                move || module_cache(dir).expect("whole").key
            })
        };
        let keys: Vec<_> = (0..8).map(open).collect();
        let keys: Vec<_> = keys
            .into_iter()
            .map(|key| key.join().expect("no panic"))
            .collect();
        assert!(
            keys.windows(2).all(|two| two[0] == two[1]),
            "programs that start at once"
        );
        let mode = std::fs::metadata(dir.join("key"))
            .expect("file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(dir.join("key"), b"short").expect("write");
        assert!(module_cache(dir).is_err());
    }

    #[test]
    fn files_that_are_no_modules_are_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("app.wasm");
        let missing = Module::read(&path).expect_err("missing").to_string();
        assert!(missing.contains("cannot read") && missing.contains("app.wasm"));
        std::fs::write(&path, b"#!/bin/sh").expect("write");
        let text = Module::read(&path).expect_err("text").to_string();
        assert!(text.contains("app.wasm is not a wasm file"), "{text}");
        assert!(
            read_trust_roots(&path)
                .expect_err("pem")
                .contains("no certificate")
        );
    }
}
