//! The group `hold`: whether the worker holds while strangers do their worst.
//!
//! Every row starts daemons of its own (`worker`) with a well-behaved neighbour
//! and puts one load beside it: a burst of honest clients, a hostile guest, a
//! hostile client, a module that makes compilers explode, an app at one of its
//! quotas, or changes of an app under load. Kept under the group's name in `bench/results`.

pub(super) mod bombs;
pub(super) mod burst;
pub(super) mod clients;
pub(super) mod drain;
mod exchange;
pub(super) mod guests;
mod hostile_guest;
pub(super) mod quotas;
mod raw_http2;

use std::time::{Duration, Instant};

use anyhow::Result;
use wapo_rpc::AppAddress;

use super::neighbour::{SLICE_MICROS, sample};
use crate::guests as built;
use crate::plan::Plan;
use crate::report::{Goal, Line, Report, number};
use crate::stats::{median, percentile};
use crate::worker::{Deploy, Worker, pause};

/// The guest that is measured while others misbehave.
const NEIGHBOUR: &str = "gateway";
/// Seconds that requests in flight get when something stops (`--drain-grace`).
const GRACE: Duration = Duration::from_secs(10);
/// The longest that any request of the neighbour may take.
const WORST_MS: f64 = 50.0;
/// Time after which the memory of a load has to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(30);
/// Time between two looks at the memory of the daemon.
const MEMORY_PAUSE: Duration = Duration::from_millis(50);

/// A daemon and its neighbour.
struct Scene {
    worker: Worker,
    path: String,
    /// The neighbour's latencies while nothing else happens, in microseconds.
    idle: Vec<f64>,
}

/// How long a scene looks at the neighbour.
fn sampling_time(plan: &Plan) -> Duration {
    plan.neighbour
}

impl Scene {
    fn open(plan: &Plan, options: &[&str]) -> Result<Self> {
        let worker = Worker::start(options)?;
        let wasm = built::read(NEIGHBOUR)?;
        let app = worker.deploy(Deploy::new("neighbour", &wasm))?;
        let path = Worker::path(app);
        sample(worker.user, &path, sampling_time(plan) / 4).finish()?;
        let idle = sample(worker.user, &path, sampling_time(plan)).finish()?;
        Ok(Self { worker, path, idle })
    }

    /// Latencies of the neighbour while `load` runs, and what that gave.
    fn beside<T>(
        &self,
        plan: &Plan,
        load: impl FnOnce(&Worker) -> Result<T>,
    ) -> Result<(Vec<f64>, T)> {
        let sampler = sample(self.worker.user, &self.path, sampling_time(plan));
        let outcome = load(&self.worker);
        let samples = sampler.finish()?;
        Ok((samples, outcome?))
    }
}

/// Says how the neighbour fared: its p99 against three times its idle p99 plus
/// one slice, and its worst case.
fn report_neighbour(
    report: &mut Report,
    row: &'static str,
    what: &str,
    idle: &[f64],
    beside: &[f64],
) {
    let idle_p99 = percentile(idle, 0.99);
    let p99 = percentile(beside, 0.99);
    let worst_ms = percentile(beside, 1.0) / 1000.0;
    report.add(Line {
        row,
        what: format!("p99 of a neighbour's request, beside {what}"),
        beside: format!("{} µs idle p99", number(idle_p99)),
        ours: format!("p50 {} µs, p99 {} µs", number(median(beside)), number(p99)),
        value: p99,
        unit: "µs",
        goal: Goal::AtMost(3.0 * idle_p99 + SLICE_MICROS),
    });
    report.add(Line {
        row,
        what: format!("worst request of a neighbour, beside {what}"),
        beside: format!("{} ms idle", number(percentile(idle, 1.0) / 1000.0)),
        ours: format!("{} ms", number(worst_ms)),
        value: worst_ms,
        unit: "ms",
        goal: Goal::AtMost(WORST_MS),
    });
}

/// Resident memory of the daemon before, at the height of and after a load.
struct Memory {
    before: u64,
    peak: u64,
    after: u64,
}

impl Memory {
    fn begin(worker: &Worker) -> Result<Self> {
        worker.forget_peak()?;
        let before = worker.resident_bytes()?;
        Ok(Self {
            before,
            peak: before,
            after: before,
        })
    }

    /// Waits for so long, and asks how much it was at most since the beginning:
    /// also while the load was being made.
    fn watch(&mut self, worker: &Worker, time: Duration) -> Result<()> {
        pause(time);
        self.peak = self.peak.max(worker.peak_bytes()?);
        Ok(())
    }

    /// Waits until the memory is back, or the time for that is over.
    fn settle(&mut self, worker: &Worker) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.after = worker.resident_bytes()?;
            if self.is_back() || begun.elapsed() > GIVEN_BACK {
                return Ok(());
            }
            pause(MEMORY_PAUSE);
        }
    }

    fn is_back(&self) -> bool {
        self.after <= self.before + self.before / 5
    }

    fn report(&self, report: &mut Report, row: &'static str, what: &str, budget_bytes: u64) {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let grown = mb(self.peak.saturating_sub(self.before));
        report.add(Line {
            row,
            what: format!("resident memory of the daemon grows by, {what}"),
            beside: format!("{} MB before", number(mb(self.before))),
            ours: format!("{} MB at most", number(mb(self.peak))),
            value: grown,
            unit: "MB",
            goal: Goal::AtMost(mb(budget_bytes) * 1.1),
        });
        report.add(Line {
            row,
            what: format!("resident memory within 30 s after {what}, beside before"),
            beside: format!("{} MB", number(mb(self.before))),
            ours: format!("{} MB", number(mb(self.after))),
            value: self.after as f64 / self.before as f64,
            unit: "×",
            goal: Goal::AtMost(1.2),
        });
    }
}

/// Says how long a stop took, which has the grace and a second.
fn report_stop(report: &mut Report, row: &'static str, what: &str, took: Duration) {
    report.add(Line {
        row,
        what: what.to_owned(),
        beside: format!("{} s of grace", GRACE.as_secs()),
        ours: format!("{} s", number(took.as_secs_f64())),
        value: took.as_secs_f64(),
        unit: "s",
        goal: Goal::AtMost(GRACE.as_secs_f64() + 1.0),
    });
}

/// Stops an app and ends the daemon while a load runs; says how long both took.
fn report_ends(
    report: &mut Report,
    row: &'static str,
    what: &str,
    worker: Worker,
    app: Option<AppAddress>,
) -> Result<()> {
    if let Some(app) = app {
        let took = worker.stop(app)?;
        report_stop(report, row, &format!("AppStop of {what}"), took);
        // It may refuse to start again at once; SIGTERM is what counts next.
        let _ = worker.start_app(app);
    }
    worker.terminate()?;
    let took = worker.ended()?;
    report_stop(report, row, &format!("SIGTERM beside {what}"), took);
    Ok(())
}
