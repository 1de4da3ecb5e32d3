//! `wapo usage`: what apps have used, for looking at or as the worker signs it; and the
//! bill, which is a chain of reports (`export`, `show`).

mod export;
mod show;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use wapo_rpc::hexbytes::to_hex;
use wapo_rpc::message::{Addresses, AppUsage, Empty};
use wapo_rpc::statement::{self, AppsMetrics, Statement as _, VersionedAppsMetrics};
use wapo_verify::Verdict;
use wapo_verify::usage::Bill;
use wapod::ByteSize;

use crate::apps::{self, FoundApp};
use crate::human;
use crate::table::{Align, Table};
use crate::terminal::Terminal;
use crate::worker::{self, Common, Session};

/// Bytes of a bill in a file.
///
/// A report on an app takes some 610 bytes there, so that hourly reports on two hundred
/// apps fill it in a year. It is in memory as a whole while it is checked; the next file
/// begins with `--since`.
pub(crate) const BILL_BYTES_MAX: usize = 1 << 30;

/// Pages of a statement on all apps. Each has up to 64 apps, and no worker has more than
/// 100,000: one that goes on is not honest.
const STATEMENT_PAGES_MAX: usize = 2048;

/// Command line of `wapo usage`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Option<Action>,

    /// Name, label, or the beginning of the address of an app; all apps without.
    app: Option<String>,

    /// Have the worker sign it, and check the signature. This counts as a report:
    /// the number of the next one is higher.
    #[arg(long)]
    statement: bool,

    #[command(flatten)]
    common: Common,
}

/// What is done with the bill.
#[derive(Subcommand, Debug)]
enum Action {
    /// Write the bill into a file, or continue one.
    Export(export::Options),
    /// Show a bill that is in a file.
    Show(show::Options),
}

/// A statement that was checked.
struct Checked {
    metrics: AppsMetrics,
    encoded: Vec<u8>,
    signature: Vec<u8>,
}

/// Prints figures.
///
/// # Errors
///
/// There is no such app, or a signature is not the worker's.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    match &options.action {
        Some(Action::Export(options)) => return export::run(options, terminal),
        Some(Action::Show(options)) => return show::run(options, terminal),
        None => {}
    }
    worker::run(&options.common, terminal, async |session| {
        let apps = match &options.app {
            Some(word) => vec![apps::find(&session.client, word).await?],
            None => apps::list(&session.client).await?,
        };
        if options.statement {
            let only = apps.first().filter(|_| options.app.is_some());
            return show_statements(session, only).await;
        }
        let report: Vec<_> = apps.iter().map(to_json).collect();
        if session.print_json(&report)? {
            return Ok(ExitCode::SUCCESS);
        }
        match (&options.app, apps.as_slice()) {
            (Some(_), [app]) => terminal.table(&one(app)),
            (_, []) => terminal.hint("nothing is deployed"),
            (_, apps) => terminal.table(&all(apps)),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The bill when it verifies; otherwise the first check that failed.
pub(super) fn good((verdict, bill): (Verdict, Option<Bill>)) -> Result<Bill, String> {
    let failed = || verdict.failures().next().map(|check| check.detail.clone());
    bill.ok_or_else(|| failed().unwrap_or_default())
}

fn to_json(app: &FoundApp) -> serde_json::Value {
    json!({
        "address": format!("0x{}", app.address),
        "name": app.info.name,
        "label": app.label(),
        "usage": app.info.usage,
    })
}

fn usage(app: &FoundApp) -> AppUsage {
    app.info.usage.clone().unwrap_or_default()
}

fn all(apps: &[FoundApp]) -> Table {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("REQUESTS", Align::Right),
        ("GAS", Align::Right),
        ("RECEIVED", Align::Right),
        ("SENT", Align::Right),
        ("MEMORY", Align::Right),
        ("MIB·S", Align::Right),
        ("RAN", Align::Right),
        ("STARTS", Align::Right),
        ("STORED", Align::Right),
    ]);
    for app in apps {
        let usage = usage(app);
        table.row([
            app.shown().into(),
            human::count(usage.requests).into(),
            human::count(usage.gas).into(),
            ByteSize(usage.network_ingress).to_string().into(),
            ByteSize(usage.network_egress).to_string().into(),
            ByteSize(usage.memory).to_string().into(),
            human::count(usage.memory_mib_seconds).into(),
            human::millis(usage.running_time_ms).into(),
            human::count(usage.starts).into(),
            ByteSize(usage.storage_bytes).to_string().into(),
        ]);
    }
    table
}

fn one(app: &FoundApp) -> Table {
    let usage = usage(app);
    let mut table = Table::pairs();
    table.pair("app", format!("{}  {}", app.label(), app.address));
    table.pair("deployed", human::ago(app.info.deployed_at_ms));
    table.pair("requests", human::count(usage.requests));
    table.pair("gas", human::count(usage.gas));
    table.pair("received", ByteSize(usage.network_ingress).to_string());
    table.pair("sent", ByteSize(usage.network_egress).to_string());
    table.pair("memory", ByteSize(usage.memory).to_string());
    let over_time = human::count(usage.memory_mib_seconds);
    table.pair("memory over time", format!("{over_time} MiB·s"));
    table.pair("ran", human::millis(usage.running_time_ms));
    let (starts, restarts) = (human::count(usage.starts), human::count(usage.restarts));
    table.pair(
        "starts",
        format!("{starts}, and {restarts} again after a crash"),
    );
    table.pair(
        "storage",
        format!(
            "{} kept, {} read, {} written",
            ByteSize(usage.storage_bytes),
            ByteSize(usage.storage_read),
            ByteSize(usage.storage_write)
        ),
    );
    if usage.tip > 0 {
        table.pair("tip", human::count(usage.tip));
    }
    table
}

async fn show_statements(session: &Session<'_>, only: Option<&FoundApp>) -> Result<ExitCode> {
    let key = session.client.info(Empty {}).await?.pubkey;
    let statements = fetch(session, only, &key).await?;
    let report: Vec<_> = statements
        .iter()
        .map(|checked| statement_json(checked, &key))
        .collect();
    if session.print_json(&report)? {
        return Ok(ExitCode::SUCCESS);
    }
    for (index, checked) in statements.iter().enumerate() {
        if index > 0 {
            session.terminal.result("");
        }
        show_statement(session, checked, &key);
    }
    Ok(ExitCode::SUCCESS)
}

/// All pages of the signed usage, each signature checked.
async fn fetch(session: &Session<'_>, only: Option<&FoundApp>, key: &[u8]) -> Result<Vec<Checked>> {
    let key = <[u8; 32]>::try_from(key).ok();
    let key = key.context("the worker has no public key of 32 bytes")?;
    let mut statements = Vec::new();
    let mut cursor = 0;
    loop {
        let addresses = Addresses {
            addresses: only.map(|app| app.address.0.to_vec()).into_iter().collect(),
            cursor,
        };
        let answer = session.client.app_metrics(addresses).await?;
        let (encoded, signature) = (answer.encoded_metrics, answer.signature);
        let purpose = VersionedAppsMetrics::CONTENT_TYPE;
        if !wapo_crypto::verify(&key, purpose, &encoded, &signature) {
            bail!("the signature is not that of the worker: do not trust these figures");
        }
        let metrics = statement::decode(&encoded);
        let VersionedAppsMetrics::V0(metrics) =
            metrics.context("the worker signed something this version does not know")?;
        let is_empty = metrics.apps.is_empty();
        statements.push(Checked {
            metrics,
            encoded,
            signature,
        });
        if only.is_some() || answer.next_cursor <= cursor {
            return Ok(statements);
        }
        // A worker that does not get on must not keep us here for ever.
        if is_empty || statements.len() >= STATEMENT_PAGES_MAX {
            bail!("the worker's report does not end: do not trust these figures");
        }
        cursor = answer.next_cursor;
    }
}

fn show_statement(session: &Session<'_>, checked: &Checked, key: &[u8]) {
    let token = &checked.metrics.token;
    let mut table = Table::pairs();
    table.pair("report", human::count(token.sn));
    table.pair("session", hex::encode(token.session));
    table.pair("nonce", hex::encode(token.nonce));
    table.pair("signed by", hex::encode(key));
    table.pair(
        "signature",
        format!("{}  valid", hex::encode(&checked.signature)),
    );
    session.terminal.table(&table);
    for app in checked.metrics.apps.iter() {
        let mut table = Table::pairs();
        table.pair("app", app.address.to_string());
        table.pair("  deployment", hex::encode(app.session));
        table.pair("  gas", human::count(app.gas_consumed));
        table.pair("  received", ByteSize(app.network_ingress).to_string());
        table.pair("  sent", ByteSize(app.network_egress).to_string());
        table.pair(
            "  memory over time",
            format!("{} MiB·s", human::count(app.memory_used)),
        );
        table.pair(
            "  storage over time",
            format!("{} MB·s", human::count(app.storage_used)),
        );
        table.pair("  storage read", ByteSize(app.storage_read).to_string());
        table.pair("  storage written", ByteSize(app.storage_write).to_string());
        table.pair("  ran", human::millis(app.running_time_ms));
        table.pair("  starts", human::count(app.starts));
        table.pair("  tip", human::count(app.tip));
        session.terminal.result("");
        session.terminal.table(&table);
    }
}

/// Numbers of 128 bits are texts: JSON's own are not that exact everywhere.
fn statement_json(checked: &Checked, key: &[u8]) -> serde_json::Value {
    let token = &checked.metrics.token;
    let apps = checked.metrics.apps.iter().map(|app| {
        json!({
            "address": to_hex(app.address.0),
            "session": to_hex(app.session),
            "running_time_ms": app.running_time_ms,
            "gas_consumed": app.gas_consumed,
            "network_ingress": app.network_ingress,
            "network_egress": app.network_egress,
            "storage_read": app.storage_read,
            "storage_write": app.storage_write,
            "storage_used": app.storage_used.to_string(),
            "memory_used": app.memory_used.to_string(),
            "tip": app.tip,
            "starts": app.starts,
        })
    });
    json!({
        "sn": token.sn,
        "session": to_hex(token.session),
        "nonce": to_hex(token.nonce),
        "apps": apps.collect::<Vec<_>>(),
        "encoded_metrics": to_hex(&checked.encoded),
        "signature": to_hex(&checked.signature),
        "pubkey": to_hex(key),
        "is_valid": true,
    })
}
