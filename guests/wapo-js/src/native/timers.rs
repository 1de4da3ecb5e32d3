//! `native.timers` and `native.time`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rquickjs::prelude::{Func, Opt};
use rquickjs::{Ctx, Exception, Function, JsLifetime, Object, Persistent};

use crate::engine::{Account, Engine, Task, report};

/// Timers that run, by their handle.
#[derive(Default, JsLifetime)]
struct Timers {
    running: RefCell<BTreeMap<u32, Task>>,
    last: Cell<u32>,
}

/// `set(milliseconds, function, is_background)` gives a handle, `clear(handle)` forgets it.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let _ = ctx.store_userdata(Timers::default());
    let area = Object::new(ctx.clone())?;
    area.set("set", Func::from(set))?;
    area.set("clear", Func::from(clear))?;
    Ok(area)
}

fn set<'js>(
    ctx: Ctx<'js>,
    milliseconds: f64,
    function: Function<'js>,
    is_background: Opt<bool>,
) -> rquickjs::Result<u32> {
    let missing = || Exception::throw_type(&ctx, "timers are not available here");
    let engine = Engine::of(&ctx).ok_or_else(missing)?;
    engine.check_tasks(&ctx)?;
    let timers = ctx.userdata::<Timers>().ok_or_else(missing)?;
    let handle = timers.last.get().wrapping_add(1).max(1);
    timers.last.set(handle);
    let function = Persistent::save(&ctx, function);
    let wait = Duration::from_secs_f64(milliseconds.clamp(0.0, f64::from(i32::MAX)) / 1_000.0);
    let (weak, account) = (engine.weak(), engine.account());
    let waiting = async move {
        wapo::time::sleep(wait).await;
        if let Some(engine) = weak.upgrade() {
            fire(&engine, account, handle, function);
        }
    };
    let task = match is_background.0 {
        Some(true) => engine.spawn_background(waiting),
        _ => engine.spawn(waiting),
    };
    timers.running.borrow_mut().insert(handle, task);
    Ok(handle)
}

fn fire(
    engine: &Engine,
    account: Rc<Account>,
    handle: u32,
    function: Persistent<Function<'static>>,
) {
    engine.enter_as(account, |ctx| {
        if let Some(timers) = ctx.userdata::<Timers>()
            && let Some(task) = timers.running.borrow_mut().remove(&handle)
        {
            // It is this very task.
            task.detach();
        }
        let called = function.restore(ctx).and_then(|function| function.call(()));
        report::outcome(ctx, called);
    });
}

fn clear(ctx: Ctx<'_>, handle: f64) {
    if let Some(timers) = ctx.userdata::<Timers>() {
        let task = timers.running.borrow_mut().remove(&(handle as u32));
        drop(task);
    }
}

/// When this instance began.
#[derive(JsLifetime)]
struct Begin {
    clock: Cell<Option<(Instant, f64)>>,
}

impl Begin {
    fn get(&self) -> (Instant, f64) {
        self.clock.get().unwrap_or_else(|| {
            let wall = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let begin = (Instant::now(), wall.as_secs_f64() * 1_000.0);
            self.clock.set(Some(begin));
            begin
        })
    }
}

/// `now()`: milliseconds since the instance began; `origin()`: when that was.
pub(super) fn time<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let _ = ctx.store_userdata(Begin {
        clock: Cell::new(None),
    });
    let area = Object::new(ctx.clone())?;
    area.set(
        "now",
        Func::from(|ctx: Ctx<'js>| {
            let begin = ctx.userdata::<Begin>().map(|begin| begin.get());
            begin.map_or(0.0, |(begin, _)| begin.elapsed().as_secs_f64() * 1_000.0)
        }),
    )?;
    area.set(
        "origin",
        Func::from(|ctx: Ctx<'js>| ctx.userdata::<Begin>().map_or(0.0, |begin| begin.get().1)),
    )?;
    Ok(area)
}
