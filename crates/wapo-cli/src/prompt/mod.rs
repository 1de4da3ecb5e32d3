//! The prompt of `wapo repl`: reads texts, has the engine evaluate them, shows what
//! they give.
//!
//! Texts go to the engine as queries, outcomes come back as lines of its standard
//! output (`helper`). Ctrl-C ends what runs in the engine (`guests/wapo-js/src/repl.rs`);
//! where that does not help, the engine is started afresh.

mod input;
mod line;
mod screen;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{sleep, timeout};
use wapo_rpc::UserClient;
use wapo_rpc::message::QueryArgs;
use wapod::{AppHandle, ExitReason, LogLevel, LogSource, Module};

use self::input::{Input, Typed};
use self::screen::Screen;
use crate::helper::{Allowed, Helper, Listener, Said};
use crate::human;
use crate::script::{Program, Script};
use crate::terminal::{DIM, PLAIN, RED, Terminal, YELLOW, console_text};

/// Time after which an engine that does not let go of what it computes is replaced.
const LET_GO_TIME: Duration = Duration::from_secs(3);
/// Events that wait to be shown: there is one for each text.
const EVENTS_MAX: usize = 16;

/// What `.help` says.
const HELP: &str = "\
.help     this
.exit     leave, as does Ctrl-D
_         the last value; _error: the last error
await     works here, as in a module; import(\"node:assert\") for modules
Ctrl-C    ends what runs, or forgets what was typed";

/// What the engine tells.
#[derive(Deserialize, Debug)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Ready,
    Outcome { state: State, text: String },
    Failed { text: String },
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum State {
    Value,
    Error,
    Interrupted,
}

/// A prompt and its engine.
pub(crate) struct Prompt {
    helper: Helper,
    client: UserClient,
    events: Receiver<Event>,
    terminal: Arc<Terminal>,
    script: Option<Script>,
    app: AppHandle,
}

/// How a text went.
enum Went {
    Well,
    Badly,
    /// The engine has ended, as the text wanted it.
    Over(ExitCode),
}

/// Reads and evaluates until the end.
///
/// # Errors
///
/// The engine does not start, or the terminal fails.
pub(crate) async fn run(
    engine: Module,
    allowed: Allowed,
    script: Option<Script>,
) -> Result<ExitCode> {
    let screen = Screen::default();
    let mut input = Input::open(&screen);
    let is_terminal = input.is_terminal();
    let terminal = Arc::new(Terminal::new());
    let (listener, events) = listener(screen, &terminal);
    let mut prompt = Prompt::start(engine, allowed, script, terminal, listener, events).await?;
    if is_terminal {
        prompt
            .terminal
            .hint("JavaScript in the engine of Wapo; .help tells more");
    }
    // With a pipe as input, Ctrl-C means the whole command.
    let mut interrupts = match is_terminal {
        true => Some(signal(SignalKind::interrupt()).context("cannot listen to signals")?),
        false => None,
    };
    let mut code = ExitCode::SUCCESS;
    loop {
        let typed = tokio::task::spawn_blocking(move || (input.next(), input)).await;
        let (typed, back) = typed.context("the input has ended")?;
        input = back;
        let text = match typed? {
            Typed::Text(text) => text,
            Typed::Interrupt => {
                prompt.terminal.hint("to leave, press Ctrl-D or type .exit");
                continue;
            }
            Typed::End => break,
        };
        match text.trim() {
            "" => continue,
            ".exit" => break,
            ".help" => prompt.terminal.result(HELP),
            text if text.starts_with('.') && !text.starts_with("..") && !is_number(text) => {
                prompt
                    .terminal
                    .hint(&format!("no such command: {text}; .help lists them"));
            }
            text => match prompt.evaluate(text, interrupts.as_mut()).await? {
                Went::Well => {}
                Went::Badly if is_terminal => {}
                Went::Badly => code = ExitCode::FAILURE,
                Went::Over(over) => {
                    code = over;
                    break;
                }
            },
        }
    }
    prompt.helper.shutdown().await;
    Ok(code)
}

/// Such as `.5`.
fn is_number(text: &str) -> bool {
    text.chars()
        .nth(1)
        .is_some_and(|next| next.is_ascii_digit())
}

/// What is said of an import statement, which only a module may have.
const IMPORTS: &str =
    "a prompt has no import statements: `const { join } = await import(\"node:path\")`";

/// Whether a text begins with an import statement.
fn is_import(text: &str) -> bool {
    let rest = text.trim_start().strip_prefix("import");
    rest.is_some_and(|rest| rest.starts_with([' ', '\t', '\n', '{', '*', '"', '\'']))
}

/// What hears the engine, and where its events arrive.
fn listener(screen: Screen, terminal: &Arc<Terminal>) -> (Listener, Receiver<Event>) {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let terminal = Arc::clone(terminal);
    let listener: Listener = Arc::new(move |said: Said<'_>| match said {
        Said::Event(text) => {
            if let Ok(event) = serde_json::from_str(text) {
                // One too many is of a text that nobody waits for.
                let _ = sender.try_send(event);
            }
        }
        Said::Line(line) if line.source == LogSource::Lifecycle => {}
        Said::Line(line) => {
            let colour = match (line.source, line.level) {
                (_, LogLevel::Error) => RED,
                (_, LogLevel::Warn) => YELLOW,
                (_, LogLevel::Debug | LogLevel::Trace) => DIM,
                _ => PLAIN,
            };
            screen.print(&terminal.painted(colour, console_text(&line.text)));
        }
    });
    (listener, events)
}

impl Prompt {
    async fn start(
        engine: Module,
        allowed: Allowed,
        script: Option<Script>,
        terminal: Arc<Terminal>,
        listener: Listener,
        mut events: Receiver<Event>,
    ) -> Result<Self> {
        let helper = Helper::start(engine, allowed, listener).await?;
        let app = begin(&helper, script.as_ref(), &mut events).await?;
        Ok(Self {
            client: UserClient::new(&helper.url())?,
            helper,
            events,
            terminal,
            script,
            app,
        })
    }

    /// Has the engine evaluate a text, and shows the outcome.
    async fn evaluate(&mut self, text: &str, mut interrupts: Option<&mut Signal>) -> Result<Went> {
        // What an interruption has left.
        while self.events.try_recv().is_ok() {}
        self.ask("evaluate", text).await?;
        let mut is_interrupted = false;
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(Event::Outcome { state, text: outcome }) => {
                        let is_import = state == State::Error && is_import(text);
                        let went = self.show(state, &outcome);
                        if is_import {
                            self.terminal.hint(IMPORTS);
                        }
                        return Ok(went);
                    }
                    Some(_) => continue,
                    None => bail!("the engine has gone"),
                },
                reason = self.app.exited() => return self.ended(&reason).await,
                () = interrupted(&mut interrupts), if !is_interrupted => {
                    is_interrupted = true;
                    // One that looks at nothing does not even take the question.
                    if let Ok(asked) = timeout(LET_GO_TIME, self.ask("interrupt", "")).await {
                        asked?;
                    }
                }
                () = sleep(LET_GO_TIME), if is_interrupted => {
                    self.afresh("it does not let go of what it computes").await?;
                    return Ok(Went::Badly);
                }
            }
        }
    }

    async fn ask(&self, what: &str, text: &str) -> Result<()> {
        let args = QueryArgs {
            address: self.app.address().0.to_vec(),
            path: format!("{}{what}", self.helper.mark()),
            payload: text.as_bytes().to_vec(),
            encoded_signature: Vec::new(),
        };
        self.client
            .query(args)
            .await
            .context("the engine cannot be asked")?;
        Ok(())
    }

    fn show(&self, state: State, text: &str) -> Went {
        match state {
            State::Value => {
                let colour = if text == "undefined" { DIM } else { PLAIN };
                self.terminal.result(&self.terminal.painted(colour, text));
                Went::Well
            }
            State::Error => {
                self.terminal.result(&self.terminal.painted(RED, text));
                Went::Badly
            }
            State::Interrupted => {
                self.terminal.hint("interrupted");
                Went::Badly
            }
        }
    }

    /// The engine has ended: as a text wanted it, or because something broke.
    async fn ended(&mut self, reason: &ExitReason) -> Result<Went> {
        if let ExitReason::Finished | ExitReason::Exited(_) = reason {
            return Ok(Went::Over(crate::session::exit_code(reason)));
        }
        self.afresh(&human::first_line(&reason.to_string())).await?;
        Ok(Went::Badly)
    }

    /// Starts another engine in place of this one.
    async fn afresh(&mut self, why: &str) -> Result<()> {
        self.terminal.warn(&format!(
            "{why}; another engine begins, and what was defined is gone"
        ));
        self.helper.stop(&self.app).await;
        self.app = begin(&self.helper, self.script.as_ref(), &mut self.events).await?;
        Ok(())
    }
}

/// Starts an engine and waits until it reads.
async fn begin(
    helper: &Helper,
    script: Option<&Script>,
    events: &mut Receiver<Event>,
) -> Result<AppHandle> {
    let program = script.map_or_else(|| Ok(Program::none()), Script::program)?;
    let app = helper
        .run("repl".to_owned(), program, "--repl", json!({}))
        .await?;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(Event::Ready) => return Ok(app),
                Some(Event::Failed { text }) => bail!("the program fails: {text}"),
                Some(_) => continue,
                None => bail!("the engine has gone"),
            },
            reason = app.exited() => bail!("the engine has ended: {reason}"),
        }
    }
}

/// Waits for Ctrl-C.
async fn interrupted(interrupts: &mut Option<&mut Signal>) {
    match interrupts {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
