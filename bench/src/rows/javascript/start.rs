//! Row `javascript-start`: how soon a new instance with a script of 10 KB answers
//! its first request, and how many of them a core can start, when every request has
//! an instance of its own.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::super::load::Achieved;
use super::has_engine;
use crate::child::Server;
use crate::client::{Client, split_url};
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::{median, percentile};

const ROW: &str = "javascript-start";

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    if !has_engine(ROW, report) {
        return Ok(());
    }
    let mut daemon = Server::start("javascript")?;
    let url = daemon.ask_one("fresh")?;
    let times = first_answers(&url, plan.starts)?;
    let ms = median(&times);
    report.add(Line {
        row: ROW,
        what: "a new instance with a script of 10 KB until its first answer".to_owned(),
        beside: String::new(),
        ours: format!(
            "{} ms, 99 of 100 within {} ms",
            number(ms),
            number(percentile(&times, 0.99))
        ),
        value: ms,
        unit: "ms",
        goal: Goal::AtMost(3.0),
    });
    let mut achieved = Achieved::default();
    for _ in 0..plan.rounds {
        achieved.round(daemon.id(), &url, plan)?;
    }
    report.add(Line {
        row: ROW,
        what: "an instance for each request, 32 connections; by processor time".to_owned(),
        beside: String::new(),
        ours: achieved.text(),
        value: 1e6 / achieved.cost(),
        unit: "/s for a core",
        goal: Goal::AtLeast(500.0),
    });
    Ok(())
}

/// Milliseconds of requests, one after the other, each with an instance of its own.
fn first_answers(url: &str, count: usize) -> Result<Vec<f64>> {
    let (address, path) = split_url(url)?;
    let mut client = Client::connect(address)?;
    client.get(path)?;
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            let body = client.get(path)?;
            let time = begun.elapsed();
            ensure!(body == b"Hello, World!", "another answer");
            Ok(time.as_secs_f64() * 1e3)
        })
        .collect()
}
