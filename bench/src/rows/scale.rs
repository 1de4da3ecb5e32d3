//! Rows `scale-apps` and `scale-connections`: what a daemon costs that has a hundred
//! thousand apps on demand, and one with ten thousand connections, beside a daemon with
//! one app and few connections. Rounds alternate.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::load::{Achieved, processor};
use crate::child::Server;
use crate::client::{Client, split_url};
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::worker::pause;

const APPS: &str = "scale-apps";
const CONNECTIONS: &str = "scale-connections";
/// Open files with which a daemon has connections enough for the row.
const FILES: u64 = 65_536;
/// Time for which a daemon without requests is watched.
const IDLE_TIME: Duration = Duration::from_secs(10);
/// A daemon and what it achieved.
struct Contestant {
    server: Server,
    url: String,
    achieved: Achieved,
}

impl Contestant {
    /// A daemon with one app on demand.
    fn start() -> Result<Self> {
        let mut server = Server::start("daemon")?;
        let url = server.ask_one("fill 1")?;
        Ok(Self {
            server,
            url,
            achieved: Achieved::default(),
        })
    }

    fn round(&mut self, plan: &Plan) -> Result<()> {
        self.achieved.round(self.server.id(), &self.url, plan)
    }
}

/// A hundred thousand apps.
pub(super) fn run_apps(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.apps;
    let mut few = Contestant::start()?;
    let mut many = Contestant::start()?;
    let before = many.server.memory_bytes()?;
    let begun = Instant::now();
    many.url = many.server.ask_one(&format!("fill {count}"))?;
    let deploying = begun.elapsed().as_secs_f64();
    let line = |what: String| Line {
        row: APPS,
        what,
        beside: String::new(),
        ours: String::new(),
        value: 0.0,
        unit: "",
        goal: Goal::None,
    };
    report.add(Line {
        ours: format!("{} s", number(deploying)),
        value: deploying * 1e6 / count as f64,
        unit: "µs each",
        ..line(format!(
            "{count} deployments of apps on demand, 64 at a time"
        ))
    });
    pause(plan.settle);
    let grown = many.server.memory_bytes()?.saturating_sub(before) as f64;
    report.add(Line {
        ours: format!("{} MB", number(grown / 1e6)),
        value: grown / count as f64 / 1e3,
        unit: "KB",
        goal: Goal::AtMost(2.0),
        ..line(format!("memory of an app on demand, of {count}"))
    });
    let idle = |one: &Contestant| share_of_processor(&one.server, IDLE_TIME.min(2 * plan.load));
    let (beside, ours) = (idle(&few)?, idle(&many)?);
    report.add(Line {
        beside: format!("{} % with one", number(beside)),
        value: ours,
        unit: "% of a processor",
        ..line(format!("a daemon with {count} idle apps"))
    });
    let us: f64 = many.server.ask_one("restart 0")?.parse()?;
    report.add(Line {
        ours: format!("{} ms", number(us / 1e3)),
        value: us / 1e6,
        unit: "s",
        goal: Goal::AtMost(4.0),
        ..line(format!(
            "start of a daemon with {count} apps on demand until it is ready"
        ))
    });
    many.url = many.server.ask_one("filled")?;
    for _ in 0..plan.rounds {
        few.round(plan)?;
        many.round(plan)?;
    }
    let (few, many) = (few.achieved, many.achieved);
    report.add(Line {
        beside: format!("{} with one", few.text()),
        ours: many.text(),
        value: many.cost() / few.cost(),
        unit: "× with one, processor time",
        goal: Goal::AtMost(1.05),
        ..line(format!("a request to one of {count} apps"))
    });
    Ok(())
}

/// Percent of a processor that a server uses while nothing is asked of it.
fn share_of_processor(server: &Server, time: Duration) -> Result<f64> {
    let before = server.cpu_time()?;
    pause(time);
    let used = server.cpu_time()?.saturating_sub(before);
    Ok(100.0 * used.as_secs_f64() / time.as_secs_f64())
}

/// Ten thousand connections with keep-alive, of which 32 are active.
pub(super) fn run_connections(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.connections;
    // The clients are in this process, the server's files in its children.
    raise_files(report);
    let mut few = Contestant::start()?;
    let mut many = Contestant::start()?;
    few.round(plan)?;
    many.round(plan)?;
    many.achieved = Achieved::default();
    few.achieved = Achieved::default();
    let before = many.server.memory_bytes()?;
    let mut idle = Idle::open(&many.url, count)?;
    pause(plan.settle);
    let grown = many.server.memory_bytes()?.saturating_sub(before) as f64;
    for _ in 0..plan.rounds {
        few.round(plan)?;
        many.round(plan)?;
        idle.ask()?;
    }
    let ratio = many.achieved.rate() / few.achieved.rate();
    let (few, many) = (few.achieved, many.achieved);
    let line = Line {
        row: CONNECTIONS,
        what: format!(
            "hello through the gateway on 32 of {} connections",
            count + 32
        ),
        beside: format!("{} on 32 alone", few.text()),
        ours: many.text(),
        value: ratio,
        unit: "× 32 alone",
        goal: Goal::AtLeast(0.9),
    };
    report.add(line);
    report.add(Line {
        row: CONNECTIONS,
        what: format!("memory of an idle connection to the gateway, of {count}"),
        beside: String::new(),
        ours: format!("{} MB", number(grown / 1e6)),
        value: grown / count as f64 / 1e3,
        unit: "KB",
        goal: Goal::AtMost(12.0),
    });
    report.note(format!(
        "{CONNECTIONS}: a request takes {} beside {} on 32 connections alone",
        processor(many.cost()),
        processor(few.cost())
    ));
    Ok(())
}

/// Allows this process and its children as many files as the row needs, if the system
/// lets it.
fn raise_files(report: &mut Report) {
    let present = getrlimit(Resource::Nofile).maximum;
    let enough = present.map(|maximum| maximum.max(FILES));
    let wanted = Rlimit {
        current: enough,
        maximum: enough,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        report.note(format!(
            "{CONNECTIONS}: the limit of open files cannot be raised to {FILES} ({error})"
        ));
    }
}

/// Connections that wait for their next request.
struct Idle {
    clients: Vec<Client>,
    path: String,
}

impl Idle {
    /// Opens connections, and has each answered once.
    fn open(url: &str, count: usize) -> Result<Self> {
        let (address, path) = split_url(url)?;
        let mut idle = Self {
            clients: Vec::with_capacity(count),
            path: path.to_owned(),
        };
        for number in 0..count {
            let mut client = connect(address, number)?;
            client.get(path)?;
            idle.clients.push(client);
        }
        Ok(idle)
    }

    /// Asks once on each, before the daemon closes them.
    fn ask(&mut self) -> Result<()> {
        for (number, client) in self.clients.iter_mut().enumerate() {
            let answer = client.get(&self.path);
            answer.with_context(|| format!("connection {number}"))?;
        }
        Ok(())
    }
}

fn connect(address: SocketAddr, number: usize) -> Result<Client> {
    Client::connect(address).with_context(|| format!("connection {number}"))
}
