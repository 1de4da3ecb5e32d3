//! Servers under load: requests over 32 connections with keep-alive for some seconds,
//! and the processor time that the server's process used meanwhile. The client is `wrk`
//! with one thread. Used by all rows about HTTP under load.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::child::Server;
use crate::client::get_once;
use crate::machine;
use crate::plan::Plan;
use crate::report::number;
use crate::stats::median;

/// What a server achieved in some rounds.
#[derive(Default)]
pub(super) struct Achieved {
    rates: Vec<f64>,
    /// Microseconds of processor time for each request.
    costs: Vec<f64>,
}

impl Achieved {
    /// Another round, at a URL of a process.
    pub(super) fn round(&mut self, process: u32, url: &str, plan: &Plan) -> Result<()> {
        let before = machine::cpu_time(process)?;
        let rate = load(url, plan)?;
        let used = machine::cpu_time(process)?.saturating_sub(before);
        self.rates.push(rate);
        self.costs
            .push(used.as_secs_f64() * 1e6 / (rate * seconds(plan) as f64));
        Ok(())
    }

    /// Requests per second.
    pub(super) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Microseconds of processor time for each request.
    pub(super) fn cost(&self) -> f64 {
        median(&self.costs)
    }

    /// Both, for the table.
    pub(super) fn text(&self) -> String {
        format!("{}/s, {} each", number(self.rate()), processor(self.cost()))
    }
}

/// A server that answers `Hello, World!`, by its process, and what it achieved.
pub(super) struct Contestant {
    process: u32,
    url: String,
    pub(super) achieved: Achieved,
}

impl Contestant {
    /// A server that was asked once.
    ///
    /// # Errors
    ///
    /// It does not answer, or with something else.
    pub(super) fn new(process: u32, url: String) -> Result<Self> {
        let body = get_once(&url)?;
        ensure!(body == b"Hello, World!", "{url} gives another answer");
        Ok(Self {
            process,
            url,
            achieved: Achieved::default(),
        })
    }

    /// Another round.
    pub(super) fn round(&mut self, plan: &Plan) -> Result<()> {
        self.achieved.round(self.process, &self.url, plan)
    }
}

/// Processor time of a server over all rounds: one alone has few ticks of the kernel's
/// clock.
#[derive(Default)]
pub(super) struct Spent(Duration);

impl Spent {
    /// Counts what a server takes while something is done.
    pub(super) fn during<T>(
        &mut self,
        server: &Server,
        done: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let before = server.cpu_time()?;
        let done = done()?;
        self.0 += server.cpu_time()?.saturating_sub(before);
        Ok(done)
    }

    /// For each of so many requests, for the table.
    pub(super) fn each(&self, requests: usize) -> String {
        processor(self.0.as_secs_f64() * 1e6 / requests as f64)
    }
}

/// Microseconds of processor time, for the table.
pub(super) fn processor(us: f64) -> String {
    format!("{} µs of processor", number(us))
}

fn seconds(plan: &Plan) -> u64 {
    plan.load.as_secs().max(1)
}

/// Requests per second that `wrk` gets answered at a URL.
fn load(url: &str, plan: &Plan) -> Result<f64> {
    if !Path::new("/usr/bin/wrk").exists() && Command::new("wrk").arg("-v").output().is_err() {
        if !plan.smoke {
            bail!("`wrk` is missing; install it (Debian: apt-get install wrk)");
        }
        // What is asked of a smoke test is that the servers answer.
        if url.starts_with("https:") {
            let fetched = Command::new("curl").args(["-ksSf", url]).output();
            let output = fetched.context("cannot run curl")?;
            anyhow::ensure!(output.status.success(), "curl said: {output:?}");
        } else {
            get_once(url)?;
        }
        return Ok(1.0);
    }
    let seconds = seconds(plan);
    let output = Command::new("wrk")
        .args(["-t1", "-c32", &format!("-d{seconds}s")])
        .arg(url)
        .output()
        .context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        bail!("wrk met errors:\n{text}");
    }
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
        .with_context(|| format!("wrk said:\n{text}"))
}
