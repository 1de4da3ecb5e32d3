//! Row `drain`: what happens to requests of two seconds while their app is
//! replaced, shrunk or stopped, and when the daemon is told to end.

use std::time::Duration;

use anyhow::Result;

use super::exchange::{self, Load, Running};
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report};
use crate::worker::{Deploy, Worker, pause};

/// Connections under load.
const CONNECTIONS: usize = 1_000;
/// Requests of each of them, so that ten thousand are made.
const REQUESTS: usize = 10;
/// Path of an answer that takes two seconds.
const SLOW: &str = "/sleep/2000";
/// Time until all connections are busy.
const WARM_UP: Duration = Duration::from_secs(1);
/// Host name label of the app, which follows it through its replacements.
const NAME: &str = "drain";

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let (connections, requests) = match plan.smoke {
        true => (50, 2),
        false => (CONNECTIONS, REQUESTS),
    };
    let wasm = guests::read("gateway")?;
    let worker = Worker::start(&["-m", "128m"])?;
    let deploy = |args, replaces| Deploy {
        args,
        replaces,
        ..Deploy::new(NAME, &wasm)
    };
    let start = |requests| load(&worker, connections, requests);

    let first = worker.deploy(deploy(&["1"], None))?;
    let running = start(requests);
    pause(WARM_UP);
    let second = worker.deploy(deploy(&["2"], Some(first)))?;
    line(report, "a replace", running)?;

    worker.resize(second, 3)?;
    let running = start(requests);
    pause(WARM_UP);
    worker.resize(second, 1)?;
    line(report, "a shrink from 3 instances to 1", running)?;

    let running = start(1);
    pause(WARM_UP);
    worker.stop(second)?;
    line(report, "a stop, of requests accepted before", running)?;

    worker.start_app(second)?;
    let running = start(1);
    pause(WARM_UP);
    worker.terminate()?;
    line(report, "SIGTERM, of requests accepted before", running)
}

fn load(worker: &Worker, connections: usize, requests: usize) -> Running {
    exchange::start(Load {
        address: worker.user,
        host: format!("{NAME}.localhost:{}", worker.user.port()),
        path: SLOW.to_owned(),
        connections,
        requests,
    })
}

fn line(report: &mut Report, what: &str, running: Running) -> Result<()> {
    let outcome = running.finish()?;
    let all = outcome.good() + outcome.failed();
    report.add(Line {
        row: "drain",
        what: format!("requests of 2 s that failed of {all}, by {what}"),
        beside: String::new(),
        ours: outcome.text(),
        value: outcome.failed() as f64,
        unit: "requests",
        goal: Goal::AtMost(0.0),
    });
    Ok(())
}
