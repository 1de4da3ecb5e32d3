//! `wapo start`, `wapo stop` and `wapo rm`: commands that take nothing but an app.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use wapo_rpc::{AppAddress, Client, ClientError};

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of each of them.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    #[command(flatten)]
    common: Common,
}

/// Starts the app and waits until it runs.
///
/// # Errors
///
/// There is no such app, or the worker refuses.
pub(crate) fn start(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    change(options, terminal, "Started", async |client, app| {
        client.app_start(app.into()).await.map(drop)
    })
}

/// Stops the app, which stays deployed, and waits until it has ended.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn stop(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    change(options, terminal, "Stopped", async |client, app| {
        client.app_stop(app.into()).await.map(drop)
    })
}

/// Stops the app and removes it, with its secrets.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn remove(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    change(options, terminal, "Removed", async |client, app| {
        client.app_remove(app.into()).await.map(drop)
    })
}

fn change(
    options: &Options,
    terminal: &Terminal,
    done: &str,
    call: impl AsyncFnOnce(&Client, AppAddress) -> Result<(), ClientError>,
) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        call(&session.client, app.address).await?;
        session.done(done, &done.to_lowercase(), &app)
    })
}
