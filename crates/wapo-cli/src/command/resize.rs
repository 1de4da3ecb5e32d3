//! `wapo resize`: sets how many instances an app has.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use wapo_rpc::message::ResizeArgs;
use wapod::mistakes::value;

use crate::apps;
use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of `wapo resize`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name, label, or the beginning of the address of the app.
    app: String,

    /// Instances wanted; 0 stops the app.
    #[arg(value_parser = value::<u32>)]
    instances: u32,

    #[command(flatten)]
    common: Common,
}

/// Starts or stops instances until there are as many.
///
/// # Errors
///
/// There is no such app, it is not resizable, or there is no room for any more.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let app = apps::find(&session.client, &options.app).await?;
        let args = ResizeArgs {
            address: app.address.0.to_vec(),
            instances: u64::from(options.instances),
        };
        let now = session.client.app_resize(args).await?.value;
        let report = json!({
            "action": "resized",
            "address": format!("0x{}", app.address),
            "instances": now,
        });
        if !session.print_json(&report)? {
            let text = format!(
                "{} has {now} of {} instances",
                app.shown(),
                options.instances
            );
            terminal.note("Resized", &text);
        }
        let is_short = now < u64::from(options.instances);
        if is_short {
            terminal.warn("the worker has no room for more; see `wapo info`");
        }
        Ok(ExitCode::from(u8::from(is_short)))
    })
}
