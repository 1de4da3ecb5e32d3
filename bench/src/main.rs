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
mod embedder;
mod guests;
mod machine;
mod plan;
mod report;
mod rows;
mod serve;
mod stats;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::plan::Plan;
use crate::report::Report;

const USAGE: &str = "\
Usage: bench [--smoke] [ROW]...

  --smoke   every row once and briefly; nothing is kept
  ROW       only these rows: host-call, instantiation, http, gateway,
            transfer, daemon, tcp-echo, cpu, idle-memory, neighbour; nothing is
            kept";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["serve", what] => serve::run(what),
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
    if let Some(unknown) = wanted
        .iter()
        .find(|word| rows::ALL.iter().all(|row| row.name != **word))
    {
        bail!("no row is named `{unknown}`\n{USAGE}");
    }
    let plan = if smoke { Plan::SMOKE } else { Plan::FULL };
    let mut report = Report::new(machine::facts(), !smoke);
    for row in rows::ALL {
        if wanted.is_empty() || wanted.contains(&row.name) {
            println!("# {}", row.name);
            (row.run)(&plan, &mut report).map_err(|error| error.context(row.name))?;
        }
    }
    println!("\n{}", report.markdown());
    if !smoke && wanted.is_empty() {
        let path = report.keep()?;
        println!("kept in {}", path.display());
    }
    Ok(())
}
