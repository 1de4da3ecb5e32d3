//! The daemon's log: on standard output, as text or JSON.
//!
//! What apps say is in their own logs; lines of apps come here only for apps
//! that ask for it, and with `RUST_LOG_SANITIZED=true` for none. `log_pipe` writes
//! it. Called by `main`.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::log_pipe::{LogPipe, Shape};
use crate::options::{Environment, LogFormat};

/// Time for the last lines of the log.
///
/// Nobody may read standard output any more, and that must not hold up the end.
pub(crate) const LOG_TIMEOUT: Duration = Duration::from_millis(100);

/// What is logged unless `RUST_LOG` says otherwise.
///
/// The libraries below warn about what strangers do, as often as they do it.
const FILTER: &str = "info,h2=error,hyper=error,hyper_util=error,rustls=error,hickory_resolver=error,hickory_net=error";

/// Where the log goes, once it has begun.
static PIPE: OnceLock<LogPipe> = OnceLock::new();

/// What the log is like.
pub(crate) struct LogOptions {
    filter: EnvFilter,
    is_sanitized: bool,
    has_colors: bool,
}

impl LogOptions {
    /// Takes them from the environment.
    ///
    /// # Errors
    ///
    /// A text when the filter cannot be read.
    pub(crate) fn new(environment: &Environment) -> Result<Self, String> {
        let filter = environment.log_filter.as_deref().unwrap_or(FILTER);
        let filter = EnvFilter::try_new(filter).map_err(|error| {
            format!("RUST_LOG: `{filter}`: {error}; write `info` or `warn,wapod=debug`")
        })?;
        Ok(Self {
            filter,
            is_sanitized: environment.is_log_sanitized,
            has_colors: std::io::stdout().is_terminal() && !environment.has_no_color,
        })
    }
}

/// Waits until the log is written, but not longer than that.
pub(crate) fn flush(time: Duration) {
    if let Some(pipe) = PIPE.get() {
        pipe.flush(time);
    }
}

/// Begins to log. Panics become lines of the log, too.
///
/// # Errors
///
/// A text when the system gives no thread.
pub(crate) fn init(options: LogOptions, format: LogFormat) -> Result<(), String> {
    let shape = match format {
        LogFormat::Json => Shape::Json,
        LogFormat::Text if options.has_colors => Shape::Coloured,
        LogFormat::Text => Shape::Plain,
    };
    let pipe = LogPipe::start(shape, std::io::stdout());
    let pipe = pipe.map_err(|error| format!("cannot start threads: {error}"))?;
    let pipe = PIPE.get_or_init(|| pipe).clone();
    let passes: fn(&Metadata<'_>) -> bool = match options.is_sanitized {
        true => passes_sanitized,
        false => passes,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(options.has_colors)
        .with_writer(pipe);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(options.filter)
        .with(lines.with_filter(FilterFn::new(passes)))
        .init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    // A damaged file makes the database library panic. It is an error with advice
    // for the code that opened the file, and that is enough.
    if std::thread::current().name() == Some(wapod::STORE_THREAD) {
        return;
    }
    let text = panic.payload_as_str().unwrap_or("panic");
    match panic.location() {
        Some(place) => tracing::error!(target: "wapod", %place, "panic: {text}"),
        None => tracing::error!(target: "wapod", "panic: {text}"),
    }
}

/// Whether a target is a crate, or a module in it.
fn is_of(target: &str, name: &str) -> bool {
    let rest = target.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The libraries below trace whole requests, with the token that is in them. h2
/// warns of whatever a client does wrong, as often as the client likes.
fn passes(line: &Metadata<'_>) -> bool {
    if is_of(line.target(), "h2") && *line.level() == Level::WARN {
        return false;
    }
    let is_http = ["h2", "hyper", "hyper_util", "rustls"];
    let is_http = is_http.iter().any(|name| is_of(line.target(), name));
    !is_http || *line.level() < Level::TRACE
}

/// Lines of the daemon itself, without the details that say what apps do: whom
/// they connect to is logged from `debug` on.
fn passes_sanitized(line: &Metadata<'_>) -> bool {
    let is_ours = ["wapod", "wapo_host", "wapo_rpc", "wapo_crypto"];
    let is_ours = is_ours.iter().any(|name| is_of(line.target(), name));
    is_ours && *line.level() <= Level::INFO
}
