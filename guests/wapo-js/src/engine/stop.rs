//! Stops a script from within a native function, as the engine does it between two
//! steps of a script: by an exception that it cannot catch.

#![allow(unsafe_code)]

use rquickjs::{Ctx, Error, Exception, qjs};

use super::Engine;

/// Looks at the limits of the running script. For functions that compute for long at a
/// script's cost; others of the instance may have a turn meanwhile.
///
/// # Errors
///
/// They are over: the exception is to be given on.
pub(crate) fn look(ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    let is_over = Engine::of(ctx).is_some_and(|engine| engine.must_stop());
    if !is_over {
        return Ok(());
    }
    // The words of the engine's own.
    Err(uncatchable(ctx, "interrupted"))
}

fn uncatchable(ctx: &Ctx<'_>, message: &str) -> Error {
    // Throws, and is caught: the object is what is wanted.
    let _ = Exception::throw_internal(ctx, message);
    let thrown = ctx.catch();
    // SAFETY: marks an object of this context.
    unsafe { qjs::JS_SetUncatchableError(ctx.as_raw().as_ptr(), thrown.as_raw()) };
    ctx.throw(thrown)
}
