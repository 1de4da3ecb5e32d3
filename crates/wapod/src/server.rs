//! Starting and stopping a server.
//!
//! The order matters in both directions: the gateway's address is bound before
//! any guest runs, so that a busy port costs nothing; and on the way out
//! requests end before guests do.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use wapo_host::{Engine, EngineConfig, ExitReason};
use wapo_rpc::AppAddress;

use crate::api::{Frontend, Surface};
use crate::config::{AppConfig, Config};
use crate::error::{AppError, StartError};
use crate::worker::{AppHandle, Worker};

/// Threads that compile modules.
const COMPILE_THREADS: usize = 2;

/// Starts servers.
pub struct Server;

impl Server {
    /// Starts the engine, the gateway and the configured apps, on the current
    /// tokio runtime (see [`crate::runtime_builder`]).
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing keeps running then.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        if config.root_app && config.apps.is_empty() {
            return Err(StartError::NoRootApp);
        }
        let bind = |error| StartError::Bind {
            address: config.address,
            error,
        };
        let listener = TcpListener::bind(config.address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;

        let engine = Engine::new(engine_config(&config))
            .map_err(|error| StartError::Engine(error.to_string()))?;
        let worker = Arc::new(Worker::new(engine, &config));
        let mut apps = Vec::with_capacity(config.apps.len());
        for app in config.apps {
            apps.push(AppHandle(worker.start(app).await?));
        }
        if config.root_app {
            worker.set_root(apps.first().map(|app| Arc::clone(&app.0)));
        }

        let surface = Surface::new(Arc::clone(&worker));
        let frontend = Frontend::start(listener, surface, config.drain_grace);
        tracing::info!(%address, apps = apps.len(), "the gateway is open");
        Ok(Running {
            worker,
            frontend,
            address,
            apps,
        })
    }
}

fn engine_config(config: &Config) -> EngineConfig {
    EngineConfig {
        memory_max_bytes: config.memory_max_bytes,
        instances_max: config.instances_max,
        allocation: config.allocation,
        compile_threads: COMPILE_THREADS,
        module_cache: config.module_cache.clone(),
        trust_roots: config.trust_roots.clone(),
        resolver: config.resolver.clone(),
        ..EngineConfig::default()
    }
}

/// A server that runs. Dropping it stops everything at once.
pub struct Running {
    worker: Arc<Worker>,
    frontend: Frontend,
    address: SocketAddr,
    apps: Vec<AppHandle>,
}

impl Running {
    /// Where the gateway listens.
    pub fn user_address(&self) -> SocketAddr {
        self.address
    }

    /// URL of an app on the gateway, with a slash at the end.
    pub fn app_url(&self, app: AppAddress) -> String {
        format!("http://{}/app/{app}/", self.address)
    }

    /// The apps of the configuration, in its order, also when they have ended.
    pub fn apps(&self) -> &[AppHandle] {
        &self.apps
    }

    /// The app with this address, unless it was stopped.
    pub fn app(&self, address: AppAddress) -> Option<AppHandle> {
        self.worker.app(&address).map(AppHandle)
    }

    /// Starts one more app.
    ///
    /// # Errors
    ///
    /// [`AppError`] when it cannot run or is there already.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the app may have been started.
    pub async fn start_app(&self, config: AppConfig) -> Result<AppHandle, AppError> {
        self.worker.start(config).await.map(AppHandle)
    }

    /// Stops an app and forgets it. Requests in flight fail.
    ///
    /// # Errors
    ///
    /// [`AppError::NotFound`].
    ///
    /// # Cancel safety
    ///
    /// The app is stopped even so; only the reason is lost.
    pub async fn stop_app(&self, address: AppAddress) -> Result<ExitReason, AppError> {
        let reason = self.worker.retire(address).await;
        reason.ok_or(AppError::NotFound(address))
    }

    /// Lets another app answer at `/`, or none.
    ///
    /// # Errors
    ///
    /// [`AppError::NotFound`]; nothing has changed then.
    pub fn set_root_app(&self, address: Option<AppAddress>) -> Result<(), AppError> {
        let app = match address {
            Some(address) => {
                let app = self.worker.app(&address);
                Some(app.ok_or(AppError::NotFound(address))?)
            }
            None => None,
        };
        self.worker.set_root(app);
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

    /// Stops accepting, lets requests in flight finish for the grace period,
    /// then stops all apps. Returns why the first app of the configuration
    /// ended, if there was one.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what is left is stopped at once.
    pub async fn shutdown(self) -> Option<ExitReason> {
        let Self {
            worker,
            frontend,
            apps,
            ..
        } = self;
        frontend.drain().await;
        // All are told before any is waited for.
        let running = worker.apps();
        for app in &running {
            app.instance().stop();
        }
        for app in running {
            worker.retire(app.address()).await;
        }
        match apps.first() {
            Some(app) => Some(app.exited().await),
            None => None,
        }
    }
}
