//! Rows `gateway` and `fresh`: `Hello, World!` through the daemon's gateway, from
//! one warm instance and from an instance of its own for each request, beside
//! hyper natively. 32 connections with keep-alive; rounds alternate.

use anyhow::Result;

use super::http::load;
use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut native = Server::start("native")?;
    let mut daemon = Server::start("daemon")?;
    let native = format!("http://{}/", native.ask_one("hello")?);
    let warm = daemon.ask_one("warm")?;
    let fresh = daemon.ask_one("fresh")?;
    let (mut beside, mut of_warm, mut of_fresh) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        beside.push(load(&native, plan)?);
        of_warm.push(load(&warm, plan)?);
        of_fresh.push(load(&fresh, plan)?);
    }
    let beside = median(&beside);
    for (row, what, ours, goal) in [
        ("gateway", "one warm instance", median(&of_warm), 0.55),
        (
            "fresh",
            "an instance for each request",
            median(&of_fresh),
            0.14,
        ),
    ] {
        report.add(Line {
            row,
            what: format!("hello through the gateway, 32 connections keep-alive, {what}"),
            beside: format!("{}/s", number(beside)),
            ours: format!("{}/s", number(ours)),
            value: ours / beside,
            unit: "× native",
            goal: Goal::AtLeast(goal),
        });
    }
    Ok(())
}
