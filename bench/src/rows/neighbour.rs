//! Row `neighbour`: how long a request to a well-behaved guest takes while as
//! many bad guests run beside it as the server has worker threads.
//!
//! The client is an open loop: requests have their times, and one that must
//! wait because the one before is late counts from its time on. Samples are
//! taken from the moment the bad guests are started, so that the worst case
//! includes the time in which the host finds out what they are.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::child::Server;
use crate::client::Client;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::{median, percentile};

/// Connections, each with a thread of its own.
const CLIENTS: u32 = 4;
/// Time between two requests of a connection.
const INTERVAL: Duration = Duration::from_millis(10);
/// A slice of a guest, which any request may have to wait for.
pub(super) const SLICE_MICROS: f64 = 100.0;
/// Priority of the client: its own delays are not what is measured.
const CLIENT_NICENESS: i32 = -15;

/// What the bad guests do, as their argument and in words.
const KINDS: [(&str, &str); 4] = [
    ("spin", "a loop"),
    ("fill", "memory.fill of 1 GiB"),
    ("always-ready", "polls that are always ready"),
    ("expensive", "expensive host calls"),
];

pub(super) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut server = Server::start("wapo")?;
    let address = server.ask_one("listen hello")?.parse()?;
    // Compiled before anything is measured.
    server.ask("apps 1 bad none")?;
    server.ask("stop")?;
    sample(address, "/", plan.neighbour / 4).finish()?;

    let mut idle = Vec::new();
    let mut beside = KINDS.map(|_| Vec::new());
    for _ in 0..plan.rounds.div_ceil(2) {
        idle.push(sample(address, "/", plan.neighbour).finish()?);
        for ((mode, _), rounds) in KINDS.iter().zip(&mut beside) {
            let sampler = sample(address, "/", plan.neighbour);
            server.ask(&format!("apps {workers} bad {mode}"))?;
            rounds.push(sampler.finish()?);
            server.ask("stop")?;
        }
    }
    let idle_p99 = p99(&idle);
    report.add(line("idle", &idle, idle_p99, Goal::None));
    for ((_, what), rounds) in KINDS.iter().zip(&beside) {
        let what = format!("beside {workers} × {what}");
        let bound = 3.0 * idle_p99 + SLICE_MICROS;
        report.add(line(&what, rounds, idle_p99, Goal::AtMost(bound)));
    }
    Ok(())
}

/// The median of the rounds' own: one disturbance from outside is none of ours.
fn p99(rounds: &[Vec<f64>]) -> f64 {
    let each: Vec<f64> = rounds
        .iter()
        .map(|samples| percentile(samples, 0.99))
        .collect();
    median(&each)
}

fn line(what: &str, rounds: &[Vec<f64>], idle_p99: f64, goal: Goal) -> Line {
    let p99 = p99(rounds);
    let all = rounds.concat();
    Line {
        row: "neighbour",
        what: format!("p99 of a hello request, {what}"),
        beside: format!("{} µs idle p99", number(idle_p99)),
        ours: format!(
            "p50 {} µs, p99 {} µs, worst {} µs",
            number(median(&all)),
            number(p99),
            number(percentile(&all, 1.0))
        ),
        value: p99,
        unit: "µs",
        goal,
    }
}

/// Clients at work.
pub(super) struct Sampler(Vec<JoinHandle<Result<Vec<f64>>>>);

impl Sampler {
    /// Waits for the end and gives all latencies in microseconds.
    ///
    /// # Errors
    ///
    /// A request failed.
    pub(super) fn finish(self) -> Result<Vec<f64>> {
        let mut samples = Vec::new();
        for client in self.0 {
            samples.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(samples)
    }
}

/// Starts clients that ask for a path for so long.
pub(super) fn sample(address: SocketAddr, path: &str, time: Duration) -> Sampler {
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|number| {
        // Spread over the interval, so that requests do not come in fours.
        let first = begun + INTERVAL * number / CLIENTS;
        let path = path.to_owned();
        thread::spawn(move || requests(address, &path, first, begun + time))
    });
    Sampler(clients.collect())
}

fn requests(address: SocketAddr, path: &str, first: Instant, end: Instant) -> Result<Vec<f64>> {
    // Only root may; without it the client is part of what it measures.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), CLIENT_NICENESS);
    let mut client = Client::connect(address)?;
    let mut samples = Vec::new();
    let mut due = first;
    while due < end {
        let now = Instant::now();
        let sent = if now < due {
            #[allow(
                clippy::disallowed_methods,
                reason = "a client with a thread of its own, in a process without instances"
            )]
            thread::sleep(due - now);
            // Waking late is the client's own fault.
            Instant::now()
        } else {
            due
        };
        client.get(path)?;
        samples.push(sent.elapsed().as_secs_f64() * 1e6);
        due += INTERVAL;
    }
    Ok(samples)
}
