//! `wapo info`: a worker at a glance.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use wapo_rpc::message::{Budget, Empty, WorkerInfo};
use wapod::ByteSize;

use crate::endpoints;
use crate::human;
use crate::table::{Align, Table};
use crate::terminal::Terminal;
use crate::worker::{self, Common};

/// Command line of `wapo info`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
}

/// Prints a summary.
///
/// # Errors
///
/// Those of the connection.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    worker::run(&options.common, terminal, async |session| {
        let info = session.client.info(Empty {}).await?;
        if !session.print_json(&info)? {
            terminal.table(&summary(&info, session.client.base_url()));
            // Workers of earlier versions name none.
            if !info.budgets.is_empty() {
                terminal.result("");
                terminal.table(&limits(&info.budgets));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What stands behind the worker's evidence.
fn attestation(info: &WorkerInfo) -> String {
    match info.attestation.as_str() {
        "" => "none: the worker cannot prove what it is".to_owned(),
        "simulator" => "simulator: proves nothing, for development only".to_owned(),
        source => source.to_owned(),
    }
}

fn summary(info: &WorkerInfo, url: &str) -> Table {
    let hex_or = |bytes: &[u8], none: &str| match bytes {
        [] => none.to_owned(),
        bytes => hex::encode(bytes),
    };
    let mut table = Table::pairs();
    table.pair("worker", format!("{url}, wapod {}", info.version));
    table.pair("public key", hex::encode(&info.pubkey));
    table.pair(
        "session",
        hex_or(&info.session, "none; `wapo init` begins one"),
    );
    table.pair("gateway", gateway(info));
    table.pair("attestation", attestation(info));
    table.pair("apps", human::count(info.deployed_apps));
    if info.safe_mode {
        table.pair("safe mode", "on: apps start only by hand");
    }
    if info.stalls > 0 {
        table.pair("stalls", stalls(info));
    }
    table.pair(
        "instances",
        format!(
            "{} of {}, each with at most {} of memory",
            human::count(info.running_instances),
            human::count(info.max_instances),
            ByteSize(info.instance_memory_size)
        ),
    );
    table.pair("memory", memory(info));
    if let Some(usage) = &info.memory_usage {
        table.pair(
            "machine",
            format!(
                "{} resident, {} free",
                ByteSize(usage.used),
                ByteSize(usage.free)
            ),
        );
    }
    let ports = match info.tcp_listen_port_range.as_str() {
        "" => "none",
        ports => ports,
    };
    table.pair("apps' ports", ports);
    if let Some(compiler) = &info.module_loader_info {
        table.pair(
            "compiler",
            format!(
                "{} at work, {} waiting, {} of {} programs kept",
                compiler.compiling_tasks,
                compiler.queue_used,
                compiler.cache_used,
                compiler.cache_cap
            ),
        );
    }
    if !info.bench_app_address.is_empty() {
        let address = hex::encode(&info.bench_app_address);
        table.pair(
            "benchmark",
            format!("{} instances of {address}", info.bench_app_instances),
        );
    }
    table
}

/// Everything of which there is a bounded amount.
fn limits(budgets: &[Budget]) -> Table {
    let mut table = Table::new(&[
        ("SHARED BY", Align::Left),
        ("LIMIT", Align::Left),
        ("USED", Align::Right),
        ("OF", Align::Right),
        ("REFUSED", Align::Right),
    ]);
    for budget in budgets {
        let amount = |amount: u64| match budget.name.ends_with("_bytes") {
            true => ByteSize(amount).to_string(),
            false => human::count(amount),
        };
        let max = match budget.max {
            0 => "no limit".to_owned(),
            max => amount(max),
        };
        table.row([
            scope(&budget.scope).into(),
            budget.title.clone().into(),
            amount(budget.used).into(),
            max.into(),
            human::count(budget.refused).into(),
        ]);
    }
    table
}

/// Who shares a budget, for people.
fn scope(name: &str) -> String {
    match name {
        "guests" => "apps".to_owned(),
        "user" | "admin" => format!("{name} port"),
        "tls" => "TLS port".to_owned(),
        other => other.to_owned(),
    }
}

/// How often the worker stood still, and for how long.
fn stalls(info: &WorkerInfo) -> String {
    let longest_s = info.longest_stall_ms as f64 / 1000.0;
    let count = human::count(info.stalls);
    format!("{count}, the longest of {longest_s:.1} s")
}

fn gateway(info: &WorkerInfo) -> String {
    match (info.user_address.as_str(), info.base_domain.as_str()) {
        (address, "") => address.to_owned(),
        (address, domain) => {
            let port = address.rsplit_once(':').map_or("", |(_, port)| port);
            let scheme = endpoints::gateway_scheme(info);
            format!("{address}, apps at {scheme}://NAME.{domain}:{port}/")
        }
    }
}

fn memory(info: &WorkerInfo) -> String {
    let committed = ByteSize(info.memory_committed);
    match info.memory_budget {
        0 | u64::MAX => format!("{committed} in use by instances, no limit together"),
        budget => format!("{committed} of {} in use by instances", ByteSize(budget)),
    }
}
