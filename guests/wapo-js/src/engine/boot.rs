//! Evaluates the boot code: the modules below `js/`, which build the web
//! platform and the `Wapo` object on the natives.

use rquickjs::{CatchResultExt, Ctx, Error, Function, Module, Object, Persistent, Value};

use super::Engine;
use crate::program::loader;

/// Every boot module: its name (a path below `js/`) and its source.
const MODULES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/boot_modules.rs"));

/// What names of boot modules begin with.
const PREFIX: &str = "wapo:boot/";
/// The module that installs the globals. Its default export holds the hooks.
const MAIN: &str = "wapo:boot/boot.js";

/// Functions of the boot code that the engine calls. None of them throws, but
/// what `call_module_entry` calls.
pub(crate) struct Hooks {
    /// `dispatch(exchange, handler)`: answers a request.
    pub(crate) dispatch: Persistent<Function<'static>>,
    /// `rejection(promise, reason, is_handled)`: at the end of a turn.
    pub(crate) rejection: Persistent<Function<'static>>,
    /// `report(error)`: an exception that nobody caught.
    pub(crate) report: Persistent<Function<'static>>,
    /// `isServing(handler)`: whether requests have somebody to answer them.
    pub(crate) is_serving: Persistent<Function<'static>>,
    /// `callModuleEntry()`: a promise; what the convention of scripts calls.
    pub(crate) call_module_entry: Persistent<Function<'static>>,
    /// `begin(handler)`: what the default export asks for besides requests.
    pub(crate) begin: Persistent<Function<'static>>,
    /// `emitOutput()`: at the end.
    pub(crate) emit_output: Persistent<Function<'static>>,
}

/// Evaluates the boot code in a new engine.
///
/// # Errors
///
/// It throws.
pub(super) fn evaluate(engine: &Engine) -> rquickjs::Result<()> {
    loader::install(&engine.0.runtime);
    engine.0.context.with(|ctx| {
        let hooks = run(&ctx).catch(&ctx).map_err(|error| {
            log::error!("the boot code failed: {error}");
            Error::Exception
        })?;
        *engine.0.hooks.borrow_mut() = Some(hooks);
        Ok(())
    })
}

fn run(ctx: &Ctx<'_>) -> rquickjs::Result<Hooks> {
    let source = source(MAIN).ok_or_else(|| Error::new_loading(MAIN))?;
    let (module, promise) = Module::declare(ctx.clone(), MAIN, source)?.eval()?;
    promise.finish::<Value<'_>>()?;
    let hooks: Object<'_> = module.get("default")?;
    let hook = |name: &str| -> rquickjs::Result<Persistent<Function<'static>>> {
        Ok(Persistent::save(ctx, hooks.get::<_, Function<'_>>(name)?))
    };
    Ok(Hooks {
        dispatch: hook("dispatch")?,
        rejection: hook("rejection")?,
        report: hook("report")?,
        is_serving: hook("isServing")?,
        call_module_entry: hook("callModuleEntry")?,
        begin: hook("begin")?,
        emit_output: hook("emitOutput")?,
    })
}

/// Source of a boot module by its full name.
pub(crate) fn source(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix(PREFIX)?;
    let index = MODULES
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()?;
    Some(MODULES[index].1)
}
