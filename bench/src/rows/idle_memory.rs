//! Row `idle memory`: what an instance of hello-http costs that has answered a
//! request and now waits.
//!
//! Instances run in a server of their own process and answer through its
//! gateway. Counted is everything: the difference of the process's proportional
//! set size, divided by the number of instances.

use std::fs;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::child::Server;
use crate::client::Client;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::worker::pause;

/// How many pieces of address space the kernel lets a process have.
const MAX_MAP_COUNT: &str = "/proc/sys/vm/max_map_count";
/// Pieces per instance, generously: memory, image, table, stack, guards.
const MAPS_PER_INSTANCE: usize = 16;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let most = plan
        .idle_instances
        .iter()
        .copied()
        .max()
        .unwrap_or_default();
    raise_map_count(most * MAPS_PER_INSTANCE, report);

    let mut server = Server::start("wapo")?;
    let gateway = server.ask_one("gateway")?.parse()?;
    let mut client = Client::connect(gateway)?;
    // The first instance pays for what all share: the code, the gateway.
    start(&mut server, &mut client, 1)?;
    pause(plan.settle);
    let before = server.memory_bytes()?;
    let mut running = 0;
    for count in plan.idle_instances {
        let begun = Instant::now();
        start(&mut server, &mut client, count - running)?;
        let each = begun.elapsed().as_secs_f64() * 1e6 / (count - running) as f64;
        running = *count;
        pause(plan.settle);
        let grown = server.memory_bytes()?.saturating_sub(before) as f64;
        report.add(Line {
            row: "idle memory",
            what: format!("{count} instances of hello-http, each after one request"),
            beside: String::new(),
            ours: format!(
                "{} MB in all; start and request {} µs each",
                number(grown / 1e6),
                number(each)
            ),
            value: grown / running as f64 / 1e3,
            unit: "KB",
            goal: Goal::AtMost(40.0),
        });
    }
    Ok(())
}

/// Starts instances and has each answer a request.
fn start(server: &mut Server, client: &mut Client, count: usize) -> Result<()> {
    for path in server.ask(&format!("apps {count} hello-http"))? {
        let body = client.get(&path)?;
        ensure!(body == b"Hello, World!\n", "another answer than expected");
    }
    Ok(())
}

fn raise_map_count(needed: usize, report: &mut Report) {
    let present: usize = fs::read_to_string(MAX_MAP_COUNT)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_default();
    if present >= needed {
        return;
    }
    report.note(match fs::write(MAX_MAP_COUNT, needed.to_string()) {
        Ok(()) => format!("idle memory: vm.max_map_count was raised from {present} to {needed}"),
        Err(error) => format!(
            "idle memory: vm.max_map_count is {present} and cannot be raised ({error}); \
             {needed} would be enough for certain"
        ),
    });
}
