//! `wapo run`, from the first instance to the last: shows where the app answers
//! and what it logs, replaces it when it was built again, and ends with it.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;
use tokio::time::timeout;
use wapod::{
    AppConfig, AppHandle, ByteSize, Config, ExitReason, PortRanges, Running, Server, Signals,
    StartError, Status, Usage,
};

use crate::human;
use crate::source::{Built, SERVES_NOTHING, Source};
use crate::terminal::Terminal;
use crate::urls::Urls;
use crate::watch::Watcher;

/// Exit code after a trap, or after the guest broke a rule of the host.
pub(crate) const EXIT_TRAP: u8 = 101;
/// Exit code after a limit of gas or time.
pub(crate) const EXIT_LIMIT: u8 = 102;

/// Time that requests in flight get after Ctrl-C.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// Time after which the user is told why the start takes so long: a module
/// that is not in the cache is compiled.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Ports that need no privilege: those that an app may listen on here.
pub(crate) fn unprivileged_ports() -> Option<PortRanges> {
    PortRanges::new(vec![1024..=65535]).ok()
}

/// What is run, and how.
pub(crate) struct Plan {
    /// The server; its apps are filled in here.
    pub(crate) config: Config,
    /// Whether any other port will do when the gateway's is taken.
    pub(crate) may_move: bool,
    /// The app.
    pub(crate) app: AppConfig,
    /// Arguments of the app itself; those that the source needs come before them.
    pub(crate) own_args: Vec<String>,
    /// What is watched, if anything.
    pub(crate) watched: Option<Source>,
    /// Whether what the app has used is shown in the end.
    pub(crate) shows_usage: bool,
}

/// Runs until the app ends or the person says so.
///
/// # Errors
///
/// The app or the server does not start.
pub(crate) async fn run(
    plan: Plan,
    mut signals: Signals,
    terminal: Arc<Terminal>,
) -> Result<ExitCode> {
    let mut watcher = Watcher::start(plan.watched.clone(), &terminal);
    let app = plan.app.clone();
    let memory_max_bytes = plan.config.memory_max_bytes;
    let shows_usage = plan.shows_usage;
    let own_args = plan.own_args.clone();
    let server = tokio::select! {
        server = started(plan, &terminal) => server?,
        cause = signals.next() => return Ok(ExitCode::from(cause.exit_code())),
    };
    signals.running(DRAIN_GRACE, server.last_save());
    let app_handle = server.apps().first().cloned().context("the app is gone")?;
    let mut session = Session {
        shown: Shown::new(app_handle),
        server,
        app,
        own_args,
        terminal: Arc::clone(&terminal),
        shows_usage,
    };
    let size = ByteSize(memory_max_bytes);
    let address = session.shown.handle.address();
    terminal.note("Running", &format!("app {address} with {size} of memory"));
    session.show_status();

    let reason = loop {
        let event = session.shown.event(&mut signals, &mut watcher).await;
        match event {
            Event::Status => session.show_status(),
            Event::Ended(reason) => {
                session.show_rest();
                session.show_silence(&reason);
                if !watcher.is_active() {
                    break reason;
                }
                // Why, the log has said already.
                terminal.note("Waiting", "for a change");
            }
            Event::Built(Ok(built)) => {
                let is_interrupted = tokio::select! {
                    () = session.replace(built) => false,
                    _ = signals.next() => true,
                };
                if is_interrupted {
                    session.stop(&mut signals).await;
                    return Ok(ExitCode::SUCCESS);
                }
            }
            Event::Built(Err(error)) => {
                terminal.error(&format!("{error:#}"));
                terminal.note("Waiting", "for a change");
            }
            Event::Interrupted => {
                terminal.note("Stopping", "Ctrl-C again stops at once");
                session.stop(&mut signals).await;
                return Ok(ExitCode::SUCCESS);
            }
        }
    };
    session.stop(&mut signals).await;
    // How it ended is the last line of its log.
    Ok(exit_code(&reason))
}

/// Starts the server; says what takes so long when it does.
async fn started(plan: Plan, terminal: &Arc<Terminal>) -> Result<Running> {
    // One engine runs all programs in JavaScript.
    let compiled = match plan.app.blobs.is_empty() {
        true => "the program, once",
        false => "the engine of JavaScript, once",
    };
    let mut starting = pin!(start(plan, terminal));
    if let Ok(server) = timeout(SILENCE_MAX, &mut starting).await {
        return server;
    }
    terminal.note("Compiling", compiled);
    starting.await
}

/// Starts the server, on another port when nobody asked for this one.
async fn start(plan: Plan, terminal: &Arc<Terminal>) -> Result<Running> {
    let reader = Arc::clone(terminal);
    let mut config = Config {
        apps: vec![plan.app],
        root_app: true,
        drain_grace: DRAIN_GRACE,
        // The guest waits while a line is written, so none is ever lost.
        log_sink: Some(Arc::new(move |_, line| reader.log(line))),
        ..plan.config
    };
    match Server::start(config.clone()).await {
        Err(StartError::Bind { address, .. }) if plan.may_move && address == config.address => {
            terminal.hint(&format!(
                "port {} is taken, using another one",
                address.port()
            ));
            config.address.set_port(0);
            Ok(Server::start(config).await?)
        }
        Err(ref error @ StartError::Bind { address, .. }) => {
            let option = match config.tls {
                Some(tls) if tls.address == address => "--tls-port",
                _ => "--address",
            };
            bail!("{error}; choose another one with {option}")
        }
        other => Ok(other?),
    }
}

/// What can happen next.
enum Event {
    Status,
    Ended(ExitReason),
    Built(Result<Built>),
    Interrupted,
}

/// The app that is shown, and how far it has been.
struct Shown {
    handle: AppHandle,
    status: watch::Receiver<Status>,
    urls: Urls,
    has_ended: bool,
}

impl Shown {
    fn new(handle: AppHandle) -> Self {
        Self {
            status: handle.status(),
            urls: Urls::default(),
            has_ended: false,
            handle,
        }
    }

    /// Waits for whatever comes first.
    async fn event(&mut self, signals: &mut Signals, watcher: &mut Watcher) -> Event {
        tokio::select! {
            biased;
            _ = signals.next() => Event::Interrupted,
            Ok(()) = self.status.changed(), if !self.has_ended => Event::Status,
            reason = self.handle.exited(), if !self.has_ended => {
                self.has_ended = true;
                Event::Ended(reason)
            }
            built = watcher.next() => Event::Built(built),
        }
    }
}

struct Session {
    server: Running,
    app: AppConfig,
    own_args: Vec<String>,
    shown: Shown,
    terminal: Arc<Terminal>,
    shows_usage: bool,
}

impl Session {
    /// Shows URLs that have begun to answer.
    fn show_status(&mut self) {
        let status = self.shown.status.borrow_and_update().clone();
        let (gateway, tls) = (self.server.user_address(), self.server.tls_address());
        let urls = self.shown.urls.new_ones(&status, gateway, tls);
        let address = self.shown.handle.address();
        for url in urls {
            self.terminal.result(&url);
            if url.contains("/prpc/") {
                self.terminal.hint(&format!(
                    "curl '{url}' -d '{{\"address\":\"0x{address}\",\"path\":\"/hello\",\"payload\":\"0x\"}}'"
                ));
            }
        }
    }

    /// Says of a program that has come to its end that it never listened.
    fn show_silence(&self, reason: &ExitReason) {
        let is_over = *reason == ExitReason::Finished && self.shown.urls.is_empty();
        if is_over && Built::is_program(&self.app.args) {
            self.terminal.hint(SERVES_NOTHING);
        }
    }

    /// Shows what the app left behind.
    fn show_rest(&mut self) {
        self.show_status();
        self.terminal.bytes(&self.shown.handle.take_output());
    }

    /// Replaces the app. The old one goes first: both want the same ports.
    async fn replace(&mut self, built: Built) {
        let args = built.arguments(&self.own_args);
        if built.code_hash == self.app.module.hash() && args == self.app.args {
            self.terminal.note("Unchanged", "the app keeps running");
            return;
        }
        if let Some(module) = built.module {
            self.app.module = module;
        }
        self.app.args = args;
        self.app.blobs = built.blobs;
        // An error only says that it is gone already.
        let _ = self.server.stop_app(self.shown.handle.address()).await;
        self.show_rest();
        match self.server.start_app(self.app.clone()).await {
            Ok(handle) => {
                // The app was started a moment ago, so it is there.
                let _ = self.server.set_root_app(Some(handle.address()));
                self.terminal.note("Restarted", "with the new version");
                self.shown = Shown::new(handle);
                self.show_status();
            }
            Err(error) => {
                self.shown.has_ended = true;
                self.terminal.error(&error.to_string());
                self.terminal.note("Waiting", "for a change");
            }
        }
    }

    /// Lets requests finish, then stops the app; a second signal cuts it short.
    async fn stop(self, signals: &mut Signals) {
        let Self {
            server,
            shown,
            terminal,
            shows_usage,
            ..
        } = self;
        tokio::select! {
            _ = server.shutdown() => {}
            _ = signals.next() => {}
        }
        terminal.bytes(&shown.handle.take_output());
        if shows_usage {
            terminal.note("Used", &usage_text(&shown.handle.usage()));
        }
    }
}

/// What an app has used, in a line.
fn usage_text(usage: &Usage) -> String {
    format!(
        "{} gas, {} requests, {} received, {} sent, running for {}",
        human::count(usage.gas),
        human::count(usage.requests),
        ByteSize(usage.network_ingress_bytes),
        ByteSize(usage.network_egress_bytes),
        human::millis(usage.running_us / 1000)
    )
}

/// The exit code that tells how the app ended.
pub(crate) fn exit_code(reason: &ExitReason) -> ExitCode {
    ExitCode::from(exit_number(reason))
}

fn exit_number(reason: &ExitReason) -> u8 {
    match reason {
        ExitReason::Finished | ExitReason::Stopped => 0,
        // As the system does it: the lowest byte, but never a false success.
        ExitReason::Exited(code) => match u8::try_from(code & 0xff).unwrap_or(1) {
            0 if *code != 0 => 1,
            byte => byte,
        },
        ExitReason::Trapped(_) | ExitReason::Violation(_) => EXIT_TRAP,
        ExitReason::GasExhausted(_)
        | ExitReason::GasUsedUp(_)
        | ExitReason::TimeExceeded(_)
        | ExitReason::PollTooLong(_) => EXIT_LIMIT,
        ExitReason::FailedToStart(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_guest() {
        for (code, number) in [(0, 0), (7, 7), (255, 255), (256, 1), (-1, 255), (-256, 1)] {
            assert_eq!(exit_number(&ExitReason::Exited(code)), number, "{code}");
        }
        assert_eq!(exit_number(&ExitReason::Finished), 0);
        assert_eq!(exit_number(&ExitReason::Trapped("x".into())), EXIT_TRAP);
        assert_eq!(exit_number(&ExitReason::GasExhausted(5)), EXIT_LIMIT);
    }
}
