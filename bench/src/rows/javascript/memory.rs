//! Rows `javascript-memory` and `javascript-apps`: the size of the engine, what an
//! idle instance takes, and what an app takes that nobody asks.
//!
//! Counted is everything: the difference of the process's proportional set size,
//! divided by the number of instances or apps.

use std::fs;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::has_engine;
use crate::child::Server;
use crate::client::get_once;
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::{median, percentile};
use crate::worker::pause;

const ROW: &str = "javascript-memory";
const APPS_ROW: &str = "javascript-apps";

/// Instances that wait. The daemon of the row has room for 256.
const INSTANCES: usize = 200;
/// Apps that nobody asks.
const APPS: usize = 1_000;
/// Apps of these that are asked for the first time.
const ASKED: usize = 100;

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    if !has_engine(ROW, report) {
        return Ok(());
    }
    let bytes = fs::metadata(guests::javascript_engine())?.len() as f64;
    report.add(Line {
        row: ROW,
        what: "the engine, one wasm file for all programs".to_owned(),
        beside: String::new(),
        ours: format!("{bytes} bytes"),
        value: bytes / 1e6,
        unit: "MB",
        goal: Goal::AtMost(4.0),
    });

    let mut daemon = Server::start("javascript")?;
    // The first one pays for what all share.
    start(&mut daemon, 1)?;
    let before = settled(plan, &mut daemon)?;
    let count = if plan.smoke { 10 } else { INSTANCES };
    start(&mut daemon, count)?;
    let grown = settled(plan, &mut daemon)?.saturating_sub(before) as f64;
    report.add(Line {
        row: ROW,
        what: format!("{count} instances with a script of 10 KB, each after one request"),
        beside: String::new(),
        ours: format!("{} MB in all", number(grown / 1e6)),
        value: grown / count as f64 / 1e6,
        unit: "MB",
        goal: Goal::AtMost(1.5),
    });
    Ok(())
}

/// The daemon's memory when the allocator has given back what was in use for a moment:
/// compiling the engine takes more than a thousand apps.
fn settled(plan: &Plan, daemon: &mut Server) -> Result<u64> {
    pause(plan.settle);
    daemon.memory_bytes()
}

/// Starts instances and has each answer a request.
fn start(daemon: &mut Server, count: usize) -> Result<()> {
    for url in daemon.ask(&format!("instances {count}"))? {
        ensure!(get_once(&url)? == b"Hello, World!", "another answer");
    }
    Ok(())
}

pub(in crate::rows) fn run_apps(plan: &Plan, report: &mut Report) -> Result<()> {
    if !has_engine(APPS_ROW, report) {
        return Ok(());
    }
    let (count, asked) = if plan.smoke { (20, 5) } else { (APPS, ASKED) };
    let mut daemon = Server::start("javascript")?;
    // What all share: the engine's code, the first connection.
    start(&mut daemon, 1)?;
    let before = settled(plan, &mut daemon)?;
    let urls = daemon.ask(&format!("scripts {count}"))?;
    let grown = settled(plan, &mut daemon)?.saturating_sub(before) as f64;
    report.add(Line {
        row: APPS_ROW,
        what: format!("{count} scripts of 10 KB on demand that nobody has asked"),
        beside: String::new(),
        ours: format!("{} MB in all", number(grown / 1e6)),
        value: grown / count as f64 / 1e3,
        unit: "KB",
        goal: Goal::AtMost(20.0),
    });
    let mut times = Vec::with_capacity(asked);
    for url in urls.iter().take(asked) {
        let begun = Instant::now();
        ensure!(get_once(url)? == b"Hello, World!", "another answer");
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let ms = median(&times);
    report.add(Line {
        row: APPS_ROW,
        what: "the first answer of one of them, over a new connection".to_owned(),
        beside: String::new(),
        ours: format!(
            "{} ms, 99 of 100 within {} ms",
            number(ms),
            number(percentile(&times, 0.99))
        ),
        value: ms,
        unit: "ms",
        goal: Goal::AtMost(5.0),
    });
    Ok(())
}
