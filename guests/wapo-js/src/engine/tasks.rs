//! Tasks of an engine: what a native function does while JavaScript goes on.
//!
//! A task keeps values of JavaScript only as [`Persistent`]s, and calls back
//! through [`Engine::enter`]. All of them are dropped before their engine is.

use std::future::Future;
use std::rc::Rc;

use rquickjs::{Ctx, Exception, Function, IntoJs, Persistent, Promise, Value};

use wapo::task::JoinHandle;

use super::heap::Share;
use super::{Account, Engine, Failure, Inner};
use crate::isolate::gate;

/// Tasks that an isolate may have at a time: its timers, what it reads or waits for, its
/// connections. The instance's lists of tasks have room for the most that there were.
const TASKS_OF_ISOLATE_MAX: usize = 1_000;

/// What a task counts of an isolate's memory besides its future: its entries, a timer's
/// or a waker's.
const TASK_BYTES: usize = 512;

impl Engine {
    /// Throws if the script that runs may not start a task now.
    ///
    /// # Errors
    ///
    /// It is an isolate's, which has as many as it may, or no memory for one more.
    pub(crate) fn check_tasks(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        if self.isolate().is_none() {
            return Ok(());
        }
        if self.0.tasks.borrow().len() >= TASKS_OF_ISOLATE_MAX {
            let message = format!(
                "the isolate waits for {TASKS_OF_ISOLATE_MAX} timers and operations, which is the most"
            );
            return Err(Failure::range_error(message).throw(ctx));
        }
        match Share::of(Some(self), TASK_BYTES) {
            Some(_) => Ok(()),
            None => Err(Failure::range_error("no memory for a timer or operation").throw(ctx)),
        }
    }

    /// Starts a task that lives no longer than the engine.
    ///
    /// Dropping the guard drops the task; [`Task::detach`] lets it run on.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Task {
        self.spawn_with(false, future)
    }

    /// As [`spawn`](Self::spawn), for what the program does not stay for.
    pub(crate) fn spawn_background(&self, future: impl Future<Output = ()> + 'static) -> Task {
        self.spawn_with(true, future)
    }

    fn spawn_with(&self, is_background: bool, future: impl Future<Output = ()> + 'static) -> Task {
        let weak = Rc::downgrade(&self.0);
        // The script was asked before; what it caused itself goes on without.
        let share = Share::of(Some(self), TASK_BYTES + size_of_val(&future));
        let id = self.0.next_task.get();
        self.0.next_task.set(id + 1);
        let task = async move {
            future.await;
            if let Some(inner) = weak.upgrade() {
                inner.tasks.borrow_mut().remove(&id);
                inner.life.look();
            }
        };
        let handle = match self.isolate() {
            Some(_) => wapo::spawn(gate::pass(task)),
            None => wapo::spawn(task),
        };
        let running = Running {
            handle,
            is_background,
            _share: share,
        };
        self.0.tasks.borrow_mut().insert(id, running);
        Task {
            engine: Rc::downgrade(&self.0),
            id,
            is_detached: false,
        }
    }
}

/// A task in the engine's list.
pub(super) struct Running {
    handle: JoinHandle<()>,
    pub(super) is_background: bool,
    _share: Option<Share>,
}

impl Running {
    /// Drops the task where it stands.
    pub(super) fn end(self) {
        self.handle.abort();
    }
}

/// A running task; dropping it ends the task.
pub(crate) struct Task {
    engine: std::rc::Weak<Inner>,
    id: u64,
    is_detached: bool,
}

impl Task {
    /// Lets the task run to its end, or to that of the engine.
    pub(crate) fn detach(mut self) {
        self.is_detached = true;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let (false, Some(engine)) = (self.is_detached, self.engine.upgrade())
            && let Some(running) = engine.tasks.borrow_mut().remove(&self.id)
        {
            running.end();
            engine.life.look();
        }
    }
}

/// Makes a promise that is settled by what a future gives.
///
/// # Errors
///
/// No memory for the promise, or [`Engine::check_tasks`].
pub(crate) fn promise<'js, T>(
    ctx: &Ctx<'js>,
    future: impl Future<Output = Result<T, Failure>> + 'static,
) -> rquickjs::Result<Promise<'js>>
where
    T: for<'a> IntoJs<'a> + 'static,
{
    if let Some(engine) = Engine::of(ctx) {
        engine.check_tasks(ctx)?;
    }
    let (promise, resolve, reject) = Promise::new(ctx)?;
    let settle = Settle {
        resolve: Persistent::save(ctx, resolve),
        reject: Persistent::save(ctx, reject),
    };
    let Some(engine) = Engine::of(ctx) else {
        return Ok(promise);
    };
    let for_task = Rc::downgrade(&engine.0);
    let account = engine.account();
    engine
        .spawn(async move {
            let outcome = future.await;
            if let Some(inner) = for_task.upgrade() {
                settle.settle(&Engine(inner), account, outcome);
            }
        })
        .detach();
    Ok(promise)
}

/// The two functions of a promise.
struct Settle {
    resolve: Persistent<Function<'static>>,
    reject: Persistent<Function<'static>>,
}

impl Settle {
    fn settle<T>(self, engine: &Engine, account: Rc<Account>, outcome: Result<T, Failure>)
    where
        T: for<'a> IntoJs<'a>,
    {
        engine.enter_as(account, |ctx| {
            let value = outcome.map_err(|failure| failure.throw(ctx));
            let called = match value.and_then(|value| value.into_js(ctx)) {
                Ok(value) => self
                    .resolve
                    .restore(ctx)
                    .and_then(|resolve| resolve.call::<_, ()>((value,))),
                // A value that there is no memory for is a failure like others: the
                // waiting caller lets go of what it has.
                Err(error) => {
                    let thrown = caught(ctx, &error);
                    let reject = self.reject.restore(ctx);
                    reject.and_then(|reject| reject.call::<_, ()>((thrown,)))
                }
            };
            if called.is_err() {
                // No memory for the reactions.
                let thrown = ctx.catch();
                log::error!(target: "js", "a promise was not settled: {}", super::describe(ctx, &thrown));
            }
        });
    }
}

/// What an error of a native function is for a script.
fn caught<'js>(ctx: &Ctx<'js>, error: &rquickjs::Error) -> Value<'js> {
    if !error.is_exception() {
        let _ = Exception::throw_internal(ctx, &error.to_string());
    }
    ctx.catch()
}
