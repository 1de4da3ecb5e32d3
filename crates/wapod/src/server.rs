//! Starting and stopping a server.
//!
//! The order matters in both directions: the gateway's address is bound before
//! any guest runs, so that a busy port costs nothing; and on the way out
//! requests end before guests do.

mod apps;
mod https;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wapo_host::{
    BudgetUsage, CacheKind, DescriptorLimits, Engine, EngineConfig, ExitReason, Machine,
    ModuleCacheConfig,
};
use wapo_rpc::AppAddress;

use crate::api::{self, AdminSettings, Clients, ForwardedBy, Listener, UserService};
use crate::config::{AppConfig, Config};
use crate::data_dir::DataDir;
use crate::edge::{Edge, TlsPort};
use crate::error::{AppError, StartError};
use crate::identity::Identity;
use crate::limits::COMPILE_THREADS;
use crate::store::{Change, Contents, KeyVersions, Store};
use crate::system::{Capacity, DescriptorPlan};
use crate::watchdog::Watchdog;
use crate::web_client;
use crate::worker::{AppHandle, Received, Worker, receive};
use https::PortsHttps;

/// Starts servers.
pub struct Server;

impl Server {
    /// Starts the engine, the worker with the apps it had, both ports and the
    /// configured apps, on the current tokio runtime (see
    /// [`crate::runtime_builder`]).
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing keeps running then.
    pub async fn start(mut config: Config) -> Result<Running, StartError> {
        check(&config)?;
        let https = PortsHttps::open(&config).await?;
        let (user_listener, user_address) = bind(config.address).await?;
        let admin = bind_if(config.admin_address).await?;
        let tls = bind_if(config.tls.as_ref().map(|tls| tls.address)).await?;
        let plan = Capacity::take().descriptors(config.demand());
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        let tls_address = tls.as_ref().map(|(_, address)| *address);
        let own = [Some(user_address), admin_address, tls_address];
        let machine = machine(&config, own.into_iter().flatten());
        let edge = edge(&config, &https, &plan)?;
        let worker = open_worker(&config, plan.guests, machine, Arc::clone(&edge)).await?;
        let background = Background::start(&worker)?;
        let apps = deploy_all(&worker, std::mem::take(&mut config.apps), config.root_app).await?;
        let acme = https::start_acme(&config, &worker).await?.unzip();
        let exit = Arc::new(Notify::new());
        let users = Clients::of_users(
            plan.user_connections,
            ForwardedBy::to_users(&config),
            config.timeouts,
        );
        let service =
            UserService::new(Arc::clone(&worker), &config.base_domain, Arc::clone(&users));
        let tls =
            tls.map(|(listener, _)| open_tls(listener, (edge, &worker, &service), &config, &plan));
        let (tls_port, tls_clients) = tls.unzip();
        let grace = config.drain_grace;
        let user_https = https.user.clone();
        let mut listeners = vec![Listener::start(user_listener, service, grace, user_https)];
        if let Some((listener, _)) = admin {
            let settings = AdminSettings {
                token: config.admin_token.as_ref(),
                user_address,
                tls_address,
                user_scheme: https.user_scheme(),
                https: https.all(),
                acme: acme.0,
                base_domain: config.base_domain,
                clients: Clients::of_admin(plan.admin_connections, config.timeouts),
                users,
                tls: tls_clients,
                daemon_descriptors: plan.daemon,
                instance_descriptors: config.guest_descriptors.unwrap_or(plan.guests).per_instance,
                exit: Arc::clone(&exit),
            };
            let service = api::admin(Arc::clone(&worker), settings);
            listeners.push(Listener::start(
                listener,
                service,
                grace,
                https.admin.clone(),
            ));
        }
        tracing::info!(address = %user_address, apps = worker.app_count(), "the gateway is open");
        Ok(Running {
            background,
            listeners,
            tls_port,
            user_address,
            admin_address,
            https,
            _acme: acme.1,
            tls_address,
            exit,
            apps,
            drain_grace: grace,
        })
    }
}

/// Refuses what cannot work, or would be dangerous.
fn check(config: &Config) -> Result<(), StartError> {
    if config.root_app && config.apps.is_empty() {
        return Err(StartError::NoRootApp);
    }
    config.check_admin()
}

/// The machine with the worker's own ports on it. Says which ports of the range
/// that apps are given they will not get.
fn machine(config: &Config, own: impl Iterator<Item = SocketAddr>) -> Arc<Machine> {
    let own_ports: Vec<u16> = own.map(|address| address.port()).collect();
    if let Some(ports) = &config.listen_ports {
        for port in own_ports.iter().filter(|port| ports.contains(**port)) {
            tracing::warn!(
                "apps may listen on {ports} (-l), but not on {port}, which is the worker's own: choose a range without it"
            );
        }
    }
    Arc::new(Machine::new(own_ports))
}

/// Opens the port that apps share for TLS.
fn open_tls(
    listener: TcpListener,
    (edge, worker, service): (Arc<Edge>, &Arc<Worker>, &Arc<UserService>),
    config: &Config,
    plan: &DescriptorPlan,
) -> (TlsPort, Arc<Clients>) {
    let proxies = ForwardedBy::to_tls(config);
    let clients = Clients::of_tls(plan.tls_connections, proxies, config.timeouts);
    let serves = (Arc::clone(&clients), Arc::clone(service));
    let port = TlsPort::start(
        listener,
        edge,
        Arc::clone(worker),
        serves,
        config.drain_grace,
    );
    (port, clients)
}

/// The table of names.
fn edge(
    config: &Config,
    https: &PortsHttps,
    plan: &DescriptorPlan,
) -> Result<Arc<Edge>, StartError> {
    let roots = web_client::roots(&config.trust_roots).map_err(StartError::Engine)?;
    let edge = Edge::new(
        &config.base_domain,
        config.tls.as_ref(),
        roots,
        plan.tls_connections as usize,
    );
    let edge = edge.ok_or_else(|| StartError::BadBaseDomain(config.base_domain.clone()))?;
    if let Some(certificate) = &https.tls {
        edge.certificates().set_port(Arc::clone(certificate));
    }
    Ok(edge)
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Bind { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn bind_if(
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    match address {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}

/// Looks after the runtime that the worker is on.
fn watch(worker: &Arc<Worker>) -> Result<Watchdog, StartError> {
    let steps = Arc::clone(worker.engine.steps());
    let stalls = Arc::clone(&worker.stalls);
    let worker = Arc::downgrade(worker);
    let whose = Box::new(move |instance| worker.upgrade()?.whose(instance));
    let watchdog = Watchdog::start(tokio::runtime::Handle::current(), stalls, steps, whose);
    watchdog.map_err(|error| StartError::Engine(format!("cannot start threads: {error}")))
}

/// Opens what the data folder has, or begins with nothing.
async fn open_worker(
    config: &Config,
    guests: DescriptorLimits,
    machine: Arc<Machine>,
    edge: Arc<Edge>,
) -> Result<Arc<Worker>, StartError> {
    let (data, identity, store) = match &config.data_dir {
        Some(path) => {
            let data = DataDir::open(path)?;
            let received = key_of_another(config, &data).await?;
            let mut store = Store::open_with_reserve(&data.store_file(), data.reserve())?;
            let key = match received {
                Some(Received { key, versions }) => {
                    // Before the key: it must never be there without them.
                    keep_versions(&mut store, versions).await?;
                    Some(key)
                }
                None => None,
            };
            let identity = Identity::of(&data, &config.key, key)?;
            (data, identity, store)
        }
        None => (
            DataDir::temporary()?,
            Identity::throw_away(),
            Store::in_memory()?,
        ),
    };
    let mut engine = EngineConfig {
        machine,
        ..engine_config(config, guests)
    };
    if config.data_dir.is_some() && engine.module_cache.is_none() {
        engine.module_cache = Some(ModuleCacheConfig {
            dir: data.modules(),
            key: *identity.key().purpose_key("module cache"),
            kind: CacheKind::Own,
        });
    }
    let engine = Engine::new(engine).map_err(|error| StartError::Engine(error.to_string()))?;
    Worker::open(engine, identity, data, store, edge, config).await
}

/// Takes the key of another worker, where that was asked for and there is none yet.
async fn key_of_another(config: &Config, data: &DataDir) -> Result<Option<Received>, StartError> {
    let Some(source) = &config.handover.from else {
        return Ok(None);
    };
    if !Identity::is_missing(data, &config.key)? {
        tracing::info!("there is a key already: --key-from is not used");
        return Ok(None);
    }
    let received = receive(config, source, data).await;
    let received = received.map_err(|reason| StartError::KeyHandover {
        url: source.url.clone(),
        reason,
    })?;
    Ok(Some(received))
}

async fn keep_versions(
    (store, contents): &mut (Store, Contents),
    versions: KeyVersions,
) -> Result<(), StartError> {
    let change = Change::PutKeyVersions(versions.clone());
    let written = store.commit(vec![change]).await;
    written.map_err(|error| StartError::Store(error.to_string()))?;
    contents.key_versions = versions;
    Ok(())
}

fn engine_config(config: &Config, guests: DescriptorLimits) -> EngineConfig {
    if let Some(proxy) = &config.proxies.all {
        tracing::info!(%proxy, "apps connect through a proxy");
    }
    if let Some(proxy) = &config.proxies.i2p {
        tracing::info!(%proxy, "apps connect to names of I2P through a proxy");
    }
    EngineConfig {
        memory_max_bytes: config.memory_max_bytes,
        instances_max: config.instances_max,
        allocation: config.allocation,
        memory_budget_bytes: config.memory_budget_bytes,
        descriptors: config.guest_descriptors.unwrap_or(guests),
        compile_threads: COMPILE_THREADS,
        compiler: config.compiler.clone(),
        module_cache: config.module_cache.clone(),
        trust_roots: config.trust_roots.clone(),
        resolver: config.resolver.clone(),
        proxies: config.proxies.clone(),
        ..EngineConfig::default()
    }
}

/// Deploys an app that the embedding program has at hand. Its code becomes a
/// blob like any other.
async fn deploy(worker: &Arc<Worker>, config: AppConfig) -> Result<AppHandle, AppError> {
    let manifest = config.manifest();
    for content in config.blobs.iter().chain([&config.module]) {
        worker.keep_code(content.clone()).await?;
    }
    let (app, instance) = worker.deploy(apps::deployment(config, manifest)).await?;
    let instance = instance.ok_or(AppError::Interrupted)?;
    Ok(AppHandle::new(app, instance))
}

/// Deploys the apps of the configuration, the first of them at `/` if it has to be.
async fn deploy_all(
    worker: &Arc<Worker>,
    configs: Vec<AppConfig>,
    has_root: bool,
) -> Result<Vec<AppHandle>, AppError> {
    let mut apps = Vec::with_capacity(configs.len());
    for config in configs {
        apps.push(deploy(worker, config).await?);
    }
    if has_root {
        worker.set_root(apps.first().map(|app| Arc::clone(app.app())));
    }
    Ok(apps)
}

/// The worker's own tasks and instances. Dropping it stops them at once.
struct Background {
    worker: Arc<Worker>,
    books: tokio::task::JoinHandle<()>,
    _watchdog: Watchdog,
}

impl Background {
    /// Starts what the worker does by itself.
    fn start(worker: &Arc<Worker>) -> Result<Self, StartError> {
        let watchdog = watch(worker)?;
        Ok(Self {
            books: worker.run(),
            worker: Arc::clone(worker),
            _watchdog: watchdog,
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.books.abort();
        self.worker.stop_at_once();
    }
}

/// Writes down what apps have used when the process has to end at once.
pub struct LastSave(Weak<Worker>);

impl LastSave {
    /// Writes, on any runtime. What cannot be written was not used.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether it was written.
    pub async fn save(self) {
        if let Some(worker) = self.0.upgrade() {
            // On failure the store has said so.
            let _ = worker.write_usage().await;
        }
    }
}

/// A server that runs. Dropping it stops everything at once.
pub struct Running {
    background: Background,
    listeners: Vec<Listener>,
    tls_port: Option<TlsPort>,
    user_address: SocketAddr,
    admin_address: Option<SocketAddr>,
    https: PortsHttps,
    /// Gets certificates; ends with this.
    _acme: Option<JoinSet<()>>,
    tls_address: Option<SocketAddr>,
    exit: Arc<Notify>,
    apps: Vec<AppHandle>,
    drain_grace: Duration,
}

impl Running {
    /// Where the gateway listens.
    pub fn user_address(&self) -> SocketAddr {
        self.user_address
    }

    /// Where the operator's interface listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// URL of the gateway, with a slash at the end.
    pub fn user_url(&self) -> String {
        format!("{}://{}/", self.user_scheme(), self.user_address)
    }

    /// URL of the operator's interface, with a slash at the end.
    pub fn admin_url(&self) -> Option<String> {
        let scheme = self.admin_scheme();
        self.admin_address
            .map(|address| format!("{scheme}://{address}/"))
    }

    /// How URLs of the gateway begin: `http` or `https`.
    pub fn user_scheme(&self) -> &'static str {
        self.https.user_scheme()
    }

    /// How URLs of the operator's interface begin.
    pub fn admin_scheme(&self) -> &'static str {
        self.https.admin_scheme()
    }

    /// Where the TLS port of the apps is.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// What is to be written when the process has to end at once.
    pub fn last_save(&self) -> LastSave {
        LastSave(Arc::downgrade(&self.background.worker))
    }

    /// File descriptors that guests hold, and may hold.
    pub fn guest_descriptors(&self) -> BudgetUsage {
        self.background.worker.engine.descriptors()
    }

    /// Memory that guests, and the host for them, hold, in bytes.
    pub fn guest_memory_bytes(&self) -> u64 {
        self.background.worker.engine.memory().used
    }

    /// Waits until the operator asks the daemon to end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn exit_requested(&self) {
        self.exit.notified().await;
    }

    /// URL of an app on the gateway, with a slash at the end.
    pub fn app_url(&self, app: AppAddress) -> String {
        format!("{}app/{app}/", self.user_url())
    }

    /// The apps of the configuration, in its order, also when they have ended.
    pub fn apps(&self) -> &[AppHandle] {
        &self.apps
    }

    /// Deploys one more app. It may still be starting when this returns.
    ///
    /// # Errors
    ///
    /// [`AppError`] when it cannot run or is there already.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the app may have been deployed.
    pub async fn start_app(&self, config: AppConfig) -> Result<AppHandle, AppError> {
        deploy(&self.background.worker, config).await
    }

    /// Stops an app, as soon as it has answered what it was asked, and forgets
    /// it.
    ///
    /// # Errors
    ///
    /// [`AppError::NotFound`].
    ///
    /// # Cancel safety
    ///
    /// The app is stopped even so.
    pub async fn stop_app(&self, address: AppAddress) -> Result<(), AppError> {
        self.background.worker.remove(address).await
    }

    /// Lets another app answer at `/`, or none.
    ///
    /// # Errors
    ///
    /// [`AppError::NotFound`]; nothing has changed then.
    pub fn set_root_app(&self, address: Option<AppAddress>) -> Result<(), AppError> {
        let app = match address {
            Some(address) => {
                let app = self.background.worker.app(&address);
                Some(app.ok_or(AppError::NotFound(address))?)
            }
            None => None,
        };
        self.background.worker.set_root(app);
        Ok(())
    }

    /// Waits until the first app of the configuration has ended for good; waits
    /// for ever when there was none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn exited(&self) -> ExitReason {
        match self.apps.first() {
            Some(app) => app.exited().await,
            None => std::future::pending().await,
        }
    }

    /// Stops accepting, here and on the apps' own ports, lets requests and
    /// connections in flight finish for the grace period, then stops all apps. Returns why the first app of the configuration
    /// ended, if there was one.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what is left is stopped at once.
    pub async fn shutdown(self) -> Option<ExitReason> {
        let Self {
            background,
            listeners,
            tls_port,
            apps,
            drain_grace,
            ..
        } = self;
        // Who waits for the compiler would hold up the end.
        background.worker.engine.stop_compiling();
        // All stop accepting before any is waited for.
        let mut draining = JoinSet::new();
        for listener in listeners {
            draining.spawn(listener.drain());
        }
        if let Some(tls_port) = tls_port {
            draining.spawn(tls_port.drain());
        }
        let deadline = tokio::time::Instant::now() + drain_grace;
        background.worker.drain_ports(deadline).await;
        draining.join_all().await;
        // What the TLS port has brought to guests meanwhile is finished, too.
        background.worker.drain_ports(deadline).await;
        background.worker.close().await;
        drop(background);
        match apps.first() {
            Some(app) => Some(app.exited().await),
            None => None,
        }
    }
}
