//! The daemon as a program: reads the command line, runs a server until it is
//! told to stop.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use tracing_subscriber::EnvFilter;
use wapod::{AppConfig, ByteSize, Config, Module, PortRange, RestartPolicy, Running, Server};

/// Runs a Wapo app from a file and serves it over HTTP.
///
/// This version runs one app, keeps everything in memory, and has a new identity
/// at every start. Deploying over the network, the console and stored state are
/// not there yet; for development there is `wapo run`.
#[derive(Parser, Debug)]
#[command(name = "wapod", version)]
struct Options {
    /// Wasm file to run, served at `/`. Without one, only /health answers.
    app: Option<PathBuf>,

    /// Memory that one instance may have, such as 64M or 1g.
    #[arg(
        short,
        long,
        visible_alias = "instance-memory-size",
        default_value = "128M"
    )]
    memory: ByteSize,

    /// Where the gateway listens.
    #[arg(long, default_value = "127.0.0.1:8002")]
    address: SocketAddr,

    /// Ports that the app may listen on by itself, both included.
    #[arg(
        short = 'l',
        long,
        value_name = "A..B",
        visible_alias = "tcp-listen-port-range"
    )]
    listen_ports: Option<PortRange>,

    /// Arguments for the app.
    #[arg(last = true)]
    args: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stdout().is_terminal())
        .init();
    let runtime = wapod::runtime_builder()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(config(options)?))
}

fn config(options: Options) -> anyhow::Result<Config> {
    let mut apps = Vec::new();
    if let Some(path) = &options.app {
        let mut app = AppConfig::new(Module::read(path)?);
        app.args = options.args;
        app.listen_ports = options.listen_ports.map(|PortRange(ports)| ports);
        app.restart = RestartPolicy::OnFailure;
        apps.push(app);
    }
    Ok(Config {
        address: options.address,
        root_app: !apps.is_empty(),
        apps,
        memory_max_bytes: options.memory.0,
        log_sink: Some(std::sync::Arc::new(|app, line| {
            tracing::info!(target: "wapo::guest", %app, "{}", line.text);
        })),
        ..Config::default()
    })
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let running = Server::start(config).await?;
    tracing::info!(
        "serving on http://{}/ until told to stop",
        running.user_address()
    );
    wait(&running).await?;
    tracing::info!("stopping");
    running.shutdown().await;
    Ok(())
}

/// Waits for a request to stop. An app that ends does not end the daemon.
async fn wait(running: &Running) -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot listen to signals")?;
    let ended = async {
        let reason = running.exited().await;
        tracing::warn!("the app has ended: {reason}");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen to signals"),
        _ = terminate.recv() => Ok(()),
        () = ended => Ok(()),
    }
}
