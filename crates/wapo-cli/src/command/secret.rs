//! `wapo secret`: environment variables of an app that are in no manifest.
//!
//! The value comes from standard input, where neither other users nor the
//! shell's history see it.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use wapo_rpc::message::{SecretRemoveArgs, SecretSetArgs};

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common, Taking};

/// Command line of `wapo secret`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Set a secret of an app, which it gets as an environment variable.
    ///
    /// The value is what standard input has, without a line break at its end. On a
    /// terminal it is asked for and not shown.
    Set(Named),
    /// Remove a secret of an app.
    Rm(Named),
}

#[derive(Args, Debug)]
struct Named {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// Name of the environment variable.
    name: String,

    #[command(flatten)]
    common: Common,
}

/// Sets or removes the secret.
///
/// # Errors
///
/// There is no such app or secret, or no value.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    match &options.command {
        Command::Set(named) => set(named, terminal),
        Command::Rm(named) => remove(named, terminal),
    }
}

fn set(named: &Named, terminal: &Terminal) -> Result<ExitCode> {
    let value = read_value(&named.name)?;
    worker::run(&named.common, terminal, async |session| {
        let app = apps::find(&session.client, &named.app).await?;
        let args = SecretSetArgs {
            address: app.address.0.to_vec(),
            name: named.name.clone(),
            value,
        };
        session.client.secret_set(args).await?;
        let words = format!("Set {} of", named.name);
        let code = session.done(&words, "secret set", &app)?;
        if !matches!(app.info.state.as_str(), "stopped" | "idle") {
            let name = app.shown();
            terminal.hint(&format!(
                "the app has it when it starts the next time: wapo stop {name} && wapo start {name}"
            ));
        }
        Ok(code)
    })
}

fn remove(named: &Named, terminal: &Terminal) -> Result<ExitCode> {
    let taking = Taking {
        done: &format!("Removed {} of", named.name),
        action: "secret removed",
        lacks: &format!("has no secret {}", named.name),
    };
    worker::take(
        &named.common,
        terminal,
        &named.app,
        taking,
        async |client, app| {
            let args = SecretRemoveArgs {
                address: app.0.to_vec(),
                name: named.name.clone(),
            };
            Ok(client.secret_remove(args).await?.value)
        },
    )
}

/// Reads a value; asks for it on a terminal.
fn read_value(name: &str) -> Result<Vec<u8>> {
    let stdin = std::io::stdin();
    let mut value = Vec::new();
    if stdin.is_terminal() {
        let _ = write!(std::io::stderr().lock(), "{name}: ");
        let line = {
            let _hidden = Hidden::new()?;
            let mut line = String::new();
            stdin.read_line(&mut line).map(|_| line)
        };
        let _ = writeln!(std::io::stderr().lock());
        value.extend(line.context("cannot read the value")?.bytes());
    } else {
        let read = stdin.lock().read_to_end(&mut value);
        read.context("cannot read the value from standard input")?;
    }
    if value.ends_with(b"\n") {
        value.pop();
        value.pop_if(|last| *last == b'\r');
    }
    if value.is_empty() {
        bail!("there is no value; give it on standard input: wapo secret set APP {name} < FILE");
    }
    Ok(value)
}

/// Keeps a terminal from showing what is typed, until it is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> Result<Self> {
        let failed = "the terminal cannot hide what is typed; give the value on standard input";
        let before = tcgetattr(std::io::stdin()).context(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden).context(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
