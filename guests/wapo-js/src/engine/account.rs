//! Processor time: what a request may use, and who stops it.
//!
//! Every call into JavaScript from outside belongs to an account: that of a
//! request, or one of its own. What a request starts (promises, timers) keeps the
//! account, so it pays for all that it causes. When it has used up its time, the
//! engine throws what no script can catch.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Engine;

/// Processor time of a request, or of a call that belongs to none, where the
/// program's environment does not say otherwise.
const CPU_LIMIT: Duration = Duration::from_secs(10);

/// Variable of the environment with another limit, in milliseconds.
const CPU_LIMIT_VARIABLE: &str = "WAPO_JS_REQUEST_CPU_MS";

/// Processor time of the program's first evaluation, which may set up more.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// How much longer than its script the engine may compute at a time. It looks at
/// the time as it interprets, but not inside of all that it does: what is worse
/// than this, the host ends, and begins with a fresh instance.
const GRACE: Duration = Duration::from_secs(1);

thread_local! {
    static LIMIT: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Processor time of a request, or of a call that belongs to none.
pub(crate) fn cpu_limit() -> Duration {
    if let Some(limit) = LIMIT.get() {
        return limit;
    }
    let wish = std::env::var(CPU_LIMIT_VARIABLE).ok();
    let limit = wish
        .and_then(|wish| wish.parse().ok())
        .filter(|milliseconds| *milliseconds > 0)
        .map_or(CPU_LIMIT, Duration::from_millis);
    LIMIT.set(Some(limit));
    limit
}

/// Tells the host for how long a call may compute at most.
pub(crate) fn limit_polls(limit: Duration) {
    // Hosts that do not know the call have limits of their own.
    let _ = wapo::guard::limit_poll(Some(limit.saturating_add(GRACE)));
}

/// The time for which this instance has computed; on hosts that do not tell,
/// the time that has passed.
fn now() -> Duration {
    wapo::guard::cpu_time().unwrap_or_else(|_| {
        let passed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        passed.unwrap_or_default()
    })
}

/// What an isolate may use of what its creator has left: the rest is for answering
/// that the isolate was ended.
const ISOLATE_TENTHS: u32 = 9;

/// What has been used, of how much.
pub(crate) struct Account {
    limit: Duration,
    /// Whose time this is, too.
    creator: Option<Rc<Self>>,
    used: Cell<Duration>,
    is_closed: Cell<bool>,
    is_of_request: Cell<bool>,
    /// What to do when it is used up.
    on_over: RefCell<Option<Rc<dyn Fn()>>>,
}

impl Account {
    pub(crate) fn new(limit: Duration) -> Rc<Self> {
        Self::with_creator(limit, None)
    }

    fn with_creator(limit: Duration, creator: Option<Rc<Self>>) -> Rc<Self> {
        Rc::new(Self {
            limit,
            creator,
            used: Cell::default(),
            is_closed: Cell::new(false),
            is_of_request: Cell::new(false),
            on_over: RefCell::default(),
        })
    }

    /// An account of an isolate: what it uses, its creator has used.
    pub(crate) fn of_isolate(creator: Rc<Self>, wish: Option<Duration>) -> Rc<Self> {
        let most = creator.left() * ISOLATE_TENTHS / 10;
        let limit = wish.map_or(most, |wish| wish.min(most));
        Self::with_creator(limit, Some(creator))
    }

    /// The time that it began with.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// That the time is used up, in words for the log; `None` where there is no limit.
    pub(crate) fn spent_words(&self) -> Option<String> {
        let is_limited = self.limit < Duration::MAX;
        let milliseconds = is_limited.then_some(self.limit.as_millis())?;
        let words = format!("{milliseconds} ms of processor time are used up");
        Some(match self.limit == cpu_limit() {
            true => format!("{words} ({CPU_LIMIT_VARIABLE})"),
            false => words,
        })
    }

    /// Has something be done when the time is used up.
    pub(crate) fn on_over(&self, action: impl Fn() + 'static) {
        self.is_of_request.set(true);
        *self.on_over.borrow_mut() = Some(Rc::new(action));
    }

    /// Ends the account with its request: what goes on has accounts of its own,
    /// one for each call.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.on_over.take();
    }

    /// This account, or a new one if it is closed.
    pub(super) fn or_new(self: Rc<Self>) -> Rc<Self> {
        match self.is_closed.get() {
            true => Self::new(cpu_limit()),
            false => self,
        }
    }

    /// The account of what a call starts and hears of later. A request pays for all
    /// of that; a program that belongs to none, such as one that accepts connections
    /// for ever, has a request's limit anew for each event. An isolate has one for all.
    pub(super) fn of_what_it_starts(self: Rc<Self>) -> Rc<Self> {
        match self.is_closed.get() || self.is_of_request.get() || self.creator.is_some() {
            true => self.or_new(),
            false => Self::new(cpu_limit()),
        }
    }

    /// The task to tell when the account's jobs are stopped with those of others.
    pub(super) fn party(self: &Rc<Self>) -> Option<Party> {
        let on_over = self.on_over.borrow().clone()?;
        Some(Party {
            account: Rc::downgrade(self),
            on_over,
        })
    }

    /// Processor time that is left of it.
    pub(crate) fn left(&self) -> Duration {
        let own = self.limit.saturating_sub(self.used.get());
        match &self.creator {
            Some(creator) if !creator.is_closed.get() => own.min(creator.left()),
            _ => own,
        }
    }

    /// Takes time off it. The clock does so for scripts; natives that compute
    /// outside of a script's turn do it themselves.
    pub(crate) fn spend(&self, time: Duration) {
        self.used.set(self.used.get().saturating_add(time));
        if let Some(creator) = &self.creator
            && !creator.is_closed.get()
        {
            creator.spend(time);
        }
        if self.used.get() >= self.limit
            && let Some(action) = self.on_over.take()
        {
            log::error!(target: "js", "stopped after {:?} of processor time", self.limit);
            action();
        }
    }
}

/// A request whose jobs stood in a queue that was stopped.
pub(super) struct Party {
    account: Weak<Account>,
    on_over: Rc<dyn Fn()>,
}

impl Party {
    /// Ends the request if nothing that is under way could still answer it.
    pub(super) fn end_if_lost(&self) {
        if self.account.strong_count() == 0 {
            (self.on_over)();
        }
    }
}

/// What is done now and then while scripts run.
type Look = Rc<dyn Fn()>;

/// Whose time runs at present.
#[derive(Default)]
pub(crate) struct Clock {
    running: RefCell<Option<Rc<Account>>>,
    started: Cell<Option<Duration>>,
    look: RefCell<Option<Look>>,
}

impl Clock {
    /// Whose time runs.
    pub(crate) fn current(&self) -> Option<Rc<Account>> {
        self.running.borrow().clone()
    }

    /// Starts the time of an account; [`stop`](Self::stop) ends it.
    pub(crate) fn start(&self, account: Rc<Account>) {
        self.started.set(Some(now()));
        *self.running.borrow_mut() = Some(account);
    }

    /// Ends the time that runs; says whose it was.
    pub(crate) fn stop(&self) -> Option<Rc<Account>> {
        let account = self.running.take()?;
        if let Some(started) = self.started.take() {
            account.spend(now().saturating_sub(started));
        }
        Some(account)
    }

    /// Whether the running account's time is over.
    pub(crate) fn is_over(&self) -> bool {
        let look = self.look.borrow().clone();
        if let Some(look) = look {
            look();
        }
        let running = self.running.borrow();
        match (running.as_ref(), self.started.get()) {
            (Some(account), Some(started)) => now().saturating_sub(started) >= account.left(),
            _ => false,
        }
    }
}

impl Engine {
    /// Has something be done now and then while scripts run. It must not run any
    /// itself; what it does to their account counts at once.
    pub(crate) fn look_while_running(&self, look: impl Fn() + 'static) {
        *self.0.clock.look.borrow_mut() = Some(Rc::new(look));
    }
}

/// Has the engine look at the time as it runs.
pub(super) fn watch(engine: &Engine) {
    let weak = engine.weak();
    let is_over = move || weak.upgrade().is_some_and(|engine| engine.must_stop());
    engine
        .0
        .runtime
        .set_interrupt_handler(Some(Box::new(is_over)));
}
