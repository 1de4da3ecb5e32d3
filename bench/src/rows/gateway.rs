//! Rows `gateway` and `fresh`: `Hello, World!` through the daemon's gateway, from
//! one warm instance and from an instance of its own for each request, beside
//! hyper natively with the gateway's limits of time. 32 connections with keep-alive;
//! rounds alternate. One more bar is the same native server when it hands each request
//! to another task and waits for the reply: what any hand-over costs.

use anyhow::Result;

use super::load::{Achieved, Contestant, processor};
use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report};

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut native = Server::start("native")?;
    let mut daemon = Server::start("daemon")?;
    let routes = format!("http://{}/", native.ask_one("routes")?);
    let handed = format!("http://{}/", native.ask_one("handed")?);
    let (warm, fresh) = (daemon.ask_one("warm")?, daemon.ask_one("fresh")?);
    let mut contestants = [
        Contestant::new(native.id(), routes)?,
        Contestant::new(native.id(), handed)?,
        Contestant::new(daemon.id(), warm)?,
        Contestant::new(daemon.id(), fresh)?,
    ];
    for _ in 0..plan.rounds {
        for one in &mut contestants {
            one.round(plan)?;
        }
    }
    let [native, handed, warm, fresh] = contestants.map(|one| one.achieved);
    let line = |row, what: &str, ours: &Achieved, goal| Line {
        row,
        what: format!("hello through the gateway, 32 connections keep-alive, {what}"),
        beside: native.text(),
        ours: ours.text(),
        value: ours.rate() / native.rate(),
        unit: "× native",
        goal,
    };
    let (least, most) = (Goal::AtLeast, Goal::AtMost);
    report.add(line("gateway", "one warm instance", &warm, least(0.60)));
    report.add(Line {
        beside: processor(native.cost()),
        ours: processor(warm.cost()),
        value: warm.cost() / native.cost(),
        unit: "× native, processor time",
        ..line("gateway", "one warm instance", &warm, most(2.2))
    });
    report.add(Line {
        what: "the native server, which hands each request to a task and awaits the reply"
            .to_owned(),
        ours: format!("natively {}", handed.text()),
        ..line("gateway", "", &handed, Goal::None)
    });
    report.add(line(
        "fresh",
        "an instance for each request",
        &fresh,
        least(0.25),
    ));
    Ok(())
}
