//! Row `drain`: what happens to requests of two seconds while their app is
//! replaced, shrunk or stopped, and when the daemon is told to end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use wapo_rpc::AppAddress;

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
/// Time until all connections are busy. Requests take two seconds, so connections
/// that are not all busy in this time never will be.
const WARM_UP_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at the app's requests.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
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
    until_busy(&worker, first, connections)?;
    let second = worker.deploy(deploy(&["2"], Some(first)))?;
    line(report, "a replace", running)?;

    worker.resize(second, 3)?;
    let running = start(requests);
    until_busy(&worker, second, connections)?;
    worker.resize(second, 1)?;
    line(report, "a shrink from 3 instances to 1", running)?;

    let running = start(1);
    until_busy(&worker, second, connections)?;
    worker.stop(second)?;
    line(report, "a stop, of requests accepted before", running)?;

    worker.start_app(second)?;
    let running = start(1);
    until_busy(&worker, second, connections)?;
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

/// Waits until each connection has a request that the app works on.
fn until_busy(worker: &Worker, app: AppAddress, connections: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let requests = worker.requests(app)?;
        if requests >= connections as u64 {
            return Ok(());
        }
        if begun.elapsed() > WARM_UP_MAX {
            bail!("the app has {requests} requests of {connections} connections");
        }
        pause(LOOK_PAUSE);
    }
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
