//! Properties of native classes that are read by a function.
//!
//! The wrapper's own way of writing them (`#[qjs(get)]`) keeps them in a table
//! whose order changes from one compilation to the next, and the engine's hash
//! with it. A method named `"get NAME"` becomes the property `NAME` here, in the
//! order of the list.

use rquickjs::class::JsClass;
use rquickjs::{Class, Ctx, Function, Object};

/// Has methods of a class read properties.
///
/// # Errors
///
/// No memory, or the class has no such method.
pub(super) fn define<'js, C: JsClass<'js>>(ctx: &Ctx<'js>, names: &[&str]) -> rquickjs::Result<()> {
    let Some(prototype) = Class::<C>::prototype(ctx)? else {
        return Ok(());
    };
    let define: Function<'js> = ctx
        .globals()
        .get::<_, Object<'js>>("Object")?
        .get("defineProperty")?;
    for name in names {
        let method = format!("get {name}");
        let descriptor = Object::new(ctx.clone())?;
        descriptor.set("get", prototype.get::<_, Function<'js>>(method.as_str())?)?;
        descriptor.set("configurable", true)?;
        define.call::<_, ()>((prototype.clone(), *name, descriptor))?;
        prototype.remove(method.as_str())?;
    }
    Ok(())
}
