//! `wapo rm`: removes an app from a worker.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of `wapo rm`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    #[command(flatten)]
    common: Common,
}

/// Stops the app and removes it, with its secrets.
///
/// # Errors
///
/// There is no such app, or the worker refuses.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        session.client.app_remove(app.address.into()).await?;
        session.done("Removed", "removed", &app)
    })
}
