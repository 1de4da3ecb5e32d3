//! `wapo run`: runs an app on this machine, in the sandbox it will have in
//! production.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use wapod::mistakes::value;
use wapod::{
    AppConfig, ByteSize, Config, EgressDefault, EgressRule, LogRate, PortRanges, RestartPolicy,
    TlsSettings,
};

use super::former::{self, Former};
use crate::folders;
use crate::project::BuildOptions;
use crate::session::{self, Plan};
use crate::settings::{Settings, parse_env};
use crate::source::{Built, Source};
use crate::terminal::Terminal;

/// The gateway's port, unless it is taken.
const GATEWAY_PORT: u16 = 8100;

/// Memory of an app that does not say how much it needs.
const MEMORY_DEFAULT: ByteSize = ByteSize(128 << 20);

/// Instances that the engine makes room for: the app, and the one that follows
/// it when it was built again.
const INSTANCES_MAX: u32 = 4;

/// Time for threads that are still busy when everything has ended.
pub(crate) const THREADS_GRACE: Duration = Duration::from_millis(500);

/// Command line of `wapo run`.
#[derive(Args, Debug)]
#[command(after_help = "\
Of the settings in the project's Cargo.toml or package.json (see `wapo deploy`), it
takes the arguments, environment, memory, gas and egress. What the command line
says comes first.

Standard output has a line for each URL that answers, and what the guest writes
to its standard output. Everything else, its log included, goes to standard error.

Exit code: the guest's own; 101 after a trap, 102 after a limit of gas or time,
0 after Ctrl-C, which lets requests in flight finish; 130 when that took too
long or Ctrl-C was pressed twice or before the app ran.")]
pub(crate) struct Options {
    /// Folder of a project, a wasm file, or a program in JavaScript or TypeScript.
    #[arg(default_value = ".")]
    app: PathBuf,

    /// Arguments for the app. `@FILE` is the text of a file.
    #[arg(last = true)]
    args: Vec<String>,

    /// Ports that the app may listen on by itself, such as 3000..3100,4000, both
    /// included. Without this, any port from 1024.
    #[arg(long, value_name = "A..B,...")]
    listen_ports: Option<PortRanges>,

    /// Memory that the app may have, such as 64M or 1g. [default: 128M]
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<ByteSize>,

    /// Set an environment variable of the app. It sees no other.
    #[arg(short = 'E', long, value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,

    /// Let the app connect to an address that is not public: a name, *.name, an
    /// address, a network such as 10.0.0.0/8, or *, each with an optional :port.
    #[arg(long, value_name = "RULE")]
    allow_egress: Vec<EgressRule>,

    /// Do not let the app connect to this, even if another rule allows it; written in
    /// the same way.
    #[arg(long, value_name = "RULE")]
    deny_egress: Vec<EgressRule>,

    /// What the app may connect to where no rule applies: public or none. [default:
    /// public]
    #[arg(long, value_name = "WHAT")]
    egress_default: Option<EgressDefault>,

    /// Trust the certificates of a PEM file when the app connects with TLS.
    #[arg(long, value_name = "FILE")]
    trust_root: Vec<PathBuf>,

    /// Folder of blobs that the app may read, each file named by its sha256.
    #[arg(long, value_name = "FOLDER")]
    blobs: Option<PathBuf>,

    /// Where the gateway listens; port 0 takes any. [default: 127.0.0.1:8100, or
    /// a free port when that is taken]
    #[arg(long)]
    address: Option<SocketAddr>,

    /// Open a port on loopback where the app serves names by TLS, such as 8443.
    /// Certificates need no trusted signer.
    #[arg(long, value_name = "PORT", value_parser = value::<u16>)]
    tls_port: Option<u16>,

    /// End the app when it has used this much gas.
    #[arg(long, value_name = "GAS", value_parser = value::<u64>)]
    gas: Option<u64>,

    /// Build and start again when a file changes.
    #[arg(long)]
    watch: bool,

    /// Log every call that the app makes to the host.
    #[arg(long)]
    trace: bool,

    /// Compile quickly and without optimisation.
    #[arg(long)]
    debug: bool,

    /// Program to run, when the project has several.
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,

    /// Show what the app has used when it ends.
    #[arg(long)]
    usage: bool,

    #[command(flatten)]
    former: Former,
}

/// Builds the app and runs it.
///
/// # Errors
///
/// It does not build, or it does not start.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    options.former.check()?;
    let build = BuildOptions {
        is_debug: options.debug,
        bin: options.bin.clone(),
    };
    let source = Source::find(&options.app, build)?;
    let settings = settings(options, source.settings()?)?;
    let built = source.build(terminal, None)?;
    let plan = plan(options, settings, source, built)?;

    let runtime = wapod::runtime_builder()
        .build()
        .context("cannot start threads")?;
    // A thread of its own, so that Ctrl-C works whatever the app does.
    let signals = wapod::Signals::listen(|| {}).context("cannot listen to signals")?;
    let result = runtime.block_on(session::run(plan, signals, Arc::new(Terminal::new())));
    runtime.shutdown_timeout(THREADS_GRACE);
    result
}

/// What the command line says, and for the rest, what the project says.
fn settings(options: &Options, of_project: Settings) -> Result<Settings> {
    let own = Settings {
        env: options.env.clone(),
        arg: former::arguments(&options.args)?,
        memory: options.former.memory().or(options.memory),
        gas: options.gas,
        allow_egress: options.allow_egress.clone(),
        deny_egress: options.deny_egress.clone(),
        egress_default: options.egress_default,
        ..Settings::default()
    };
    Ok(own.or(of_project))
}

fn plan(options: &Options, settings: Settings, source: Source, built: Built) -> Result<Plan> {
    let mut config = Config {
        address: options.address.unwrap_or_else(default_address),
        memory_max_bytes: settings.memory.unwrap_or(MEMORY_DEFAULT).0,
        instances_max: INSTANCES_MAX,
        blob_dir: options.blobs.clone(),
        tls: options.tls_port.map(|port| TlsSettings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            verifies_certificates: options.former.verifies_certificates(),
            certificate: None,
        }),
        // The user of `wapo run` wants to see what the program prints.
        log_rate: LogRate::Unlimited,
        compiler: wapod::compile::this_program(),
        module_cache: folders::module_cache(),
        ..Config::default()
    };
    for file in &options.trust_root {
        let roots = wapod::config::read_trust_roots(file).map_err(anyhow::Error::msg)?;
        config.trust_roots.extend(roots);
    }

    let own_args = settings.arg;
    let args = built.arguments(&own_args);
    let mut app = AppConfig::new(built.module.context("the code is elsewhere")?);
    app.blobs = built.blobs;
    app.label = source.name();
    app.args = args;
    app.time_max = options.former.time_max();
    app.env = settings.env;
    app.gas_max = settings.gas;
    // Only who names ports means to be reached from elsewhere.
    app.listen_on_loopback = options.listen_ports.is_none();
    let ports = options.listen_ports.clone();
    app.listen_ports = ports.or_else(session::unprivileged_ports);
    app.egress = settings.allow_egress;
    app.egress_deny = settings.deny_egress;
    app.egress_default = settings.egress_default.unwrap_or(EgressDefault::Public);
    app.trace_calls = options.trace;
    // One bad request does not end the session; any other end is shown.
    app.restart = RestartPolicy::AfterPollLimit;
    Ok(Plan {
        config,
        may_move: options.address.is_none(),
        app,
        own_args,
        watched: options.watch.then_some(source),
        shows_usage: options.usage,
    })
}

fn default_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, GATEWAY_PORT))
}
