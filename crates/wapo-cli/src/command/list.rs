//! `wapo list`: the apps of a worker.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use wapo_rpc::message::{AppInfo, Empty};
use wapod::ByteSize;

use crate::apps::{self, FoundApp};
use crate::human;
use crate::table::{Align, Cell, Table};
use crate::terminal::{DIM, Terminal, state_colour};
use crate::worker::{self, Common};

/// Characters of a reason that are shown. The log has the rest.
const REASON_CHARACTERS: usize = 40;

/// What a worker in safe mode does not do.
const SAFE_MODE: &str =
    "the worker is in safe mode: an app runs only when `wapo start` or `wapo deploy` starts it";

/// Command line of `wapo list`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
}

/// Prints a line for each app.
///
/// # Errors
///
/// Those of the connection.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let apps = apps::list(&session.client).await?;
        let infos: Vec<&AppInfo> = apps.iter().map(|app| &app.info).collect();
        if session.print_json(&infos)? {
            return Ok(ExitCode::SUCCESS);
        }
        if session.client.info(Empty {}).await?.safe_mode {
            terminal.hint(SAFE_MODE);
        }
        if apps.is_empty() {
            terminal.hint("nothing is deployed; `wapo deploy PROJECT` changes that");
        } else {
            terminal.table(&table(&apps));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn table(apps: &[FoundApp]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("LABEL", Align::Left),
        ("ADDRESS", Align::Left),
        ("STATE", Align::Left),
        ("INSTANCES", Align::Right),
        ("REQUESTS", Align::Right),
        ("MEMORY", Align::Right),
        ("DEPLOYED", Align::Left),
        ("", Align::Left),
    ]);
    for app in apps {
        let usage = app.info.usage.clone().unwrap_or_default();
        let name = match app.info.name.as_str() {
            "" => "-",
            name => name,
        };
        table.row([
            name.to_owned().into(),
            app.label().to_owned().into(),
            human::short(&app.address).into(),
            Cell::coloured(&app.info.state, state_colour(&app.info.state)),
            instances(&app.info).into(),
            human::count(usage.requests).into(),
            ByteSize(usage.memory).to_string().into(),
            human::ago(app.info.deployed_at_ms).into(),
            Cell::coloured(&reason(&app.info), DIM),
        ]);
    }
    table
}

/// Instances that there are, of those that are wanted when that is more.
fn instances(info: &AppInfo) -> String {
    if info.instances < info.target {
        format!("{} of {}", info.instances, info.target)
    } else {
        info.instances.to_string()
    }
}

/// Why an app does not run, in short.
fn reason(info: &AppInfo) -> String {
    let line = human::first_line(&info.reason);
    match line.char_indices().nth(REASON_CHARACTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
