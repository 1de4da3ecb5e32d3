//! Measures Wapo beside native code, in one run on one machine.
//!
//! `cargo xtask bench` runs every row, prints a table of ratios and keeps it in
//! `bench/results/`; `--smoke` runs each row once and briefly, which proves that
//! it works and says nothing of speed. Servers that are measured run in child
//! processes of their own (`bench serve …`), so that their clients do not share
//! their threads, allocator or memory. Not a test: nothing here fails because a
//! machine is slow.
//!
//! Everything goes through [`wapod::Server`], except the rows about the host
//! itself (host call, instantiation, cpu).

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod child;
mod client;
mod count;
mod embedder;
mod folder;
mod guests;
mod machine;
mod peer;
mod plan;
mod report;
mod rows;
mod serve;
mod stats;
mod worker;
mod workerd;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::plan::Plan;
use crate::report::Report;
use crate::rows::Group;

/// The allocator of `wapod`, for all servers under measurement.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "\
Usage: bench [--smoke] [hold | ROW...]

  --smoke   every row once and briefly; nothing is kept
  hold      the rows about strangers that do their worst, kept in a table of
            their own: burst, hostile-guests, hostile-clients, compile-bombs,
            quotas, drain
  ROW       only these rows: those above, or host-call, instantiation, http,
            gateway, peers, https, transfer, daemon, tcp-echo, tls, udp-echo, egress, cpu,
            idle-memory, scale-apps, scale-connections, trust-enclave,
            trust-handshake, trust-verify, trust-usage, neighbour, javascript-hello, javascript-start,
            javascript-loops, javascript-memory, javascript-apps; nothing is kept";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["serve", what] => serve::run(what),
        ["count", what, count, cache] => count::run(what, count, cache),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        words => measure(words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard output belongs to the table, or to the parent process.
            #[allow(clippy::print_stderr, reason = "a program for the terminal")]
            {
                eprintln!("bench: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn measure(words: &[&str]) -> Result<()> {
    let smoke = words.contains(&"--smoke");
    let wanted: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| *word != "--smoke")
        .collect();
    let group = match wanted.as_slice() {
        [] => Some(Group::Speed),
        [name] => Group::of(name),
        _ => None,
    };
    if group.is_none()
        && let Some(unknown) = wanted
            .iter()
            .find(|word| rows::ALL.iter().all(|row| row.name != **word))
    {
        bail!("no row is named `{unknown}`\n{USAGE}");
    }
    let plan = if smoke { Plan::SMOKE } else { Plan::FULL };
    let mut report = Report::new(machine::facts(), !smoke);
    for row in rows::ALL {
        let is_wanted = match group {
            // A smoke test of all rows is one of both groups.
            Some(group) => row.group == group || (smoke && wanted.is_empty()),
            None => wanted.contains(&row.name),
        };
        if is_wanted {
            println!("# {}", row.name);
            (row.run)(&plan, &mut report).map_err(|error| error.context(row.name))?;
        }
    }
    println!("\n{}", report.markdown());
    if !smoke && let Some(group) = group {
        let path = report.keep(group.suffix())?;
        println!("kept in {}", path.display());
    }
    Ok(())
}
