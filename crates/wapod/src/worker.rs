//! The worker: its apps, their instances, its session, and usage.
//!
//! Independent of HTTP. A request is let in by [`Worker::admit`], which gives a
//! [`Lease`] on an instance, and ends when the lease is dropped. An instance ends
//! through `drain` and `retire` only, an app through `remove`, a replacement or a
//! deployment that fails. Locks are held for a look into a table, never while
//! anything is awaited.
//!
//! * `active`, `app`, `app_context`, `app_quotas`, `instance`, `instances`, `code`, `compiled`,
//!   `channel`, `seats`, `lease`: apps, starts and ends of instances, requests;
//! * `deploy`, `offers`, `ready`, `lifecycle`, `blob_sizes`, `names`, `domains`, `claims`, `ports`,
//!   `secrets`: operations on apps, and what apps share;
//! * `ledger`, `books`, `usage`, `chain`, `reports`, `session`, `statements`: the bill;
//! * `attester`, `collateral`, `proofs`, `app_evidence`, `attested`, `key_versions`: what the
//!   worker can prove;
//! * `handovers`, `handover`: the worker's key goes to another worker, or comes from one;
//! * `changes`, `look`: which apps have changed since a client asked;
//! * `info`: the worker at a glance; `query`: queries to apps; `app_settings`, `egress`:
//!   settings that change while an app runs.

mod active;
mod app;
mod app_context;
mod app_evidence;
mod app_handle;
mod app_quotas;
mod app_settings;
mod attested;
mod attester;
mod blob_sizes;
mod books;
mod chain;
mod changes;
mod channel;
mod claims;
mod clock;
mod code;
mod collateral;
mod compiled;
mod condition;
mod deploy;
mod domains;
mod egress;
mod embedder;
mod guest_evidence;
mod handover;
mod handovers;
mod info;
mod instance;
mod instances;
mod key_versions;
mod latency;
mod lease;
mod ledger;
mod lifecycle;
mod look;
mod names;
mod offers;
mod ports;
mod proofs;
mod query;
mod ready;
mod reports;
mod seats;
mod secrets;
mod session;
mod statements;
#[cfg(test)]
mod testing;
mod usage;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Notify, Semaphore};
use wapo_host::{Engine, ExitReason, InstanceId, LogRate, PortRanges, WorkerEgress};
use wapo_rpc::AppAddress;

use active::ActiveApps;
pub(crate) use app::{App, Prospect};
use app_context::AppContext;
pub use app_handle::AppHandle;
pub(crate) use app_settings::SettingsChange;
pub(crate) use attester::{Attester, EvidenceError};
use books::Books;
use chain::{Chain, Scope};
use changes::Changes;
pub(crate) use changes::{Listing, LookTurn, Since};
pub(crate) use channel::Channel;
pub(crate) use clock::{unix_ms, unix_ms_of, unix_s};
pub(crate) use deploy::{Deployment, Name};
pub(crate) use domains::PemIdentity;
pub(crate) use egress::EgressTexts;
pub(crate) use guest_evidence::{AppQuotes, AttestedTls};
pub(crate) use handover::{Received, receive};
use handovers::Handovers;
pub(crate) use instance::Instance;
pub(crate) use latency::BOUNDS_US;
pub(crate) use lease::Lease;
pub(crate) use ledger::Ledger;
pub(crate) use ports::{Family, Ports};
pub(crate) use query::{Answered, Query};
pub(crate) use seats::Seat;
pub(crate) use session::Session;

use crate::blobs::BlobFolder;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::edge::Edge;
use crate::error::StartError;
use crate::identity::Identity;
use crate::limits::{DRAIN_LOOK_INTERVAL, STOP_WAIT};
use crate::quotas::WorkerQuotas;
use crate::store::{BenchRecord, Contents, DepartedRecord, Store};
use crate::watchdog::Stalls;

/// What an app may have at most, as the operator decided.
#[derive(Clone, Debug)]
pub(crate) struct WorkerLimits {
    /// Bytes of linear memory of one instance.
    pub(crate) memory_max_bytes: u64,
    pub(crate) instances_max: u32,
    /// Memory of all instances together; `None` for no limit.
    pub(crate) memory_budget_bytes: Option<u64>,
    /// Ports that apps may listen on.
    pub(crate) listen_ports: Option<PortRanges>,
    /// Proxies whose PROXY headers ports of apps take.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// Time that an instance on demand serves.
    pub(crate) on_demand_time: Duration,
    pub(crate) log_rate: LogRate,
    /// Time that an instance that leaves gets for what it has begun.
    pub(crate) drain_grace: Duration,
    /// Time that a new version has to stay alive before the old one leaves.
    pub(crate) settle: Duration,
    /// Time for an app to answer a query.
    pub(crate) query_time: Duration,
}

impl WorkerLimits {
    fn new(config: &Config) -> Self {
        Self {
            memory_max_bytes: config.memory_max_bytes,
            instances_max: config.instances_max,
            memory_budget_bytes: config.memory_budget_bytes,
            listen_ports: config.listen_ports.clone(),
            trusted_proxies: match config.proxy_protocol.apps {
                true => config.trusted_proxies.clone().into(),
                false => Arc::default(),
            },
            on_demand_time: config.on_demand_time,
            log_rate: config.log_rate,
            drain_grace: config.drain_grace,
            settle: config.settle,
            query_time: config.timeouts.query,
        }
    }
}

/// Everything that the worker of one server owns.
pub(crate) struct Worker {
    pub(crate) engine: Engine,
    pub(crate) identity: Arc<Identity>,
    pub(crate) session: Arc<Session>,
    pub(crate) blobs: BlobFolder,
    pub(crate) limits: WorkerLimits,
    /// The worker's part of every app's egress policy.
    egress: Arc<WorkerEgress>,
    pub(crate) quotas: Arc<WorkerQuotas>,
    store: Arc<Store>,
    /// What the apps share of all this.
    context: Arc<AppContext>,
    apps: RwLock<HashMap<AppAddress, Arc<App>>>,
    active: ActiveApps,
    changes: Changes,
    pub(crate) edge: Arc<Edge>,
    pub(crate) attester: Arc<Attester>,
    handovers: Handovers,
    /// One change of the versions of keys at a time.
    rotating: tokio::sync::Mutex<()>,
    /// Told when attested certificates are to be looked at before their time.
    attested_changed: Notify,
    ports: Arc<Ports>,
    root: RwLock<Option<Arc<App>>>,
    departed: RwLock<BTreeMap<u64, DepartedRecord>>,
    bench: Mutex<BenchRecord>,
    next_serial: AtomicU64,
    slots: Arc<Semaphore>,
    books: Books,
    chain: Chain,
    /// Apps that have left and whose last usage could not be written yet.
    left_over: Mutex<Vec<Arc<App>>>,
    usage_changed: Notify,
    is_ready: AtomicBool,
    /// Set when the daemon ends: nothing is started any more.
    is_closing: AtomicBool,
    /// Whether apps start only when the operator says so.
    pub(crate) is_safe_mode: bool,
    /// When the runtime stood still.
    pub(crate) stalls: Arc<Stalls>,
    /// Given back when the worker is closed.
    data: Mutex<Option<DataDir>>,
}

impl Worker {
    /// Puts the worker together from what the store has. Nothing runs yet.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) async fn open(
        engine: Engine,
        identity: Identity,
        data: DataDir,
        (store, mut contents): (Store, Contents),
        edge: Arc<Edge>,
        config: &Config,
    ) -> Result<Arc<Self>, StartError> {
        // Two deployments may have written their numbers in either order.
        let apps = contents.apps.iter().map(|app| app.serial);
        let known = apps.chain(contents.departed.keys().copied()).max();
        let next_serial = contents.next_serial.max(known.map_or(0, |last| last + 1));
        let store = Arc::new(store);
        // Before time goes on, and would be counted for them.
        let settled = contents.settle_departed();
        if !settled.is_empty() {
            let written = store.commit(settled).await;
            written.map_err(|error| StartError::Store(error.to_string()))?;
        }
        let session = Session::open(Arc::clone(&store), contents.session.take()).await;
        let session = session.map_err(|error| StartError::Store(error.to_string()))?;
        let books = Books::new(Arc::clone(&store));
        let keys = std::mem::take(&mut contents.key_versions);
        let keeps = (Arc::new(identity), Arc::new(session), keys);
        let context = Arc::new(AppContext::new(config, &data, keeps, edge)?);
        let worker = Arc::new(Self {
            engine,
            identity: Arc::clone(&context.identity),
            session: Arc::clone(&context.session),
            blobs: context.blobs.clone(),
            limits: WorkerLimits::new(config),
            egress: Arc::new(config.egress.clone()),
            quotas: Arc::clone(&context.quotas),
            store,
            apps: RwLock::default(),
            active: ActiveApps::default(),
            changes: Changes::default(),
            edge: Arc::clone(&context.edge),
            attester: Arc::clone(&context.attester),
            handovers: Handovers::new(config.handover.to.clone()),
            rotating: tokio::sync::Mutex::default(),
            attested_changed: Notify::new(),
            ports: Arc::clone(&context.ports),
            context,
            root: RwLock::default(),
            departed: RwLock::new(contents.departed),
            bench: Mutex::new(contents.bench),
            next_serial: AtomicU64::new(next_serial),
            slots: Arc::new(Semaphore::new(config.instances_max as usize)),
            books,
            chain: Chain::new(contents.chain, config.usage_interval),
            left_over: Mutex::default(),
            usage_changed: Notify::new(),
            is_ready: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            is_safe_mode: config.safe_mode,
            stalls: Arc::default(),
            data: Mutex::new(Some(data)),
        });
        worker.adopt(contents.apps, &contents.usage, &mut contents.secrets);
        Ok(worker)
    }

    /// Starts what should run, nothing in safe mode, and keeps the books from now on.
    pub(crate) fn run(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let starting = Arc::clone(self);
        // Looked up here: what is deployed from now on starts by itself.
        let adopted = self.apps();
        if self.is_safe_mode {
            // At once: nobody sees an app that is about to start.
            let stopped = |app: &Arc<App>| app.state().last_end = Some(ExitReason::Stopped);
            adopted.iter().for_each(stopped);
            self.is_ready.store(true, Ordering::Relaxed);
        }
        tokio::spawn(async move {
            // At the same time: no app waits for a folder to be tidied up.
            tokio::join!(
                starting.remove_unused_code(),
                starting.start_adopted(adopted)
            );
            starting.is_ready.store(true, Ordering::Relaxed);
        });
        let worker = Arc::clone(self);
        tokio::spawn(async move {
            let books = Arc::clone(&worker).keep_books();
            let attested = Arc::clone(&worker).keep_attested();
            tokio::join!(books, worker.keep_claims(), attested);
        })
    }

    /// Whether every app that should run was started, or could not be.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Whether the daemon ends.
    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Lets guests accept no more connections on ports of their own, and waits
    /// until they have finished with those that they have. Requests that come
    /// through the worker are served as before.
    pub(crate) async fn drain_ports(&self, deadline: tokio::time::Instant) {
        loop {
            // Each time, because a request may have started one.
            let instances = || self.all_apps().into_iter().flat_map(|app| app.instances());
            instances().for_each(|one| one.handle().leave());
            let now = tokio::time::Instant::now();
            // All of them are looked at, so that each look tells of the next one.
            let busy: usize = instances().map(|one| one.handle().busy_connections()).sum();
            if busy == 0 || now >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline.min(now + DRAIN_LOOK_INTERVAL)).await;
        }
    }

    /// Tells all instances to stop, and waits for nothing.
    pub(crate) fn stop_at_once(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        for app in self.all_apps() {
            app.withdraw();
            app.instances().iter().for_each(|one| one.handle().stop());
        }
        self.changes.forget();
    }

    /// Stops all instances, writes down what they used and gives the data folder
    /// back. Apps stay deployed.
    pub(crate) async fn close(&self) {
        self.write_claims().await;
        self.stop_at_once();
        let instances: Vec<_> = self
            .all_apps()
            .iter()
            .flat_map(|app| app.instances())
            .collect();
        let ended = async {
            for instance in instances {
                instance.handle().ended().await;
            }
        };
        if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
            tracing::warn!("instances are slow to end");
        }
        // On failure the store has said so.
        let _ = self.write_usage().await;
        let _ = self.report(Scope::All).await;
        self.session.close().await;
        let store = Arc::clone(&self.store);
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        let data = self
            .data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(data);
    }

    pub(crate) fn app(&self, address: &AppAddress) -> Option<Arc<App>> {
        self.any_app(address).filter(|app| !app.is_removed())
    }

    /// Whose instance that is, for people. Waits for no lock: `None` also when
    /// it is held.
    pub(crate) fn whose(&self, instance: InstanceId) -> Option<String> {
        let apps = self.apps.try_read().ok()?;
        let app = apps.values().find(|app| app.try_has(instance))?;
        Some(app.try_describe())
    }

    /// All apps, in no order.
    pub(crate) fn apps(&self) -> Vec<Arc<App>> {
        let mut apps = self.all_apps();
        apps.retain(|app| !app.is_removed());
        apps
    }

    /// How many there are, with those that are being removed. Anyone may ask for it, so
    /// no app is looked at.
    pub(crate) fn app_count(&self) -> usize {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.len()
    }

    /// An app, also one that is being removed.
    fn any_app(&self, address: &AppAddress) -> Option<Arc<App>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(address).cloned()
    }

    /// All apps and those that are being removed.
    fn all_apps(&self) -> Vec<Arc<App>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.values().cloned().collect()
    }

    /// Whether there are apps, also such that are being removed.
    fn has_apps(&self) -> bool {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        !apps.is_empty()
    }

    /// All apps by serial number.
    pub(crate) fn apps_in_order(&self) -> Vec<Arc<App>> {
        let mut apps = self.apps();
        apps.sort_by_key(|app| app.serial);
        apps
    }

    /// The app that answers at `/`.
    pub(crate) fn root(&self) -> Option<Arc<App>> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        root.clone()
    }

    pub(crate) fn set_root(&self, app: Option<Arc<App>>) {
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = app;
    }

    /// Instances that have a slot.
    pub(crate) fn instances_now(&self) -> u64 {
        let free = self.slots.available_permits() as u64;
        u64::from(self.limits.instances_max).saturating_sub(free)
    }

    /// Changes that wait for the store, and how many may.
    pub(crate) fn store_queue(&self) -> (u64, u64) {
        self.store.waiting()
    }

    /// A number that no deployment has had.
    fn take_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }
}
