//! `wapo start`: starts an app that was stopped.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of `wapo start`.
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
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        session.client.app_start(app.address.into()).await?;
        session.done("Started", "started", &app)
    })
}
