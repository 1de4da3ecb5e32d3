//! Isolates: scripts in engines of their own, apart from the program.
//!
//! An isolate has its own memory, stack and limits, no network unless it was given, no
//! secret of the program, and cannot make others. `native::isolates` starts them for
//! `Wapo.isolateEval`; `run` takes one through its life. They share the instance's one
//! thread: while one computes, the program's other tasks have their turns in between.

pub(crate) mod gate;
pub(crate) mod network;
pub(crate) mod run;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use self::network::Network;
use crate::engine::heap::Room;
use crate::engine::{Account, Engine, Signal, cpu_limit, limit_polls, stack};

/// How long an isolate computes before others have a turn.
const SLICE: Duration = Duration::from_millis(10);

/// What an isolate is, besides its engine.
pub(crate) struct Isolate {
    /// Digest of its scripts: what its secrets are derived from.
    pub(crate) code: [u8; 32],
    /// Its environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) network: Network,
    /// The last failure that nobody caught.
    pub(crate) failure: RefCell<Option<String>>,
    account: Rc<Account>,
    room: Rc<Room>,
    gas_limit: Option<u64>,
    gas_left: Cell<u64>,
    time_limit: Option<Duration>,
    begin: Instant,
    end: Cell<Option<End>>,
    ended: Signal,
    gave_way: Cell<Instant>,
    /// The host's alarm was put off.
    is_alarm_late: Cell<bool>,
}

/// Why an isolate is over before its scripts are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Closed,
    Gas(u64),
    Time(Duration),
    Processor(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the isolate was closed"),
            Self::Gas(limit) => write!(f, "the gas limit of {limit} is used up"),
            Self::Time(limit) => write!(f, "the time limit of {limit:?} is over"),
            Self::Processor(limit) => write!(f, "the processor time of {limit:?} is used up"),
        }
    }
}

impl Isolate {
    /// Who pays for it.
    pub(crate) fn account(&self) -> &Rc<Account> {
        &self.account
    }

    /// The memory of its objects.
    pub(crate) fn room(&self) -> &Rc<Room> {
        &self.room
    }

    /// Ends it, wherever it is.
    pub(crate) fn close(&self) {
        self.end(End::Closed);
    }

    fn end(&self, why: End) {
        if self.end.get().is_none() {
            self.end.set(Some(why));
            self.ended.notify();
        }
    }

    /// Takes gas: a unit is what the engine computes between two looks at its limits,
    /// 10,000 steps of a loop or calls.
    pub(crate) fn take_gas(&self, units: u64) {
        let Some(limit) = self.gas_limit else {
            return;
        };
        match self.gas_left.get().checked_sub(units) {
            Some(left) => self.gas_left.set(left),
            None => self.end(End::Gas(limit)),
        }
    }

    /// The engine's question, as it computes: whether it must stop. Others may have a
    /// turn before it is answered.
    pub(crate) fn is_over_at(&self, engine: &Engine) -> bool {
        // Not while the boot code is evaluated.
        if engine.clock().current().is_none() {
            return false;
        }
        self.take_gas(1);
        if engine.clock().is_over() {
            self.end(End::Processor(self.account.limit()));
        }
        self.look_at_time();
        if self.end.get().is_none() {
            self.give_way(engine);
        }
        self.end.get().is_some()
    }

    /// The script has returned.
    pub(crate) fn has_returned(&self) {
        if self.is_alarm_late.replace(false) {
            limit_polls(cpu_limit());
        }
    }

    fn look_at_time(&self) {
        if let Some(limit) = self.time_limit
            && self.begin.elapsed() >= limit
        {
            self.end(End::Time(limit));
        }
    }

    /// Lets the program's tasks have a turn, if it is time for that.
    fn give_way(&self, engine: &Engine) {
        if self.gave_way.get().elapsed() < SLICE || !stack::is_shallow() {
            return;
        }
        let Some(account) = engine.clock().stop() else {
            return;
        };
        // The engine does look at its limits, so the host's alarm begins again; what
        // runs now may take as long as a request of its own.
        limit_polls(self.begin.elapsed() + 2 * cpu_limit());
        self.is_alarm_late.set(true);
        if !gate::closed(wapo::task::run_others) {
            // The program is over.
            self.close();
        }
        engine.clock().start(account);
        self.gave_way.set(Instant::now());
    }
}
