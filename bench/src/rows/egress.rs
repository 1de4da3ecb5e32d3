//! Row `egress`: what the policy takes for a connection, with a thousand rules.
//!
//! Each turn is a connection by name: the name is checked, then one address. The rules
//! are half names and half networks, as many that deny as allow, of worker and app; the
//! last rule of a list is the one that fits, so that going through the lists would show.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use wapo_host::{AppEgress, EgressPolicy as _, EgressRule, EgressRules, WorkerEgress};

use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::median;

/// Rules of all four lists together, as in the goal.
const RULES: u32 = 1000;

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let few = rules(4)?;
    let many = rules(RULES)?;
    let (mut few_times, mut many_times) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        few_times.push(each(&few, plan.calls)?);
        many_times.push(each(&many, plan.calls)?);
    }
    let (few, many) = (median(&few_times), median(&many_times));
    report.add(Line {
        row: "egress",
        what: format!("the policy's part of a connection by name, {RULES} rules"),
        beside: format!("{} ns (4 rules)", number(few)),
        ours: format!("{} ns", number(many)),
        value: many,
        unit: "ns",
        goal: Goal::AtMost(1000.0),
    });
    Ok(())
}

/// Four lists of equal length, each half of names and half of networks.
fn rules(count: u32) -> Result<EgressRules> {
    let list = |kind: &str, network: u8| -> Result<Vec<EgressRule>> {
        let mut rules = Vec::new();
        for number in 0..count / 8 {
            let [_, _, high, low] = number.to_be_bytes();
            rules.push(format!("*.{kind}{number}.example").parse()?);
            rules.push(format!("{network}.{high}.{low}.0/24:443").parse()?);
        }
        // The last one fits, where one is to.
        rules.push(format!("*.{kind}.example").parse()?);
        Ok(rules)
    };
    let worker = WorkerEgress {
        deny: list("worker-deny", 11)?.into_iter().collect(),
        allow: list("worker-allow", 10)?.into_iter().collect(),
        ..WorkerEgress::default()
    };
    let app = AppEgress {
        deny: list("app-deny", 12)?.into_iter().collect(),
        allow: list("app-allow", 10)?.into_iter().collect(),
        ..AppEgress::default()
    };
    Ok(EgressRules::of(Arc::default(), Arc::new(worker), app))
}

/// Nanoseconds of a connection, on average of the names.
fn each(rules: &EgressRules, count: u32) -> Result<f64> {
    let private = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1));
    let public = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));
    let connections = [
        ("api.app-allow.example", private, true),
        ("api.worker-allow.example", private, true),
        ("api.worker-deny.example", public, false),
        ("www.elsewhere.example", public, true),
    ];
    let begun = Instant::now();
    let mut passed = 0;
    for (host, address, _) in connections.iter().cycle().take(count as usize) {
        let by_name = rules.check_name(black_box(host), 443);
        let checked = by_name.and_then(|()| rules.check_address(host, (*address, 443).into()));
        passed += u32::from(black_box(checked).is_ok());
    }
    let time = begun.elapsed();
    let rounds = count / 4;
    let expected = connections.iter().filter(|(.., passes)| *passes).count();
    ensure!(
        passed >= rounds * u32::try_from(expected)?,
        "{passed} of {count} connections passed"
    );
    Ok(time.as_nanos() as f64 / f64::from(count))
}
