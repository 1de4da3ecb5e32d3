//! The engine of JavaScript as a helper of the command: a server in this process
//! that runs one program after the other and hears what they tell.
//!
//! What a program tells the command are lines of its standard output that begin with
//! a mark, drawn anew for each helper. Used by `wapo test` and `wapo repl`.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use wapod::{
    AppAddress, AppConfig, AppHandle, ByteSize, Config, EgressRule, LogLine, LogRate, LogSource,
    Module, Running, Server,
};

use crate::folders;
use crate::script::Program;
use crate::session;
use crate::settings::parse_env;

/// Where the system gives random bytes.
const RANDOM: &str = "/dev/urandom";
/// Bytes of a mark: nobody guesses it.
const MARK_BYTES: usize = 16;

/// Programs of the engine that exist at a time: one, and one that is leaving.
const INSTANCES_MAX: u32 = 2;

/// Time that a program gets for what it has begun when it is stopped. Nobody waits
/// for its answers any more.
const DRAIN_GRACE: Duration = Duration::from_millis(100);

/// What programs may have and may do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Allowed {
    /// Memory that a program may have, such as 64M or 1g.
    #[arg(short, long, value_name = "SIZE", default_value = "128M")]
    memory: ByteSize,

    /// Set an environment variable of the program. It sees no other.
    #[arg(short = 'E', long, value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,

    /// Let the program connect to an address that is not public: a name, *.name, an
    /// address, a network such as 10.0.0.0/8, or *, each with an optional :port.
    #[arg(long, value_name = "RULE")]
    allow_egress: Vec<EgressRule>,
}

/// What a program says.
pub(crate) enum Said<'a> {
    /// To the command, in JSON.
    Event(&'a str),
    /// To its reader.
    Line(&'a LogLine),
}

/// Called for everything that a program says. The program waits meanwhile.
pub(crate) type Listener = Arc<dyn Fn(Said<'_>) + Send + Sync>;

/// A server and an engine.
pub(crate) struct Helper {
    server: Running,
    engine: Module,
    allowed: Allowed,
    mark: String,
}

impl Helper {
    /// Starts the server.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub(crate) async fn start(
        engine: Module,
        allowed: Allowed,
        listener: Listener,
    ) -> Result<Self> {
        let mark = mark()?;
        let begin = mark.clone();
        let config = Config {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            memory_max_bytes: allowed.memory.0,
            instances_max: INSTANCES_MAX,
            log_rate: LogRate::Unlimited,
            drain_grace: DRAIN_GRACE,
            compiler: wapod::compile::this_program(),
            module_cache: folders::module_cache(),
            log_sink: Some(Arc::new(move |_: &AppAddress, line: &LogLine| {
                let event = line.text.strip_prefix(begin.as_str());
                match event.filter(|_| line.source == LogSource::Stdout) {
                    Some(event) => listener(Said::Event(event)),
                    None => listener(Said::Line(line)),
                }
            })),
            ..Config::default()
        };
        Ok(Self {
            server: Server::start(config).await?,
            engine,
            allowed,
            mark,
        })
    }

    /// What messages to the program have to begin with.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// URL of the port where programs can be asked.
    pub(crate) fn url(&self) -> String {
        self.server.user_url()
    }

    /// Starts a program. `option` is what the engine calls the session, `options` what
    /// its boot code is told.
    ///
    /// # Errors
    ///
    /// It cannot run.
    pub(crate) async fn run(
        &self,
        name: String,
        program: Program,
        option: &str,
        mut options: Value,
    ) -> Result<AppHandle> {
        options["mark"] = json!(self.mark);
        let mut app = AppConfig::new(self.engine.clone());
        app.label = name;
        app.args = program.args;
        app.args.extend([option.to_owned(), options.to_string()]);
        app.blobs = program.blobs;
        app.env = self.allowed.env.clone();
        app.egress = self.allowed.allow_egress.clone();
        app.listen_on_loopback = true;
        app.listen_ports = session::unprivileged_ports();
        Ok(self.server.start_app(app).await?)
    }

    /// Stops a program; it may have ended by itself.
    pub(crate) async fn stop(&self, app: &AppHandle) {
        // An error only says that it is gone already.
        let _ = self.server.stop_app(app.address()).await;
    }

    /// Stops everything.
    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// Draws a mark.
fn mark() -> Result<String> {
    let mut bytes = [0; MARK_BYTES];
    let mut source = File::open(RANDOM).context(RANDOM)?;
    source.read_exact(&mut bytes).context(RANDOM)?;
    Ok(format!("{}:", hex::encode(bytes)))
}
