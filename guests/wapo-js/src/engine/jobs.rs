//! The job queue of the engine: promises' reactions, run in turns.
//!
//! A turn has a budget, so that a chain of promises that feeds itself keeps
//! neither timers nor other requests waiting.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::account::{Account, Party};
use super::{Engine, Signal, context, report, stack};
use crate::isolate::gate;

/// Jobs of one turn. A job is short as a rule; a program that has more ready
/// lets the other tasks of the instance go between two turns.
const JOBS_PER_TURN: usize = 1_000;

/// What a turn has left behind.
#[derive(Default)]
pub(super) struct Jobs {
    is_started: Cell<bool>,
    backlog: RefCell<Option<Backlog>>,
    pending: Signal,
}

/// Jobs that are left.
struct Backlog {
    /// Who pays for them.
    account: Rc<Account>,
    /// Requests that have put jobs behind them.
    parties: Vec<Party>,
    /// A job was stopped, and it may have been one of a party.
    has_stopped: bool,
}

impl Jobs {
    /// Forgets what is left.
    pub(super) fn clear(&self) {
        self.backlog.take();
        self.pending.notify();
    }
}

impl Engine {
    /// Runs the jobs that a call has made ready, and ends the call's time.
    ///
    /// Behind a backlog they wait for their turn, so that a chain of promises
    /// that feeds itself is paid for by the account that began it.
    pub(super) fn run_jobs(&self) {
        let jobs = &self.0.jobs;
        let is_behind = jobs.backlog.borrow().is_some();
        let is_empty = !is_behind && self.run_turn();
        let Some(account) = self.0.clock.stop() else {
            return;
        };
        if is_empty {
            self.0.life.look();
        } else if let Some(backlog) = jobs.backlog.borrow_mut().as_mut() {
            backlog.parties.extend(account.party());
        } else {
            let backlog = Backlog {
                account,
                parties: Vec::new(),
                has_stopped: false,
            };
            jobs.backlog.replace(Some(backlog));
            self.go_on_later();
        }
    }

    /// Runs jobs until there are none or the budget is used up; whether there
    /// are none.
    fn run_turn(&self) -> bool {
        let runtime = &self.0.runtime;
        for _ in 0..JOBS_PER_TURN {
            let executed = runtime.execute_pending_job();
            // A job may have left a context.
            context::clear(&self.0.context);
            match executed {
                Ok(true) => {}
                // A listener of rejections may have started something.
                Ok(false) if report::settle_rejections(self) => {}
                Ok(false) => return true,
                // An interrupt or no memory: the job is over, the others go on.
                Err(failed) => {
                    failed.0.with(|ctx| report::exception(&ctx));
                    if let Some(backlog) = self.0.jobs.backlog.borrow_mut().as_mut() {
                        backlog.has_stopped = true;
                    }
                }
            }
        }
        !runtime.is_job_pending()
    }

    fn go_on_later(&self) {
        let jobs = &self.0.jobs;
        if jobs.is_started.replace(true) {
            return jobs.pending.notify();
        }
        let weak = self.weak();
        let pending = jobs.pending.clone();
        let jobs = async move {
            loop {
                wapo::task::yield_now().await;
                let Some(engine) = weak.upgrade() else { return };
                if !engine.run_backlog() {
                    continue;
                }
                drop(engine);
                let has_more = || match weak.upgrade() {
                    Some(engine) => engine.0.jobs.backlog.borrow().is_some().then_some(()),
                    None => Some(()),
                };
                pending.wait_for(has_more).await;
            }
        };
        match self.isolate() {
            Some(_) => wapo::spawn_named("jobs of an isolate", gate::pass(jobs)),
            None => wapo::spawn_named("jobs", jobs),
        };
    }

    /// Runs a turn of the backlog; whether it is gone.
    fn run_backlog(&self) -> bool {
        let backlog = &self.0.jobs.backlog;
        let Some(account) = backlog.borrow().as_ref().map(|it| Rc::clone(&it.account)) else {
            return true;
        };
        stack::forget();
        self.0.clock.start(account);
        let is_empty = self.run_turn();
        self.0.clock.stop();
        if is_empty {
            let over = backlog.take().filter(|backlog| backlog.has_stopped);
            for party in over.into_iter().flat_map(|backlog| backlog.parties) {
                party.end_if_lost();
            }
            self.0.life.look();
        }
        is_empty
    }
}
