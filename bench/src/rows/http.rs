//! Row `http`: HTTP/1.1 with keep-alive over 32 connections to a guest's own
//! port, beside hyper natively with the same handler. The client is `wrk` with
//! one thread, for both. Rounds alternate.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::child::Server;
use crate::client::{Client, get_once};
use crate::guests;
use crate::machine;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// The same guest, built with the published SDK of Wapo 0.x.
const COMPATIBLE: &str = "compat-v0";

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

    pub(super) fn text(&self) -> String {
        format!(
            "{}/s, {} µs of processor each",
            number(self.rate()),
            number(self.cost())
        )
    }
}

/// A server, the guest or native code in it, and what it achieved.
struct Contestant<'a> {
    sdk: &'static str,
    bound: f64,
    server: &'a Server,
    address: String,
    achieved: Achieved,
}

impl Contestant<'_> {
    fn round(&mut self, plan: &Plan) -> Result<()> {
        let url = format!("http://{}/", self.address);
        self.achieved.round(self.server.id(), &url, plan)
    }
}

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut wapo = Server::start("wapo")?;
    let mut native_server = Server::start("native")?;
    let native = native_server.ask_one("hello")?;
    let mut guests = vec![("our SDK", 0.75, wapo.ask_one("listen hello")?)];
    if guests::path(COMPATIBLE).exists() {
        let address = wapo.ask_one(&format!("listen {COMPATIBLE}"))?;
        guests.push(("the published SDK of Wapo 0.x", 0.62, address));
    } else {
        report.note(format!(
            "http: {COMPATIBLE}.wasm is not built, so its row is missing"
        ));
    }
    let contestant = |sdk, bound, server, address| Contestant {
        sdk,
        bound,
        server,
        address,
        achieved: Achieved::default(),
    };
    let mut native = contestant("", 0.0, &native_server, native);
    let mut guests: Vec<_> = guests
        .into_iter()
        .map(|(sdk, bound, address)| contestant(sdk, bound, &wapo, address))
        .collect();
    for guest in &guests {
        let same = Client::connect(guest.address.parse()?)?.get("/")?
            == Client::connect(native.address.parse()?)?.get("/")?;
        anyhow::ensure!(same, "the servers answer differently");
    }
    for _ in 0..plan.rounds {
        native.round(plan)?;
        for guest in &mut guests {
            guest.round(plan)?;
        }
    }
    for guest in &guests {
        report.add(Line {
            row: "http",
            what: format!(
                "HTTP/1.1 keep-alive, 32 connections, guest's own port, {}",
                guest.sdk
            ),
            beside: native.achieved.text(),
            ours: guest.achieved.text(),
            value: guest.achieved.rate() / native.achieved.rate(),
            unit: "× native",
            goal: Goal::AtLeast(guest.bound),
        });
    }
    Ok(())
}

fn seconds(plan: &Plan) -> u64 {
    plan.load.as_secs().max(1)
}

/// Requests per second that `wrk` gets answered at a URL.
pub(super) fn load(url: &str, plan: &Plan) -> Result<f64> {
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
