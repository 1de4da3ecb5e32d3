//! Evaluates the boot code: the modules below `js/`, which build the web
//! platform and the `Wapo` object on the natives.

use rquickjs::{CatchResultExt, Error, Module};

use super::Engine;
use crate::program::loader;

/// Every boot module: its name (a path below `js/`) and its source.
pub(crate) const MODULES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/boot_modules.rs"));

/// The module that installs the globals.
const MAIN: &str = "wapo:boot/boot.js";

/// Evaluates the boot code in a new engine.
///
/// # Errors
///
/// It throws.
pub(super) fn evaluate(engine: &Engine) -> rquickjs::Result<()> {
    loader::install(&engine.0.runtime);
    engine.0.context.with(|ctx| {
        let source = source(MAIN).ok_or_else(|| Error::new_loading(MAIN))?;
        let run = || -> rquickjs::Result<()> {
            let (_, promise) = Module::declare(ctx.clone(), MAIN, source)?.eval()?;
            promise.finish::<()>()
        };
        run().catch(&ctx).map_err(|error| {
            log::error!("the boot code failed: {error}");
            Error::Exception
        })
    })
}

/// Source of a boot module by its full name.
pub(crate) fn source(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("wapo:boot/")?;
    let index = MODULES
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()?;
    Some(MODULES[index].1)
}
