//! Row `javascript-hello`: `Hello, World!` from `fetch` of a script, through the
//! daemon's gateway, beside workerd with the same script and beside hyper natively.
//! 32 connections with keep-alive; rounds alternate.

use anyhow::Result;

use super::super::load::Contestant;
use super::has_engine;
use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::workerd;

const ROW: &str = "javascript-hello";

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    if !has_engine(ROW, report) {
        return Ok(());
    }
    let mut native_server = Server::start("native")?;
    let url = format!("http://{}/", native_server.ask_one("routes")?);
    let mut native = Contestant::new(native_server.id(), url)?;
    let mut daemon = Server::start("javascript")?;
    let url = daemon.ask_one("warm")?;
    let mut ours = Contestant::new(daemon.id(), url)?;
    let other = workerd::start()?;
    let mut workerd = other
        .as_ref()
        .map(|other| Contestant::new(other.id(), other.url()))
        .transpose()?;
    for _ in 0..plan.rounds {
        native.round(plan)?;
        ours.round(plan)?;
        if let Some(workerd) = &mut workerd {
            workerd.round(plan)?;
        }
    }
    line(report, &ours, &native, "× native", Goal::AtLeast(0.15));
    let (Some(workerd), Some(other)) = (workerd, other) else {
        report.note(format!(
            "{ROW}: not measured beside workerd, which is not fetched (`cargo xtask bench` does so where npm is)"
        ));
        return Ok(());
    };
    line(report, &ours, &workerd, "× workerd", Goal::AtLeast(1.6));
    line(report, &workerd, &native, "× native, workerd", Goal::None);
    report.note(format!(
        "{ROW}: workerd has {} MB in memory",
        number(other.memory_bytes()? as f64 / 1e6)
    ));
    Ok(())
}

fn line(
    report: &mut Report,
    ours: &Contestant,
    beside: &Contestant,
    unit: &'static str,
    goal: Goal,
) {
    report.add(Line {
        row: ROW,
        what: "hello from a script's fetch, 32 connections keep-alive".to_owned(),
        beside: beside.achieved.text(),
        ours: ours.achieved.text(),
        value: ours.achieved.rate() / beside.achieved.rate(),
        unit,
        goal,
    });
}
