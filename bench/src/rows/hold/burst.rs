//! Row `burst`: a thousand connections at once at one warm instance, whose
//! handler answers at once or computes for 4 ms. All are answered: they wait.

use anyhow::Result;

use super::exchange::{self, Load};
use crate::guests;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::{median, percentile};
use crate::worker::{Deploy, Worker};

/// Connections, each with one request.
const CONNECTIONS: usize = 1_000;
const SMOKE_CONNECTIONS: usize = 200;

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let connections = if plan.smoke {
        SMOKE_CONNECTIONS
    } else {
        CONNECTIONS
    };
    let worker = Worker::start(&["-m", "128m"])?;
    let wasm = guests::read("gateway")?;
    let app = worker.deploy(Deploy::new("burst", &wasm))?;
    for (what, path) in [("answers at once", ""), ("computes for 4 ms", "busy/4")] {
        let outcome = exchange::start(Load {
            address: worker.user,
            host: worker.user.to_string(),
            path: format!("{}{path}", Worker::path(app)),
            connections,
            requests: 1,
        })
        .finish()?;
        let ms = |share| percentile(&outcome.latencies_us, share) / 1000.0;
        report.add(Line {
            row: "burst",
            what: format!(
                "requests not answered of {connections} at once, one instance that {what}"
            ),
            beside: String::new(),
            ours: format!(
                "{}; median {} ms, last {} ms",
                outcome.text(),
                number(median(&outcome.latencies_us) / 1000.0),
                number(ms(1.0))
            ),
            value: outcome.failed() as f64,
            unit: "requests",
            goal: Goal::AtMost(0.0),
        });
    }
    Ok(())
}
