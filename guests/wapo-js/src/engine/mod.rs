//! Runs JavaScript: one runtime and one context of QuickJS, its limits, and
//! the one way in.
//!
//! Not the web platform (that is boot code) and not the program. Whatever has
//! something to tell to JavaScript calls [`Engine::enter`].

mod account;
pub(crate) mod boot;
pub(crate) mod bytes;
pub(crate) mod context;
mod failure;
pub(crate) mod heap;
mod jobs;
mod life;
pub(crate) mod memory;
pub(crate) mod pack;
pub(crate) mod report;
pub(crate) mod script;
mod signal;
pub(crate) mod spare;
pub(crate) mod stack;
pub(crate) mod stop;
mod tasks;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use rquickjs::{Context, Ctx, Function, JsLifetime, Persistent, Runtime};

pub(crate) use self::account::{Account, START_LIMIT, cpu_limit, limit_polls};
pub(crate) use self::boot::Hooks;
pub(crate) use self::failure::Failure;
use self::heap::{Heap, Room};
use self::jobs::Jobs;
pub(crate) use self::report::describe;
pub(crate) use self::signal::Signal;
use self::spare::ProgramHeap;
pub(crate) use self::tasks::{Task, promise};
use crate::isolate::Isolate;

/// Bytes that a program allocates before the engine looks for cycles the first time.
///
/// It does so by itself after half of what there is; but a search writes to every
/// object, those of the boot code as well, which until then all instances share.
/// Small programs never come so far.
const GARBAGE_BYTES: usize = 2 * 1024 * 1024;

/// A runtime of JavaScript. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Engine(Rc<Inner>);

struct Inner {
    runtime: Runtime,
    context: Context,
    jobs: Jobs,
    rejections: RefCell<report::Rejections>,
    /// Functions of the boot code, once it was evaluated.
    hooks: RefCell<Option<Hooks>>,
    life: life::Life,
    clock: account::Clock,
    tasks: RefCell<BTreeMap<u64, tasks::Running>>,
    next_task: Cell<u64>,
    /// What it is limited by, unless it is the program's.
    isolate: Option<Rc<Isolate>>,
}

/// What a context knows about its engine.
#[derive(JsLifetime)]
struct Owner(Weak<Inner>);

thread_local! {
    /// The engine that was made before the image of memory was taken.
    static PREPARED: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

impl Engine {
    /// The engine of the program, with its boot code evaluated.
    ///
    /// # Errors
    ///
    /// The boot code fails, which is a defect of ours.
    pub(crate) fn prepared() -> rquickjs::Result<Self> {
        PREPARED.with_borrow_mut(|prepared| match prepared {
            Some(engine) => Ok(engine.clone()),
            None => {
                let engine = Self::new(Runtime::new_with_alloc(ProgramHeap::new())?, None)?;
                boot::evaluate(&engine)?;
                engine.0.runtime.run_gc();
                let used = memory::allocated();
                engine.0.runtime.set_gc_threshold(used + GARBAGE_BYTES);
                Ok(prepared.insert(engine).clone())
            }
        })
    }

    /// An engine of its own for an isolate, whose objects are in a room.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub(crate) fn of_isolate(isolate: Rc<Isolate>, room: Rc<Room>) -> rquickjs::Result<Self> {
        let runtime = Runtime::new_with_alloc(Heap::new(room))?;
        let engine = Self::new(runtime, Some(isolate))?;
        match boot::evaluate(&engine) {
            Ok(()) => Ok(engine),
            Err(error) => {
                engine.tear_down();
                Err(error)
            }
        }
    }

    fn new(runtime: Runtime, isolate: Option<Rc<Isolate>>) -> rquickjs::Result<Self> {
        runtime.set_max_stack_size(stack::MEMORY_BYTES);
        let context = Context::full(&runtime)?;
        let inner = Rc::new(Inner {
            runtime,
            context,
            jobs: Jobs::default(),
            rejections: RefCell::default(),
            hooks: RefCell::default(),
            life: life::Life::default(),
            clock: account::Clock::default(),
            tasks: RefCell::default(),
            next_task: Cell::new(0),
            isolate,
        });
        let engine = Self(inner);
        let owner = Owner(Rc::downgrade(&engine.0));
        engine.0.context.with(|ctx| {
            let _ = ctx.store_userdata(owner);
        });
        report::track(&engine);
        account::watch(&engine);
        Ok(engine)
    }

    /// The engine that a context belongs to; `None` while it is torn down.
    pub(crate) fn of(ctx: &Ctx<'_>) -> Option<Self> {
        let owner = ctx.userdata::<Owner>()?;
        owner.0.upgrade().map(Self)
    }

    /// The isolate that it runs, if it is not the program's.
    pub(crate) fn isolate(&self) -> Option<&Rc<Isolate>> {
        self.0.isolate.as_ref()
    }

    /// The time that it uses at present.
    pub(crate) fn clock(&self) -> &account::Clock {
        &self.0.clock
    }

    /// Whether the script that runs has used up what it may.
    pub(crate) fn must_stop(&self) -> bool {
        match &self.0.isolate {
            Some(isolate) => isolate.is_over_at(self),
            None => self.0.clock.is_over(),
        }
    }

    /// Ends everything that keeps values of it, so that it can be dropped.
    pub(crate) fn tear_down(&self) {
        let tasks = self.0.tasks.take();
        for (_, task) in tasks {
            task.end();
        }
        self.0.jobs.clear();
        self.0.rejections.take();
        self.0.hooks.take();
    }

    /// A function of the boot code.
    ///
    /// # Errors
    ///
    /// The boot code is not evaluated.
    pub(crate) fn hook<'js>(
        &self,
        ctx: &Ctx<'js>,
        which: impl FnOnce(&Hooks) -> &Persistent<Function<'static>>,
    ) -> rquickjs::Result<Function<'js>> {
        let hooks = self.0.hooks.borrow();
        let hooks = hooks.as_ref().ok_or(rquickjs::Error::Unknown)?;
        which(hooks).clone().restore(ctx)
    }

    /// Has the boot code hand out the program's output.
    pub(crate) fn emit_output(&self) {
        self.enter(|ctx| {
            let emit = self.hook(ctx, |hooks| &hooks.emit_output);
            report::outcome(ctx, emit.and_then(|emit| emit.call(())));
        });
    }

    /// A reference that does not keep it alive, for tasks.
    pub(crate) fn weak(&self) -> WeakEngine {
        WeakEngine(Rc::downgrade(&self.0))
    }

    /// Calls into JavaScript, then runs the jobs that are ready.
    ///
    /// Jobs beyond the budget of one turn run in a later one, after other
    /// tasks of the program had theirs.
    pub(crate) fn enter<R>(&self, action: impl for<'js> FnOnce(&Ctx<'js>) -> R) -> R {
        self.enter_as(self.new_account(cpu_limit()), action)
    }

    /// An account for work without a request; all that an isolate does is on one.
    pub(crate) fn new_account(&self, limit: Duration) -> Rc<Account> {
        match &self.0.isolate {
            Some(isolate) => Rc::clone(isolate.account()),
            None => Account::new(limit),
        }
    }

    /// As [`enter`](Self::enter), at the cost of an account.
    pub(crate) fn enter_as<R>(
        &self,
        account: Rc<Account>,
        action: impl for<'js> FnOnce(&Ctx<'js>) -> R,
    ) -> R {
        let inner = &self.0;
        let is_outermost = inner.clock.current().is_none();
        if !is_outermost {
            return inner.context.with(|ctx| action(&ctx));
        }
        stack::forget();
        inner.clock.start(account.or_new());
        let outer = context::leave();
        let result = inner.context.with(|ctx| action(&ctx));
        context::clear(&inner.context);
        self.run_jobs();
        context::come_back(outer);
        if spare::was_short() {
            inner.runtime.run_gc();
        }
        if let Some(isolate) = &inner.isolate {
            isolate.has_returned();
        }
        result
    }

    /// Does something with the context in which no script runs.
    pub(crate) fn look<R>(&self, action: impl for<'js> FnOnce(&Ctx<'js>) -> R) -> R {
        self.0.context.with(|ctx| action(&ctx))
    }

    /// The account of what runs at present, for what it starts.
    pub(crate) fn account(&self) -> Rc<Account> {
        let current = self.0.clock.current();
        current.map_or_else(|| self.new_account(cpu_limit()), Account::of_what_it_starts)
    }
}

/// An engine that may be gone.
#[derive(Clone)]
pub(crate) struct WeakEngine(Weak<Inner>);

impl WeakEngine {
    /// The engine, while it lives.
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(Engine)
    }
}
