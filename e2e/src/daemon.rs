//! A daemon of its own for each test.

use std::sync::Arc;
use std::time::Duration;

use wapod::{AppConfig, AppError, CacheKind, Compiler, Config, ModuleCacheConfig, Running, Server};

use crate::app::App;
use crate::{guests, within};

/// Key of the shared folder of compiled modules; it protects nothing here.
const CACHE_KEY: [u8; 32] = [0xe2; 32];

/// Bytes of the shared folder; the guests of all tests have a third of it.
const CACHE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A running daemon.
pub struct Daemon {
    running: Arc<Running>,
}

impl Daemon {
    /// Starts a daemon with the defaults of the tests.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a daemon after `change` has seen its configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let running = within("the daemon", Server::start(config)).await;
        Self {
            running: Arc::new(running.expect("the daemon starts")),
        }
    }

    /// Starts an app.
    pub async fn deploy(&self, config: AppConfig) -> App {
        self.try_deploy(config).await.expect("the app starts")
    }

    /// Starts an app, or says why it cannot run.
    ///
    /// # Errors
    ///
    /// What the daemon says.
    pub async fn try_deploy(&self, config: AppConfig) -> Result<App, AppError> {
        let started = within("the app", self.running.start_app(config)).await;
        started.map(|handle| App::new(Arc::clone(&self.running), handle))
    }

    /// The daemon itself.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Shuts the daemon down. No app may be in use any more.
    pub async fn shutdown(self) {
        let running = Arc::into_inner(self.running).expect("apps were dropped before");
        within("the shutdown", running.shutdown()).await;
    }
}

/// What a daemon of a test is started with.
pub fn config() -> Config {
    Config {
        // Each instance of the pool reserves address space; no test has more.
        instances_max: 16,
        // Under nextest each test is a process; all share what was compiled.
        module_cache: Some(ModuleCacheConfig {
            dir: guests::root().join("target/e2e-module-cache"),
            key: CACHE_KEY,
            kind: CacheKind::Shared {
                bytes_max: CACHE_BYTES_MAX,
            },
        }),
        // Requests that nobody answers are left behind in many tests.
        drain_grace: Duration::from_secs(1),
        compiler: compiler(),
        ..Config::default()
    }
}

/// The daemon of the tests as the compiler: the process that runs a test has no
/// subcommands. Cargo builds it before the tests of this package.
pub fn compiler() -> Compiler {
    let this = std::env::current_exe().expect("this executable");
    let folders = this.ancestors().skip(1).take(2);
    let found = folders
        .map(|folder| folder.join("e2e-daemon"))
        .find(|path| path.exists());
    match found {
        Some(path) => Compiler::command(vec![path.into(), wapod::compile::COMPILE_COMMAND.into()]),
        // Fuzz targets are built without it, and run modules of the tests only.
        None => Compiler::InProcess,
    }
}
