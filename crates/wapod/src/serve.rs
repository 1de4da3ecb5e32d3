//! The life of the daemon: starts the server, logs its addresses, stops it on a
//! signal or a call. Called by `main`.

use std::io::{ErrorKind, IsTerminal as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use wapod::limits::ENCLAVE_BLOCKING_THREADS;
use wapod::system::Capacity;
use wapod::{Allocation, Config, Running, Server, Signals, StartError, StopCause};

use crate::logging;
use crate::options::Settings;

/// Time for threads that still do something when the server has stopped.
const THREADS_TIMEOUT: Duration = Duration::from_secs(2);

/// How the daemon ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// After the requests in flight.
    Orderly,
    /// At the second signal.
    AtOnce(StopCause),
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// A text of one line when it cannot start.
pub(crate) fn run(settings: Settings) -> Result<Ended, String> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = check_machine(&settings.config)? {
        tracing::warn!("{warning}");
    }
    let signals =
        Signals::listen(last_words).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut runtime = wapod::runtime_builder();
    if settings.is_enclave {
        runtime.max_blocking_threads(ENCLAVE_BLOCKING_THREADS);
    }
    let runtime = runtime
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let ended = runtime.block_on(serve(settings, signals));
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    ended
}

/// Before the process is ended by the thread of the signals.
fn last_words() {
    logging::flush(logging::LOG_TIMEOUT);
}

/// Whether the machine gives what the settings ask for.
///
/// # Errors
///
/// A text of one line when it does not.
pub(crate) fn check_machine(config: &Config) -> Result<Option<String>, String> {
    Capacity::take().check(config.demand())
}

async fn serve(settings: Settings, mut signals: Signals) -> Result<Ended, String> {
    let config = settings.config;
    let is_first_start = wapod::is_new(&settings.data_dir);
    let context = StartContext {
        admin: config.admin_address,
        tls: config.tls.as_ref().map(|tls| tls.address),
        instances_max: config.instances_max,
        allocation: config.allocation,
    };
    let base_domain = config.base_domain.clone();
    let grace = config.drain_grace;
    let running = tokio::select! {
        started = Server::start(config) => started.map_err(|error| context.explain(&error))?,
        cause = signals.next() => {
            tracing::info!("stopped by {} before it had started", cause.name());
            return Ok(Ended::Orderly);
        }
    };
    signals.running(grace, running.last_save());
    announce(&running, &base_domain, is_first_start);

    let cause = tokio::select! {
        cause = signals.next() => cause,
        () = running.exit_requested() => StopCause::Operator,
    };
    signals.stopping(cause);
    tracing::info!(
        "stopping by {}: requests in flight have {} seconds",
        cause.name(),
        grace.as_secs()
    );
    tokio::select! {
        _ = running.shutdown() => {
            tracing::info!("stopped");
            Ok(Ended::Orderly)
        }
        cause = signals.next() => {
            tracing::warn!("stopped at once by {}", cause.name());
            Ok(Ended::AtOnce(cause))
        }
    }
}

/// Says where the daemon is and, the first time, what one can do with it.
fn announce(running: &Running, base_domain: &str, is_first_start: bool) {
    let user = running.user_address();
    let console = running.admin_address();
    let console = console.map(|address| url(running.admin_scheme(), address));
    if let Some(console) = &console {
        tracing::info!("the console is at {console}");
    }
    tracing::info!(
        "apps are served at {} and {}://NAME.{base_domain}:{}/",
        url(running.user_scheme(), user),
        running.user_scheme(),
        user.port()
    );
    if let Some(tls) = running.tls_address() {
        tracing::info!("apps have their TLS connections from {tls}, by server name");
    }
    if let Some(console) = console
        && is_first_start
        && std::io::stdout().is_terminal()
    {
        eprintln!("\nOpen {console} in a browser: an example app is a click away there.");
        eprintln!("Or in the folder of a project: wapo deploy. Ctrl-C stops the daemon.\n");
    }
}

/// How to reach an address from this machine.
fn url(scheme: &str, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}/")
}

/// What was asked for, to explain why it cannot be had.
struct StartContext {
    admin: Option<SocketAddr>,
    tls: Option<SocketAddr>,
    instances_max: u32,
    allocation: Allocation,
}

impl StartContext {
    /// What went wrong, and which option helps.
    fn explain(&self, error: &StartError) -> String {
        let text = error.to_string();
        match error {
            StartError::Bind { address, error } => {
                let server = match self.admin {
                    Some(admin) if admin == *address => "admin",
                    _ if self.tls == Some(*address) => "tls",
                    _ => "user",
                };
                let hint = match error.kind() {
                    ErrorKind::AddrInUse => format!(
                        "another program has this port: stop it, or choose another one with --{server}-port"
                    ),
                    ErrorKind::PermissionDenied => format!(
                        "ports below 1024 need a permission (CAP_NET_BIND_SERVICE): choose another one with --{server}-port"
                    ),
                    ErrorKind::AddrNotAvailable => {
                        format!(
                            "this machine has no such address: choose one with --{server}-address"
                        )
                    }
                    _ => return text,
                };
                format!("{text}; {hint}")
            }
            StartError::Engine(_) if self.allocation == Allocation::Pooled => format!(
                "{text}; {} instances (-c) reserve address space for 4 GiB each: use a smaller -c, or --no-mem-pool",
                self.instances_max
            ),
            _ => text,
        }
    }
}
