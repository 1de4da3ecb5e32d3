//! Rows `deploy`, `query` and `restart`: how quickly the daemon does what
//! operators and clients ask of it.

use std::time::Instant;

use anyhow::{Context as _, Result};
use wapo_rpc::{AppAddress, Encoding, QueryArgs};

use super::load::Spent;
use crate::child::Server;
use crate::client::{Client, split_url};
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// Deployments that are measured.
const DEPLOYS: usize = 20;
/// Queries of a round.
const QUERIES: usize = 2_000;
/// Apps of the daemon that is started again.
const APPS: usize = 1_000;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut daemon = Server::start("daemon")?;
    deploy(plan, report, &mut daemon)?;
    query(plan, report, &mut daemon)?;
    restart(plan, report, &mut daemon)
}

fn deploy(plan: &Plan, report: &mut Report, daemon: &mut Server) -> Result<()> {
    let count = if plan.smoke { 2 } else { DEPLOYS };
    let times = daemon.ask(&format!("deploy {count}"))?;
    let times: Result<Vec<f64>, _> = times.iter().map(|text| text.parse()).collect();
    let ms = median(&times?) / 1000.0;
    report.add(Line {
        row: "deploy",
        what: "deploy of a cached module until its first answer".to_owned(),
        beside: String::new(),
        ours: format!("{} ms", number(ms)),
        value: ms,
        unit: "ms",
        goal: Goal::AtMost(20.0),
    });
    Ok(())
}

/// A query of 16 bytes beside a POST of the same to hyper.
fn query(plan: &Plan, report: &mut Report, daemon: &mut Server) -> Result<()> {
    let answer = daemon.ask("query")?;
    let (url, app) = answer.split_first().context("no URL")?;
    let app = app.first().context("no address")?;
    let (address, path) = split_url(url)?;
    let mut native_server = Server::start("native")?;
    let native = native_server.ask_one("routes")?.parse()?;
    let payload = [7; 16];
    let query = Encoding::Protobuf.encode(&QueryArgs {
        address: app.parse::<AppAddress>()?.0.to_vec(),
        path: "/".to_owned(),
        payload: payload.to_vec(),
        ..QueryArgs::default()
    });
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    let count = if plan.smoke { 20 } else { QUERIES };
    let mut to_daemon = Client::connect(address)?;
    let mut to_native = Client::connect(native)?;
    let (mut our_time, mut native_time) = (Spent::default(), Spent::default());
    for _ in 0..plan.rounds {
        beside.push(native_time.during(&native_server, || {
            round_trip(&mut to_native, "/echo", &payload, count)
        })?);
        ours.push(our_time.during(daemon, || round_trip(&mut to_daemon, path, &query, count))?);
    }
    let (ours, beside) = (median(&ours), median(&beside));
    let requests = plan.rounds * count;
    report.add(Line {
        row: "query",
        what: "a plain query over one connection, beside a POST to hyper".to_owned(),
        beside: format!("{} µs, {}", number(beside), native_time.each(requests)),
        ours: format!("{} µs, {}", number(ours), our_time.each(requests)),
        value: ours / beside,
        unit: "× native",
        goal: Goal::AtMost(1.9),
    });
    Ok(())
}

/// Microseconds of a request, on average.
fn round_trip(client: &mut Client, path: &str, body: &[u8], count: usize) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..count {
        let answer = client.post(path, body)?;
        anyhow::ensure!(answer.ends_with(&[7; 16]), "another answer: {answer:?}");
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / count as f64)
}

fn restart(plan: &Plan, report: &mut Report, daemon: &mut Server) -> Result<()> {
    let apps = if plan.smoke { 10 } else { APPS };
    let us: f64 = daemon.ask_one(&format!("restart {apps}"))?.parse()?;
    report.add(Line {
        row: "restart",
        what: format!("start of a daemon with {apps} apps on demand until it is ready"),
        beside: String::new(),
        ours: format!("{} ms", number(us / 1000.0)),
        value: us / 1e6,
        unit: "s",
        goal: Goal::AtMost(2.0),
    });
    Ok(())
}
