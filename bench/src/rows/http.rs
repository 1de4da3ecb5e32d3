//! Row `http`: HTTP/1.1 with keep-alive over 32 connections to a guest's own
//! port, beside hyper natively with the same handler. The client is `wrk` with
//! one thread, for both. Rounds alternate.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::child::Server;
use crate::client::Client;
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// The same guest, built with the published SDK of Wapo 0.x.
const COMPATIBLE: &str = "compat-v0";

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut wapo = Server::start("wapo")?;
    let mut native = Server::start("native")?;
    let native = native.ask_one("hello").map(|address| (native, address))?;
    let mut contestants = vec![("our SDK", 0.75, wapo.ask_one("listen hello")?)];
    if guests::path(COMPATIBLE).exists() {
        let address = wapo.ask_one(&format!("listen {COMPATIBLE}"))?;
        contestants.push(("the published SDK of Wapo 0.x", 0.62, address));
    } else {
        report.note(format!(
            "http: {COMPATIBLE}.wasm is not built, so its row is missing"
        ));
    }
    for (_, _, address) in &contestants {
        let same = Client::connect(address.parse()?)?.get("/")?
            == Client::connect(native.1.parse()?)?.get("/")?;
        anyhow::ensure!(same, "the servers answer differently");
    }
    let mut native_rates = Vec::new();
    let mut rates = vec![Vec::new(); contestants.len()];
    for _ in 0..plan.rounds {
        native_rates.push(load(&native.1, plan)?);
        for ((_, _, address), rates) in contestants.iter().zip(&mut rates) {
            rates.push(load(address, plan)?);
        }
    }
    let beside = median(&native_rates);
    for ((sdk, bound, _), rates) in contestants.iter().zip(&rates) {
        let ours = median(rates);
        report.add(Line {
            row: "http",
            what: format!("HTTP/1.1 keep-alive, 32 connections, guest's own port, {sdk}"),
            beside: format!("{}/s", number(beside)),
            ours: format!("{}/s", number(ours)),
            value: ours / beside,
            unit: "× native",
            goal: Goal::AtLeast(*bound),
        });
    }
    Ok(())
}

/// Requests per second that `wrk` gets answered.
fn load(address: &str, plan: &Plan) -> Result<f64> {
    if !Path::new("/usr/bin/wrk").exists() && Command::new("wrk").arg("-v").output().is_err() {
        if !plan.smoke {
            bail!("`wrk` is missing; install it (Debian: apt-get install wrk)");
        }
        // What is asked of a smoke test is that the servers answer.
        Client::connect(address.parse()?)?.get("/")?;
        return Ok(1.0);
    }
    let seconds = plan.load.as_secs().max(1);
    let output = Command::new("wrk")
        .args(["-t1", "-c32", &format!("-d{seconds}s")])
        .arg(format!("http://{address}/"))
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
