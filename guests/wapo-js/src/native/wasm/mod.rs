//! `native.wasm`: WebAssembly, interpreted by wasmi.
//!
//! The boot code has the classes of the JavaScript interface (`js/web/wasm.js`); here
//! are their operations, by the numbers that a world has for its items. What a module
//! computes is at the cost of its caller, and its memory on the caller's account.

mod convert;
mod instance;
mod module;
mod run;
mod start;
mod views;
mod world;

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::prelude::{Func, Rest};
use rquickjs::{Class, Ctx, Function, JsLifetime, Object, Persistent, Value};
use wasmi::{
    Engine, Extern, Global, Memory, MemoryType, Mutability, Ref, RefType, Table, TableType, Val,
    ValType,
};

use self::convert::{to_js, to_wasm};
use self::views::Views;
use self::world::{Handle, Pressure, WasmWorld, World};
use crate::engine::Failure;

/// What a context keeps.
#[derive(Default, JsLifetime)]
struct Wasm {
    /// Made when it is needed.
    engine: RefCell<Option<Engine>>,
    /// What the engine does not see of worlds and modules.
    pressure: Pressure,
    /// Throws an error of a class of the interface: `raise(kind, message)`.
    raise: RefCell<Option<Persistent<Function<'static>>>>,
}

/// Classes of errors.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Compile,
    Link,
    Runtime,
}

/// The operations, each of them with the world first, and with its roots where a value
/// of a script may be wanted. Neither is trusted: the boot code shares its engine with
/// scripts, which can replace much of what it calls.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let _ = ctx.store_userdata(Wasm::default());
    let area = Object::new(ctx.clone())?;
    area.set("onError", Func::from(on_error))?;
    area.set("validate", Func::from(module::validate))?;
    area.set("compile", Func::from(module::compile))?;
    area.set("instantiate", Func::from(instance::instantiate))?;
    area.set("world", Func::from(new_world))?;
    area.set("call", Func::from(call))?;
    area.set("memory", Func::from(new_memory))?;
    area.set("buffer", Func::from(buffer))?;
    area.set("grow", Func::from(grow_memory))?;
    area.set("table", Func::from(new_table))?;
    area.set("tableSize", Func::from(table_size))?;
    area.set("tableGet", Func::from(table_get))?;
    area.set("tableSet", Func::from(table_set))?;
    area.set("tableGrow", Func::from(table_grow))?;
    area.set("global", Func::from(new_global))?;
    area.set("globalType", Func::from(global_type))?;
    area.set("globalGet", Func::from(global_get))?;
    area.set("globalSet", Func::from(global_set))?;
    Ok(area)
}

fn on_error<'js>(ctx: Ctx<'js>, raise: Function<'js>) {
    if let Some(wasm) = ctx.userdata::<Wasm>() {
        wasm.raise.replace(Some(Persistent::save(&ctx, raise)));
    }
}

/// Throws an error of the interface.
fn raise(ctx: &Ctx<'_>, kind: Kind, message: &str) -> rquickjs::Error {
    let kind = match kind {
        Kind::Compile => "CompileError",
        Kind::Link => "LinkError",
        Kind::Runtime => "RuntimeError",
    };
    let raise = ctx
        .userdata::<Wasm>()
        .and_then(|wasm| wasm.raise.borrow().clone());
    let raise = raise.ok_or(rquickjs::Error::Unknown);
    let thrown = raise.and_then(|raise| raise.restore(ctx)?.call::<_, ()>((kind, message)));
    thrown.err().unwrap_or(rquickjs::Error::Unknown)
}

/// The interpreter of a context.
fn engine(ctx: &Ctx<'_>) -> Engine {
    match ctx.userdata::<Wasm>() {
        Some(wasm) => wasm
            .engine
            .borrow_mut()
            .get_or_insert_with(world::engine)
            .clone(),
        None => world::engine(),
    }
}

fn pressure(ctx: &Ctx<'_>) -> Pressure {
    let wasm = ctx.userdata::<Wasm>();
    wasm.map(|wasm| wasm.pressure.clone()).unwrap_or_default()
}

fn new_world<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Handle<'js>> {
    let pressure = pressure(&ctx);
    pressure.relieve(&ctx);
    let world = World::new(&ctx, &engine(&ctx), pressure);
    let views = Views::default();
    Class::instance(ctx, WasmWorld { world, views })
}

/// The world behind an object. It is not borrowed while scripts run.
fn of(world: &Handle<'_>) -> Rc<World> {
    Rc::clone(&world.borrow().world)
}

/// An item that the boot code knows by its number.
fn item<T>(
    ctx: &Ctx<'_>,
    world: &World,
    id: u32,
    kind: fn(Extern) -> Option<T>,
) -> rquickjs::Result<T> {
    let item = world.get(id).and_then(kind);
    item.ok_or_else(|| Failure::type_error("there is no such item").throw(ctx))
}

fn call<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    id: u32,
    given: Rest<Value<'js>>,
) -> rquickjs::Result<Value<'js>> {
    let (func, ty) = of(&world)
        .func(id)
        .ok_or_else(|| Failure::type_error("there is no such function").throw(&ctx))?;
    run::call(&ctx, &world, &roots, (func, &ty), &given.0)
}

fn new_memory<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    initial: f64,
    maximum: Option<f64>,
) -> rquickjs::Result<u32> {
    let world = of(&world);
    pressure(&ctx).relieve(&ctx);
    let mut ty = MemoryType::builder();
    ty.min(initial as u64)
        .max(maximum.map(|maximum| maximum as u64));
    let made = ty.build().map_err(wasmi::Error::from);
    let made = made.and_then(|ty| Memory::new(&mut *world.store.borrow_mut(), ty));
    let memory = made.map_err(|error| {
        Failure::range_error(format!("no memory of {initial} pages: {error}")).throw(&ctx)
    })?;
    Ok(world.id(Extern::Memory(memory)))
}

fn buffer<'js>(ctx: Ctx<'js>, handle: Handle<'js>, id: u32) -> rquickjs::Result<Value<'js>> {
    let world = of(&handle);
    let memory = item(&ctx, &world, id, Extern::into_memory)?;
    handle.borrow().views.get(&ctx, &world, (id, memory))
}

/// Gives the pages that there were before.
fn grow_memory<'js>(
    ctx: Ctx<'js>,
    handle: Handle<'js>,
    id: u32,
    pages: f64,
) -> rquickjs::Result<f64> {
    let world = of(&handle);
    let memory = item(&ctx, &world, id, Extern::into_memory)?;
    let is_safe = handle.borrow().views.check(&ctx);
    if !is_safe {
        let message = "the buffer of the memory was transferred";
        return Err(raise(&ctx, Kind::Runtime, message));
    }
    let grown = memory.grow(&mut *world.store.borrow_mut(), pages as u64);
    match grown {
        Ok(before) => {
            handle.borrow().views.detach(&ctx, id);
            Ok(before as f64)
        }
        Err(_) => {
            let message = format!("the memory cannot grow by {pages} pages");
            Err(Failure::range_error(message).throw(&ctx))
        }
    }
}

/// `kind`: `"anyfunc"` or `"externref"`.
fn new_table<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    kind: String,
    initial: u32,
    maximum: Option<u32>,
    init: Value<'js>,
) -> rquickjs::Result<u32> {
    let world = of(&world);
    let element = match kind.as_str() {
        "externref" => RefType::Extern,
        _ => RefType::Func,
    };
    let init = reference(&ctx, &roots, &world, &init, element)?;
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::range_error(format!("no table of {initial} elements: {error}")).throw(&ctx)
    };
    if maximum.is_some_and(|maximum| maximum < initial) {
        return Err(wrong(&"the maximum is less"));
    }
    let ty = TableType::new(element, initial, maximum);
    let made = Table::new(&mut *world.store.borrow_mut(), ty, init);
    let table = made.map_err(|error| wrong(&error))?;
    Ok(world.id(Extern::Table(table)))
}

fn reference<'js>(
    ctx: &Ctx<'js>,
    roots: &Object<'js>,
    world: &World,
    value: &Value<'js>,
    element: RefType,
) -> rquickjs::Result<Ref> {
    let ty = match element {
        RefType::Func => ValType::FuncRef,
        RefType::Extern => ValType::ExternRef,
    };
    Ok(match to_wasm(ctx, roots, world, value, ty)? {
        Val::FuncRef(func) => Ref::Func(func),
        Val::ExternRef(value) => Ref::Extern(value),
        _ => Ref::null(element),
    })
}

fn table_size<'js>(ctx: Ctx<'js>, world: Handle<'js>, id: u32) -> rquickjs::Result<f64> {
    let world = of(&world);
    let table = item(&ctx, &world, id, Extern::into_table)?;
    let size = table.size(&*world.store.borrow());
    Ok(size as f64)
}

fn table_get<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    id: u32,
    index: u32,
) -> rquickjs::Result<Value<'js>> {
    let world = of(&world);
    let table = item(&ctx, &world, id, Extern::into_table)?;
    let found = table.get(&*world.store.borrow(), u64::from(index));
    match found {
        Some(Ref::Func(func)) => to_js(&ctx, &roots, &world, &Val::FuncRef(func)),
        Some(Ref::Extern(value)) => to_js(&ctx, &roots, &world, &Val::ExternRef(value)),
        None => Err(beyond(&ctx, index)),
    }
}

fn beyond(ctx: &Ctx<'_>, index: u32) -> rquickjs::Error {
    Failure::range_error(format!("the table has no element {index}")).throw(ctx)
}

fn table_set<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    id: u32,
    index: u32,
    value: Value<'js>,
) -> rquickjs::Result<()> {
    let world = of(&world);
    let table = item(&ctx, &world, id, Extern::into_table)?;
    let element = table.ty(&*world.store.borrow()).element();
    let value = reference(&ctx, &roots, &world, &value, element)?;
    let set = table.set(&mut *world.store.borrow_mut(), u64::from(index), value);
    set.map_err(|_| beyond(&ctx, index))
}

fn table_grow<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    id: u32,
    more: u32,
    value: Value<'js>,
) -> rquickjs::Result<f64> {
    let world = of(&world);
    let table = item(&ctx, &world, id, Extern::into_table)?;
    let element = table.ty(&*world.store.borrow()).element();
    let value = reference(&ctx, &roots, &world, &value, element)?;
    let grown = table.grow(&mut *world.store.borrow_mut(), u64::from(more), value);
    grown.map(|before| before as f64).map_err(|_| {
        Failure::range_error(format!("the table cannot grow by {more} elements")).throw(&ctx)
    })
}

/// The type of a value by its name in the interface.
fn value_type(name: &str) -> Option<ValType> {
    Some(match name {
        "i32" => ValType::I32,
        "i64" => ValType::I64,
        "f32" => ValType::F32,
        "f64" => ValType::F64,
        "externref" => ValType::ExternRef,
        "anyfunc" => ValType::FuncRef,
        _ => return None,
    })
}

/// The name of a type, as [`value_type`].
fn type_name(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        ValType::V128 => "v128",
        ValType::ExternRef => "externref",
        ValType::FuncRef => "anyfunc",
    }
}

fn new_global<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    ty: String,
    is_mutable: bool,
    value: Value<'js>,
) -> rquickjs::Result<u32> {
    let world = of(&world);
    let ty = value_type(&ty)
        .ok_or_else(|| Failure::type_error(format!("{ty:?} is no type")).throw(&ctx))?;
    let value = match value.is_undefined() && ty != ValType::ExternRef {
        true => Val::default_for_ty(ty),
        false => to_wasm(&ctx, &roots, &world, &value, ty)?,
    };
    let mutability = match is_mutable {
        true => Mutability::Var,
        false => Mutability::Const,
    };
    let global = Global::new(&mut *world.store.borrow_mut(), value, mutability);
    Ok(world.id(Extern::Global(global)))
}

/// Type and whether it can be changed, as one text.
fn global_type<'js>(ctx: Ctx<'js>, world: Handle<'js>, id: u32) -> rquickjs::Result<String> {
    let world = of(&world);
    let global = item(&ctx, &world, id, Extern::into_global)?;
    let ty = global.ty(&*world.store.borrow());
    Ok(format!(
        "{} {}",
        type_name(ty.content()),
        ty.mutability().is_mut()
    ))
}

fn global_get<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    id: u32,
) -> rquickjs::Result<Value<'js>> {
    let world = of(&world);
    let global = item(&ctx, &world, id, Extern::into_global)?;
    let value = global.get(&*world.store.borrow());
    to_js(&ctx, &roots, &world, &value)
}

fn global_set<'js>(
    ctx: Ctx<'js>,
    world: Handle<'js>,
    roots: Object<'js>,
    id: u32,
    value: Value<'js>,
) -> rquickjs::Result<()> {
    let world = of(&world);
    let global = item(&ctx, &world, id, Extern::into_global)?;
    let ty = global.ty(&*world.store.borrow());
    if ty.mutability().is_const() {
        return Err(Failure::type_error("the global cannot be changed").throw(&ctx));
    }
    let value = to_wasm(&ctx, &roots, &world, &value, ty.content())?;
    let set = global.set(&mut *world.store.borrow_mut(), value);
    set.map_err(|error| Failure::type_error(error).throw(&ctx))
}
