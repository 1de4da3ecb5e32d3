//! Runs JavaScript: one runtime and one context of QuickJS, its limits, and
//! the one way in.
//!
//! Not the web platform (that is boot code) and not the program. Whatever has
//! something to tell to JavaScript calls [`Engine::enter`].

mod account;
pub(crate) mod boot;
pub(crate) mod bytes;
mod failure;
mod jobs;
mod life;
pub(crate) mod report;
pub(crate) mod script;
mod signal;
pub(crate) mod stack;
mod tasks;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use rquickjs::{Context, Ctx, Function, JsLifetime, Persistent, Runtime, Value};

pub(crate) use self::account::{Account, START_LIMIT, cpu_limit, limit_polls};
pub(crate) use self::boot::Hooks;
pub(crate) use self::failure::Failure;
use self::jobs::Jobs;
pub(crate) use self::report::describe;
pub(crate) use self::signal::Signal;
pub(crate) use self::tasks::{Task, promise};

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
                let engine = Self::new()?;
                boot::evaluate(&engine)?;
                Ok(prepared.insert(engine).clone())
            }
        })
    }

    fn new() -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
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

    /// Whether requests have somebody to answer them: the program's default
    /// export, or a listener.
    pub(crate) fn is_serving(&self, handler: Option<&Persistent<Value<'static>>>) -> bool {
        self.0.context.with(|ctx| {
            let answer = self
                .hook(&ctx, |hooks| &hooks.is_serving)
                .and_then(|function| {
                    let handler = handler
                        .map(|handler| handler.clone().restore(&ctx))
                        .transpose()?;
                    function.call::<_, bool>((handler,))
                });
            answer.unwrap_or(false)
        })
    }

    /// Has the boot code hand out the program's output.
    pub(crate) fn emit_output(&self) {
        self.enter(|ctx| {
            let emit = self.hook(ctx, |hooks| &hooks.emit_output);
            report::outcome(ctx, emit.and_then(|emit| emit.call(())));
        });
    }

    /// Bytes that the engine's objects take.
    pub(crate) fn memory_used(&self) -> u64 {
        u64::try_from(self.0.runtime.memory_usage().malloc_size).unwrap_or(0)
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
        self.enter_as(Account::new(cpu_limit()), action)
    }

    /// As [`enter`](Self::enter), at the cost of an account.
    pub(crate) fn enter_as<R>(
        &self,
        account: Rc<Account>,
        action: impl for<'js> FnOnce(&Ctx<'js>) -> R,
    ) -> R {
        let inner = &self.0;
        let is_outermost = inner.clock.current().is_none();
        if is_outermost {
            stack::forget();
            inner.clock.start(account.or_new());
        }
        let result = inner.context.with(|ctx| action(&ctx));
        if is_outermost {
            self.run_jobs();
        }
        result
    }

    /// The account of what runs at present, for what it starts.
    pub(crate) fn account(&self) -> Rc<Account> {
        let current = self.0.clock.current();
        current.map_or_else(|| Account::new(cpu_limit()), Account::or_new)
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
