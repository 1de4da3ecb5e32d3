//! Makes instances.

use std::rc::Rc;

use rquickjs::{Array, Class, Ctx, Object, Value};
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{Error, Extern, ExternType, Func, Global, Instance};

use super::convert::to_wasm;
use super::module::WasmModule;
use super::run::{Wanted, run, trap};
use super::world::{Handle, World};
use super::{Kind, of, raise};

/// Links a module, makes an instance and calls its start function. `links` has, for each
/// import in turn, `{id}` of an item of the world, `{call}` with the place of a function
/// among `roots.imports`, or `{value}` of a global. Gives the exports: name, kind, number
/// and, for a function, how many parameters it has.
pub(super) fn instantiate<'js>(
    ctx: Ctx<'js>,
    handle: Handle<'js>,
    roots: Object<'js>,
    module: Class<'js, WasmModule>,
    links: Array<'js>,
) -> rquickjs::Result<Array<'js>> {
    let world = of(&handle);
    let (module, start) = {
        let module = module.borrow();
        (module.module.clone(), module.start.clone())
    };
    let mut externs = Vec::new();
    for (index, import) in module.imports().enumerate() {
        let linked = link(&ctx, &world, &roots, links.get(index)?, import.ty())?;
        let missing = || {
            let name = format!("{}.{}", import.module(), import.name());
            raise(
                &ctx,
                Kind::Link,
                &format!("the import {name} is of another kind"),
            )
        };
        externs.push(linked.ok_or_else(missing)?);
    }
    let is_safe = handle.borrow().views.check(&ctx);
    if !is_safe {
        let message = "the buffer of a memory was transferred";
        return Err(raise(&ctx, Kind::Runtime, message));
    }
    let made = Instance::new(&mut *world.store.borrow_mut(), &module, &externs);
    let instance = made.map_err(|error| failed(&ctx, &error))?;
    if let Some(start) = &start {
        let func = instance.get_func(&*world.store.borrow(), start);
        if let Some((func, ty)) = func.map(|func| (func, func.ty(&*world.store.borrow()))) {
            run(&ctx, &handle, &roots, (func, &ty), &[])?;
        }
    }
    let exports = Array::new(ctx.clone())?;
    let public = module
        .exports()
        .filter(|export| start.as_deref() != Some(export.name()));
    for (index, export) in public.enumerate() {
        let found = instance.get_export(&*world.store.borrow(), export.name());
        let Some(found) = found else { continue };
        let (kind, count) = match export.ty() {
            ExternType::Func(ty) => ("function", ty.params().len()),
            ExternType::Memory(_) => ("memory", 0),
            ExternType::Table(_) => ("table", 0),
            ExternType::Global(_) => ("global", 0),
        };
        let item = Array::new(ctx.clone())?;
        item.set(0, export.name())?;
        item.set(1, kind)?;
        item.set(2, world.id(found))?;
        item.set(3, count)?;
        exports.set(index, item)?;
    }
    Ok(exports)
}

fn link<'js>(
    ctx: &Ctx<'js>,
    world: &Rc<World>,
    roots: &Object<'js>,
    given: Object<'js>,
    wanted: &ExternType,
) -> rquickjs::Result<Option<Extern>> {
    if let Some(id) = given.get::<_, Option<u32>>("id")? {
        return Ok(world.get(id));
    }
    Ok(match wanted {
        ExternType::Func(ty) => {
            let Some(import) = given.get::<_, Option<u32>>("call")? else {
                return Ok(None);
            };
            let wanted = ty.clone();
            let stop =
                move |_: wasmi::Caller<'_, _>, given: &[wasmi::Val], _: &mut [wasmi::Val]| {
                    Err(Error::host(Wanted {
                        import,
                        ty: wanted.clone(),
                        arguments: given.to_vec(),
                    }))
                };
            let mut store = world.store.borrow_mut();
            Some(Extern::Func(Func::new(&mut *store, ty.clone(), stop)))
        }
        ExternType::Global(ty) if given.contains_key("value")? => {
            let value: Value<'js> = given.get("value")?;
            let value = to_wasm(ctx, roots, world, &value, ty.content())?;
            let mut store = world.store.borrow_mut();
            Some(Extern::Global(Global::new(
                &mut *store,
                value,
                ty.mutability(),
            )))
        }
        _ => None,
    })
}

/// Throws why there is no instance: what does not fit is the linker's, what lies beyond
/// a memory or table is a trap.
fn failed(ctx: &Ctx<'_>, error: &Error) -> rquickjs::Error {
    match error.kind() {
        ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
            raise(ctx, Kind::Runtime, "out of bounds table access")
        }
        ErrorKind::Instantiation(error) => raise(ctx, Kind::Link, &error.to_string()),
        _ => trap(ctx, error),
    }
}
