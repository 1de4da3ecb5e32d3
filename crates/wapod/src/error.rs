//! Errors of the worker, independent of HTTP.
//!
//! [`StartError`] and [`AppError`] are for the operator who starts a server or an app.
//! [`WorkerError`] is about one request; `api::error` maps it to answers, and
//! nothing in it tells a remote client about the inside of a guest.

use std::net::SocketAddr;
use std::path::PathBuf;

use wapo_host::quotas::OverQuota;
use wapo_host::{GasQuota, LoadError, RequestError};
use wapo_rpc::AppAddress;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The engine cannot be set up with these limits.
    #[error("cannot set up the engine: {0}")]
    Engine(String),
    /// A root app was asked for and there is none.
    #[error("no app is the root app, to be served at `/`")]
    NoRootApp,
    /// A file or folder cannot be used.
    #[error("cannot use {}: {error}", path.display())]
    DataDir {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Two daemons with one folder would overwrite each other's state.
    #[error("another daemon uses {}: stop it, or choose another folder with --data-dir", .0.display())]
    DataDirInUse(PathBuf),
    /// The folder cannot be kept from other daemons.
    #[error(
        "cannot lock {}: {error}. Without file locks two daemons could overwrite each other's state; under Gramine they are switched on by `sys.experimental__enable_flock = true` in the manifest",
        path.display()
    )]
    NoLocks {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The owner of the folder decides what is in it.
    #[error(
        "{} belongs to user {owner}, and this process runs as {ours}: `chown -R {ours}` it, or choose another folder with --data-dir",
        path.display()
    )]
    DataDirOfOther {
        /// The folder.
        path: PathBuf,
        /// Number of its owner.
        owner: u32,
        /// Number of the user of this process.
        ours: u32,
    },
    /// The file of the worker's key holds something else.
    #[error(
        "{} is not the key of a worker: {reason}. Put the right file back from a backup; without it the worker would be another one",
        path.display()
    )]
    KeyDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of the key was named by the operator, and others can read it.
    #[error(
        "others can use {} (mode {mode:o}): `chmod 600` it, and consider whether one of them has read the worker's key",
        path.display()
    )]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file of the key is closed with a secret that was not given.
    #[error(
        "{} is closed with a passphrase: give it with --key-passphrase-file, --key-command or WAPOD_KEY_PASSPHRASE",
        .0.display()
    )]
    KeyLocked(PathBuf),
    /// The file of the key is closed with another secret.
    #[error(
        "the passphrase does not open {}, or the file is damaged. It was left as it is",
        .0.display()
    )]
    KeySecret(PathBuf),
    /// The program that prints what opens the key has not.
    #[error("--key-command gives no passphrase: {0}")]
    KeyCommand(String),
    /// The store cannot be read.
    #[error(
        "the worker's state in {} cannot be read: {reason}. It was left as it is: put back a backup with `wapod restore`, or move the file away to begin without apps",
        path.display()
    )]
    StoreDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The store is of a later version of the daemon.
    #[error(
        "the worker's state in {} was written by a newer wapod: {reason}. It was left as it is: start that version again, or put back a backup from before",
        path.display()
    )]
    StoreNewer {
        /// The file.
        path: PathBuf,
        /// What is newer.
        reason: String,
    },
    /// The store cannot be written.
    #[error("{0}")]
    Store(String),
    /// Access from other machines without a token.
    #[error(
        "the admin address {0} can be reached from other machines: set a token (WAPOD_ADMIN_TOKEN or --admin-token-file), or use a loopback address"
    )]
    OpenAdmin(SocketAddr),
    /// Access from other machines in the clear.
    #[error(
        "the admin address {0} can be reached from other machines, and without TLS the token can be read on the way: give the port a certificate (--admin-tls CERTIFICATE,KEY), or use a loopback address, which `ssh -L` or a proxy on this machine makes reachable"
    )]
    PlainAdmin(SocketAddr),
    /// No other worker has handed over its key.
    #[error("no key was taken over from {url} (--key-from), and none was made: {reason}")]
    KeyHandover {
        /// Where it was asked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Hardware that attests, or the simulator of it, cannot be set up.
    #[error("{0}")]
    Attestation(String),
    /// Certificates cannot be got.
    #[error("ACME cannot be set up: {0}")]
    Acme(String),
    /// A certificate cannot be used.
    #[error("the {port} port cannot speak TLS: {reason}")]
    Tls {
        /// Which port.
        port: &'static str,
        /// What is wrong, with the file.
        reason: String,
    },
    /// Apps could not have names below it.
    #[error(
        "`{0}` is not a domain that host names can be below: write one such as apps.example.com"
    )]
    BadBaseDomain(String),
    /// One of the apps.
    #[error(transparent)]
    App(#[from] AppError),
}

/// Why an app was not deployed or changed. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Its code cannot be run.
    #[error("{0}")]
    Load(String),
    /// Blobs that it needs are not here.
    #[error("Wasm code not found or required blobs missing: put {} first", .0.join(", "))]
    MissingBlobs(Vec<String>),
    /// A blob could not be stored.
    #[error("{0}")]
    Blob(String),
    /// The same app is deployed already.
    #[error("app already exists: {0} is deployed; another label makes it a different app")]
    AlreadyExists(AppAddress),
    /// More apps than a worker can have.
    #[error("the worker has {0} apps already, which is the maximum: remove one first")]
    TooMany(usize),
    /// More memory than any instance may have.
    #[error("the app asks for {asked} bytes of memory, instances may have {max}")]
    TooMuchMemory {
        /// What the app asks for.
        asked: u64,
        /// What the server allows.
        max: u64,
    },
    /// More on disk than its quota.
    #[error(
        "the app's blobs have {asked} bytes, and its quota of storage is {max}: give it a larger one (`storage`), or fewer blobs"
    )]
    TooMuchStorage {
        /// What the app has.
        asked: u64,
        /// Its quota.
        max: u64,
    },
    /// A quota that cannot be read.
    #[error("no quota was changed: {0}")]
    BadQuota(String),
    /// Ports that apps of this worker may not have.
    #[error("the app asks for the ports {asked}, the worker's apps may have {allowed}")]
    PortsOutside {
        /// What the app asks for.
        asked: String,
        /// What the server allows.
        allowed: String,
    },
    /// A rule for outgoing connections that cannot be read.
    #[error("{0}")]
    BadRule(String),
    /// No label of a host name.
    #[error("{0}")]
    BadName(String),
    /// Another app has the name.
    #[error(
        "the name `{0}` belongs to another app: remove that one, replace it, or choose another name"
    )]
    NameTaken(String),
    /// There is no such app.
    #[error("app not found: {0}")]
    NotFound(AppAddress),
    /// Requests start such an app.
    #[error("on-demand app cannot be started directly: send it a request")]
    OnDemand,
    /// One instance at most.
    #[error(
        "{0} was deployed without --resizable (`resizable` in its manifest) and has one instance at most: deploy it again with it"
    )]
    NotResizable(String),
    /// The first instance ended instead of running.
    #[error("instance stopped unexpectedly: {0}")]
    DidNotStart(wapo_host::ExitReason),
    /// New instances run, and something is missing that others had.
    #[error("the app is not ready: {0}")]
    NotReady(String),
    /// An app that was to take the place of another did not prove itself.
    #[error("the old app was left as it was, because the new one {0}")]
    NotReplaced(String),
    /// Another change of the same app takes its time.
    #[error("another operation is changing the app: try again")]
    Changing,
    /// All slots are taken.
    #[error(
        "No available slots: stop another app, or start the worker with a larger --max-instances"
    )]
    NoSlot,
    /// Its quota of gas is used up.
    #[error("the app has used up its gas ({0}): {remedy}", remedy = more_gas(.0))]
    GasUsedUp(GasQuota),
    /// All apps together would have more on disk than they may.
    #[error("{0}: remove apps, or give the worker more")]
    TooMuchStorageOfAll(OverQuota),
    /// A secret that cannot be one.
    #[error("the secret was not set: {0}")]
    BadSecret(&'static str),
    /// Something that must not or cannot be done.
    #[error("{0}")]
    Refused(String),
    /// The state could not be written; nothing has changed.
    #[error("{0}")]
    Store(String),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Interrupted,
}

impl From<LoadError> for AppError {
    fn from(error: LoadError) -> Self {
        Self::Load(error.to_string())
    }
}

/// What gives an app gas again.
fn more_gas(used_up: &GasQuota) -> &'static str {
    match used_up {
        GasQuota::OfApp(_) => "raise its quota (`gas`), or deploy it again, and it starts",
        GasQuota::OfAll(_) => "give the worker more (`gas` of all apps), or remove apps",
    }
}

impl From<WorkerError> for AppError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::NoSlot => Self::NoSlot,
            WorkerError::GasUsedUp(max) => Self::GasUsedUp(max),
            error => Self::Load(error.to_string()),
        }
    }
}

/// Why a request to an app failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("App not found")]
    AppNotFound,
    #[error("the app is not running")]
    AppNotRunning,
    #[error("the app takes no requests of this kind at present")]
    NotTaken,
    #[error("the app is busy")]
    Busy,
    #[error("the app could not be started in time")]
    NotStarted,
    #[error("the app did not answer in time")]
    Timeout,
    #[error("the app gave no answer")]
    NoAnswer,
    #[error("the app gave an invalid answer")]
    InvalidAnswer,
    #[error("{0}")]
    App(String),
    #[error("query size exceeds the limit of {max} bytes")]
    QueryTooLarge { max: u32 },
    #[error(transparent)]
    BadAddress(#[from] wapo_rpc::AddressError),
    #[error("failed to verify the signature: {0}")]
    BadSignature(#[from] wapo_crypto::query_signature::QuerySignatureError),
    #[error("{0}")]
    BadEnvelope(String),
    #[error("failed to load module: {0}")]
    Code(String),
    #[error("No available slots")]
    NoSlot,
    #[error("the worker is in safe mode: requests start no app")]
    SafeMode,
    #[error("the app has used up its gas")]
    GasUsedUp(GasQuota),
}

impl From<wapo_crypto::envelope::EnvelopeError> for WorkerError {
    fn from(error: wapo_crypto::envelope::EnvelopeError) -> Self {
        Self::BadEnvelope(format!("failed to decrypt the payload: {error}"))
    }
}

impl From<RequestError> for WorkerError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Busy => Self::Busy,
            RequestError::NotListening => Self::NotTaken,
            RequestError::Ended => Self::AppNotRunning,
            RequestError::NoAnswer => Self::NoAnswer,
            RequestError::App(text) => Self::App(text),
            RequestError::InvalidAnswer => Self::InvalidAnswer,
        }
    }
}
