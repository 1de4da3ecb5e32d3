//! `native.context`: the async context, for `AsyncLocalStorage` and for what calls
//! a function later.

use rquickjs::prelude::Func;
use rquickjs::{Ctx, Object, Value};

use crate::engine::context;

/// `get()` gives the present context, `undefined` for none; `set(value)` replaces it
/// until the present call or job ends.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("get", Func::from(|ctx: Ctx<'js>| context::get(&ctx)))?;
    area.set(
        "set",
        Func::from(|ctx: Ctx<'js>, value: Value<'js>| context::set(&ctx, &value)),
    )?;
    Ok(area)
}
