//! Row `https`: `Hello, World!` through the daemon's gateway with TLS, beside the same
//! without. Two daemons of the same build, one warm instance each, 32 connections with
//! keep-alive, HTTP/1.1, a certificate with a key of P-256; rounds alternate. The client,
//! which shares the machine, has the other half of the work of TLS.

use anyhow::Result;

use super::http::load;
use crate::child::Server;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut bare = Server::start("daemon")?;
    let mut secure = Server::start("daemon")?;
    secure.ask_one("https")?;
    let bare_url = bare.ask_one("warm")?;
    let secure_url = secure.ask_one("warm")?;
    let (mut beside, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        beside.push(load(&bare_url, plan)?);
        ours.push(load(&secure_url, plan)?);
    }
    let (beside, ours) = (median(&beside), median(&ours));
    report.add(Line {
        row: "https",
        what: "hello over HTTPS through the gateway, 32 connections keep-alive".to_owned(),
        beside: format!("{}/s without TLS", number(beside)),
        ours: format!("{}/s", number(ours)),
        value: ours / beside,
        unit: "× without TLS",
        goal: Goal::AtLeast(0.9),
    });
    Ok(())
}
