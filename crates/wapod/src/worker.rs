//! The worker: the apps it runs, and the one way in and out for each request.
//!
//! Knows nothing of HTTP. A request is let in by [`Worker::admit`], which gives
//! a [`Lease`] on an instance, and leaves when the lease is dropped. An app
//! leaves through [`Worker::retire`] only. Locks are held for a look into a
//! table, never while anything is awaited.

mod app;
mod query;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::time::Instant;
use wapo_host::net::policy::EgressRules;
use wapo_host::{Embedder, Engine, ExitReason, InstanceConfig, Meter, Phase};
use wapo_rpc::{AppAddress, WorkerInfo};

pub use app::AppHandle;
pub(crate) use app::{App, Channel, Lease};

use crate::blobs::BlobFolder;
use crate::config::{AppConfig, Config, LogSink};
use crate::embedder::{AppEmbedder, AppState};
use crate::error::{AppError, WorkerError};
use crate::identity::Identity;
use crate::limits::{CHANNEL_WAIT, START_WAIT};
use crate::logs::LogBook;

/// Everything that the worker of one server owns.
pub(crate) struct Worker {
    engine: Engine,
    identity: Arc<Identity>,
    blobs: Option<BlobFolder>,
    log_sink: Option<LogSink>,
    memory_max_bytes: u64,
    instances_max: u32,
    apps: RwLock<HashMap<AppAddress, Arc<App>>>,
    root: RwLock<Option<Arc<App>>>,
}

impl Worker {
    pub(crate) fn new(engine: Engine, config: &Config) -> Self {
        Self {
            engine,
            identity: Arc::new(Identity::throw_away()),
            blobs: config.blob_dir.clone().map(BlobFolder::new),
            log_sink: config.log_sink.clone(),
            memory_max_bytes: config.memory_max_bytes,
            instances_max: config.instances_max,
            apps: RwLock::default(),
            root: RwLock::default(),
        }
    }

    /// Compiles an app, unless that was done before, and starts it.
    pub(crate) async fn start(&self, config: AppConfig) -> Result<Arc<App>, AppError> {
        let address = config.manifest().address();
        let memory_max_bytes = config.memory_max_bytes.unwrap_or(self.memory_max_bytes);
        if memory_max_bytes > self.memory_max_bytes {
            return Err(AppError::TooMuchMemory {
                asked: memory_max_bytes,
                max: self.memory_max_bytes,
            });
        }
        let program = self.engine.load(config.module.wasm()).await?;

        let meter = Arc::new(Meter::default());
        let embedder = Arc::new(AppEmbedder {
            address,
            identity: Arc::clone(&self.identity),
            meter: Arc::clone(&meter),
            blobs: self.blobs.clone(),
            log: Arc::new(LogBook::default()),
            log_sink: self.log_sink.clone(),
            state: Mutex::new(AppState::default()),
        });
        let mut args = vec![address.to_string()];
        args.extend(config.args);
        let instance = InstanceConfig {
            args,
            env: config.env,
            memory_max_bytes,
            gas_max: config.gas_max,
            time_max: config.time_max,
            weight: config.weight,
            restart: config.restart,
            listen_ports: config.listen_ports,
            listen_on_loopback: config.listen_on_loopback,
            egress: Arc::new(EgressRules::new(config.egress)),
            meter,
            trace_calls: config.trace_calls,
        };

        // The table is locked while the instance is started, so that of two
        // equal apps that arrive together one is refused before it runs.
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        if apps.contains_key(&address) {
            return Err(AppError::AlreadyExists(address));
        }
        let for_host: Arc<dyn Embedder> = Arc::clone(&embedder) as _;
        let handle = self.engine.start(&program, instance, for_host);
        let app = Arc::new(App::new(embedder, handle, config.query_max_bytes));
        apps.insert(address, Arc::clone(&app));
        Ok(app)
    }

    /// Takes an app out of service: no request finds it any more, its instance
    /// is stopped, its usage is final when this returns.
    ///
    /// # Cancel safety
    ///
    /// The app is gone at once; only the reason is lost.
    pub(crate) async fn retire(&self, address: AppAddress) -> Option<ExitReason> {
        let app = {
            let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
            apps.remove(&address)?
        };
        self.root
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(|root| root.address() == address);
        app.instance().stop();
        Some(app.instance().ended().await)
    }

    pub(crate) fn app(&self, address: &AppAddress) -> Option<Arc<App>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(address).cloned()
    }

    /// All apps, in no order.
    pub(crate) fn apps(&self) -> Vec<Arc<App>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.values().cloned().collect()
    }

    /// The app that answers at `/`.
    pub(crate) fn root(&self) -> Option<Arc<App>> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        root.clone()
    }

    pub(crate) fn set_root(&self, app: Option<Arc<App>>) {
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = app;
    }

    /// Lets a request in: waits, not for long, until the app takes it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: whatever was counted is given back.
    pub(crate) async fn admit(
        &self,
        app: Arc<App>,
        channel: Channel,
    ) -> Result<Lease, WorkerError> {
        let lease = Lease::new(app).ok_or(WorkerError::Busy)?;
        if channel.is_open(&lease.app().status()) {
            return Ok(lease);
        }
        let deadline = (lease.app().started + START_WAIT).max(Instant::now() + CHANNEL_WAIT);
        let mut status = lease.app().watch();
        let opened = status
            .wait_for(|status| channel.is_open(status) || matches!(status.phase, Phase::Ended(_)));
        let outcome = match tokio::time::timeout_at(deadline, opened).await {
            Ok(Ok(status)) if channel.is_open(&status) => Ok(()),
            Ok(_) => Err(WorkerError::AppNotRunning),
            Err(_) => Err(WorkerError::NotTaken),
        };
        outcome.map(|()| lease)
    }

    /// The worker at a glance, as everyone may see it.
    pub(crate) fn info(&self) -> WorkerInfo {
        let apps = self.apps();
        let running = apps.iter().filter(|app| app.is_running()).count() as u64;
        WorkerInfo {
            pubkey: self.identity.public_key().to_vec(),
            deployed_apps: apps.len() as u64,
            running_instances: running,
            vm_instances: running,
            max_instances: u64::from(self.instances_max),
            instance_memory_size: self.memory_max_bytes,
            session: self.identity.session().to_vec(),
            ..WorkerInfo::default()
        }
    }
}
