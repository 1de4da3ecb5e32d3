//! `native.modules`: modules of Node, evaluated when a program asks for one.
//!
//! They are not part of the image of memory: a program that needs none of them has
//! none in its memory.

use rquickjs::prelude::Func;
use rquickjs::{Ctx, Exception, Module, Object, Value};

use crate::engine::bytes::TextArg;
use crate::program::loader;

/// `load(id)` gives the namespace of a module of Node, which is evaluated once;
/// `isKnown(id)` whether there is one, `names()` all of them.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("load", Func::from(load))?;
    let is_known = |TextArg(id): TextArg| loader::node_module(&id).is_some();
    area.set("isKnown", Func::from(is_known))?;
    let names = || loader::node_modules().collect::<Vec<_>>();
    area.set("names", Func::from(names))?;
    Ok(area)
}

fn load(ctx: Ctx<'_>, TextArg(id): TextArg) -> rquickjs::Result<Object<'_>> {
    let Some(name) = loader::node_module(&id) else {
        return Err(Exception::throw_type(&ctx, &loader::no_node_module(&id)));
    };
    // The loader keeps one of each; this module, which is thrown away, imports it.
    let text = format!("import * as it from {name:?}; export default it;");
    let (module, evaluated) = Module::declare(ctx, loader::BRIDGE, text)?.eval()?;
    // None of them awaits: the promise is settled.
    if let Some(outcome) = evaluated.result::<Value<'_>>() {
        outcome?;
    }
    module.get("default")
}
