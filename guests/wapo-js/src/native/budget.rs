//! `native.budget`: functions that run within a limit of their own, such as tests.
//!
//! A budget is an account of processor time and an alarm by the clock. Whatever
//! comes first tells the function that was given for it, once, on time of its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rquickjs::class::{Trace, Tracer};
use rquickjs::prelude::Func;
use rquickjs::{Class, Ctx, Function, JsLifetime, Object, Persistent};

use crate::engine::{Account, Engine, Task, WeakEngine, cpu_limit, limit_polls, report};

/// `open(milliseconds, over)` gives a budget; `soon(function)` runs a function at
/// nobody's cost; `spent()` says what the script that runs has used up.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("open", Func::from(open))?;
    area.set("soon", Func::from(soon))?;
    area.set("spent", Func::from(spent))?;
    Ok(area)
}

/// A limit and what runs within it.
#[derive(JsLifetime)]
#[rquickjs::class]
struct Budget {
    #[qjs(skip_trace)]
    account: Rc<Account>,
    #[qjs(skip_trace)]
    over: Rc<Over>,
    #[qjs(skip_trace)]
    alarm: Option<Task>,
    /// What one poll might compute before.
    #[qjs(skip_trace)]
    poll_before: Duration,
}

thread_local! {
    /// What one poll may compute, as the innermost budget has it.
    static POLL: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Tells the host what one poll may compute; gives what it was told before.
fn limit_poll(limit: Duration) -> Duration {
    limit_polls(limit);
    POLL.replace(Some(limit)).unwrap_or_else(cpu_limit)
}

impl<'js> Trace<'js> for Budget {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl Budget {
    /// Runs a function soon, within the budget.
    fn enter<'js>(&self, ctx: Ctx<'js>, function: Function<'js>) {
        run(&ctx, Some(Rc::clone(&self.account)), function);
    }

    /// Ends it: nothing is told any more.
    fn close(&mut self) {
        self.over.function.take();
        self.account.close();
        self.alarm = None;
        limit_poll(self.poll_before);
    }
}

/// Whom to tell that the budget is used up.
struct Over {
    function: RefCell<Option<Persistent<Function<'static>>>>,
}

impl Over {
    fn tell(&self, engine: &WeakEngine, what: &'static str) {
        let function = self.function.take();
        let (Some(engine), Some(function)) = (engine.upgrade(), function) else {
            return;
        };
        engine.enter_as(Account::new(cpu_limit()), |ctx| {
            let told = function.restore(ctx);
            report::outcome(ctx, told.and_then(|function| function.call((what,))));
        });
    }
}

/// Opens a budget. `over("processor" | "clock")` is called when it is used up; no
/// limit where the number is not finite.
fn open<'js>(
    ctx: Ctx<'js>,
    milliseconds: f64,
    over: Function<'js>,
) -> rquickjs::Result<Class<'js, Budget>> {
    let limit = Duration::try_from_secs_f64(milliseconds / 1_000.0).unwrap_or(Duration::MAX);
    let account = Account::new(limit);
    let over = Rc::new(Over {
        function: RefCell::new(Some(Persistent::save(&ctx, over))),
    });
    let mut alarm = None;
    // The host ends what the engine cannot stop, a moment later.
    let poll_before = limit_poll(limit);
    if let Some(engine) = Engine::of(&ctx) {
        let (weak, told) = (engine.weak(), Rc::clone(&over));
        account.on_over(move || {
            // Not at once: this is called while the engine ends a turn.
            let (weak, told) = (weak.clone(), Rc::clone(&told));
            let Some(engine) = weak.upgrade() else { return };
            engine
                .spawn(async move { told.tell(&weak, "processor") })
                .detach();
        });
        if limit < Duration::MAX {
            let (weak, told) = (engine.weak(), Rc::clone(&over));
            alarm = Some(engine.spawn(async move {
                wapo::time::sleep(limit).await;
                told.tell(&weak, "clock");
            }));
        }
    }
    let budget = Budget {
        account,
        over,
        alarm,
        poll_before,
    };
    Class::instance(ctx, budget)
}

/// What was used up when the script was stopped that runs: words for the log.
fn spent(ctx: Ctx<'_>) -> Option<String> {
    Engine::of(&ctx)?.clock().current()?.spent_words()
}

fn soon<'js>(ctx: Ctx<'js>, function: Function<'js>) {
    run(&ctx, None, function);
}

/// Calls a function in a task of its own, at the cost of an account or of a new one.
fn run<'js>(ctx: &Ctx<'js>, account: Option<Rc<Account>>, function: Function<'js>) {
    let Some(engine) = Engine::of(ctx) else {
        return;
    };
    let (weak, function) = (engine.weak(), Persistent::save(ctx, function));
    engine
        .spawn(async move {
            let Some(engine) = weak.upgrade() else { return };
            let account = account.unwrap_or_else(|| Account::new(cpu_limit()));
            engine.enter_as(account, |ctx| {
                let called = function.restore(ctx);
                report::outcome(ctx, called.and_then(|function| function.call(())));
            });
        })
        .detach();
}
