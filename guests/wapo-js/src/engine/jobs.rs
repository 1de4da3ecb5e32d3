//! The job queue of the engine: promises' reactions, run in turns.
//!
//! A turn has a budget, so that a chain of promises that feeds itself keeps
//! neither timers nor other requests waiting.

use std::cell::Cell;

use super::{Engine, Signal, report};

/// Jobs of one turn. A job is short as a rule; a program that has more ready
/// lets the other tasks of the instance go between two turns.
const JOBS_PER_TURN: usize = 1_000;

/// The task that goes on where a turn's budget ended.
#[derive(Default)]
pub(super) struct Jobs {
    is_started: Cell<bool>,
    pending: Signal,
}

impl Engine {
    /// Runs jobs until there are none or the budget is used up.
    pub(super) fn run_jobs(&self) {
        let runtime = &self.0.runtime;
        for _ in 0..JOBS_PER_TURN {
            match runtime.execute_pending_job() {
                Ok(true) => {}
                Ok(false) => {
                    report::settle_rejections(self);
                    // What a listener of rejections has started.
                    if !runtime.is_job_pending() {
                        return;
                    }
                }
                // An interrupt or no memory: the job is over, the others go on.
                Err(failed) => failed.0.with(|ctx| report::exception(&ctx)),
            }
        }
        self.go_on_later();
    }

    fn go_on_later(&self) {
        let jobs = &self.0.jobs;
        if jobs.is_started.replace(true) {
            return jobs.pending.notify();
        }
        let engine = self.clone();
        wapo::spawn_named("jobs", async move {
            loop {
                wapo::task::yield_now().await;
                engine.run_jobs();
                engine.pending_jobs().await;
            }
        });
    }

    /// Waits until a turn has left jobs behind.
    async fn pending_jobs(&self) {
        let is_pending = || self.0.runtime.is_job_pending().then_some(());
        self.0.jobs.pending.clone().wait_for(is_pending).await;
    }
}
