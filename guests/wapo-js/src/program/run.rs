//! Evaluates a program and waits for its end.

use std::cell::Cell;
use std::rc::Rc;

use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Function, Module, Object, Persistent, Promise, Value};

use super::{Program, SCRIPT_NAME};
use crate::engine::{Engine, START_LIMIT, Signal, describe, script};
use crate::native::source_map;

/// What a module exports as its default, for the boot code.
pub(crate) type Handler = Option<Persistent<Value<'static>>>;

impl Program {
    /// Evaluates the scripts and the modules; answers the default export.
    ///
    /// # Errors
    ///
    /// What one of them throws, as a text.
    pub(crate) async fn evaluate(self, engine: &Engine) -> Result<Handler, String> {
        let arguments = self.arguments;
        let is_scripts = self.files.is_none();
        engine.enter(|ctx| {
            let _ = ctx.globals().set("scriptArgs", arguments);
            // Where scripts put a function that is called after them.
            if is_scripts && let Ok(module) = Object::new(ctx.clone()) {
                let _ = ctx.globals().set("module", module);
            }
        });
        for text in &self.scripts {
            engine.enter_as(engine.new_account(START_LIMIT), |ctx| {
                let outcome = script::evaluate(ctx, SCRIPT_NAME, text);
                outcome.map(drop).map_err(|_| thrown(ctx))
            })?;
        }
        let Some(files) = self.files else {
            return call_module_entry(engine).await.map(|()| None);
        };
        let entry = files.entry.clone();
        let import = engine.enter_as(engine.new_account(START_LIMIT), |ctx| {
            if let Some(map) = &files.map {
                let mapped = source_map::install(ctx, &entry, map);
                mapped.map_err(|_| thrown(ctx))?;
            }
            super::loader::set_files(ctx, files);
            // By the engine's own import, so that the entry is a module like others.
            let promise = Module::import(ctx, format!("/{entry}")).map_err(|_| thrown(ctx))?;
            Ok::<_, String>(Settled::watch(ctx, &promise))
        })?;
        let namespace = import.outcome(engine).await?;
        engine.enter(|ctx| {
            let default = namespace.restore(ctx).and_then(|namespace| {
                let namespace: Object<'_> = namespace.get()?;
                namespace.get::<_, Value<'_>>("default")
            });
            let default = default.map_err(|_| thrown(ctx))?;
            let begun = engine.hook(ctx, |hooks| &hooks.begin);
            let begun = begun.and_then(|begin| begin.call::<_, ()>((default.clone(),)));
            begun.map_err(|_| thrown(ctx))?;
            Ok((!default.is_undefined()).then(|| Persistent::save(ctx, default)))
        })
    }
}

/// Calls what a script exports by the convention of Wapo 0.x.
async fn call_module_entry(engine: &Engine) -> Result<(), String> {
    let call = engine.enter_as(engine.new_account(START_LIMIT), |ctx| {
        let entry = engine.hook(ctx, |hooks| &hooks.call_module_entry);
        let promise = entry.and_then(|entry| entry.call::<_, Promise<'_>>(()));
        let promise = promise.map_err(|_| thrown(ctx))?;
        Ok::<_, String>(Settled::watch(ctx, &promise))
    })?;
    call.outcome(engine).await.map(drop)
}

/// The text of what was thrown.
pub(crate) fn thrown(ctx: &Ctx<'_>) -> String {
    let value = ctx.catch();
    describe(ctx, &value)
}

/// A promise of JavaScript that a task waits for.
struct Settled {
    promise: Persistent<Promise<'static>>,
    signal: Signal,
    is_settled: Rc<Cell<bool>>,
}

impl Settled {
    fn watch<'js>(ctx: &Ctx<'js>, promise: &Promise<'js>) -> Self {
        let settled = Self {
            promise: Persistent::save(ctx, promise.clone()),
            signal: Signal::default(),
            is_settled: Rc::default(),
        };
        let (signal, is_settled) = (settled.signal.clone(), settled.is_settled.clone());
        let notify = move || {
            is_settled.set(true);
            signal.notify();
        };
        let notify = Function::new(ctx.clone(), notify);
        let watched = notify.and_then(|notify| {
            let then = promise.then()?;
            let this = rquickjs::function::This(promise.clone());
            then.call::<_, Value<'js>>((this, notify.clone(), notify))
        });
        // No memory to watch with: what is known now is the outcome.
        settled.is_settled.set(watched.is_err());
        settled
    }

    async fn outcome(self, engine: &Engine) -> Result<Persistent<Value<'static>>, String> {
        self.signal
            .wait_for(|| self.is_settled.get().then_some(()))
            .await;
        engine.enter(|ctx| {
            let promise = self.promise.restore(ctx).map_err(|_| thrown(ctx))?;
            match (promise.state(), promise.result::<Value<'_>>()) {
                (PromiseState::Resolved, Some(Ok(value))) => Ok(Persistent::save(ctx, value)),
                (PromiseState::Pending, _) => Err("it never came to its end".into()),
                _ => Err(thrown(ctx)),
            }
        })
    }
}
