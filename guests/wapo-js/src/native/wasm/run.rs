//! Calls functions of WebAssembly.
//!
//! The interpreter stops for each function of a script that is called, and goes on with
//! what it gave: so nothing of it is on the stack, and nothing of the world is borrowed,
//! while a script runs. It stops as well when it has used its fuel, which is when limits
//! are looked at.

use std::fmt;

use rquickjs::function::Args;
use rquickjs::{Array, Ctx, Function, Object, Value};
use wasmi::errors::HostError;
use wasmi::{Error, Func, FuncType, ResumableCall, TrapCode, Val};

use super::convert::{to_js, to_wasm};
use super::world::{Handle, World};
use super::{Kind, of, raise};
use crate::engine::{Engine, Failure, stop};

/// Fuel between two looks at the limits: a few milliseconds.
const FUEL: u64 = 200_000;

/// Fuel that is a unit of an isolate's gas, which is 10,000 steps of a script.
pub(super) const FUEL_PER_GAS: u64 = 10_000;

/// Calls from scripts into one world and back that may be nested. Each has a stack of
/// its own, of up to half a megabyte.
const DEPTH_MAX: usize = 64;

/// A function of a script is to be called.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) import: u32,
    pub(super) ty: FuncType,
    pub(super) arguments: Vec<Val>,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "import {} is called", self.import)
    }
}

impl HostError for Wanted {}

/// Calls a function with values of a script.
///
/// # Errors
///
/// A trap as a `RuntimeError`, or whatever a function of a script throws.
pub(super) fn call<'js>(
    ctx: &Ctx<'js>,
    handle: &Handle<'js>,
    roots: &Object<'js>,
    (func, ty): (Func, &FuncType),
    given: &[Value<'js>],
) -> rquickjs::Result<Value<'js>> {
    let world = &of(handle);
    let nothing = Value::new_undefined(ctx.clone());
    let mut arguments = Vec::with_capacity(ty.params().len());
    for (index, param) in ty.params().iter().enumerate() {
        let value = given.get(index).unwrap_or(&nothing);
        arguments.push(to_wasm(ctx, roots, world, value, *param)?);
    }
    let results = run(ctx, handle, roots, (func, ty), &arguments)?;
    match results.as_slice() {
        [] => Ok(nothing),
        [one] => to_js(ctx, roots, world, one),
        several => {
            let list = Array::new(ctx.clone())?;
            for (index, result) in several.iter().enumerate() {
                list.set(index, to_js(ctx, roots, world, result)?)?;
            }
            Ok(list.into_value())
        }
    }
}

/// Counts a call that is under way.
struct Depth<'w>(&'w World);

impl<'w> Depth<'w> {
    fn enter(ctx: &Ctx<'_>, world: &'w World) -> rquickjs::Result<Self> {
        let depth = world.depth.get();
        if depth >= DEPTH_MAX {
            let message = "calls between WebAssembly and JavaScript are nested too deeply";
            return Err(Failure::range_error(message).throw(ctx));
        }
        world.depth.set(depth + 1);
        Ok(Self(world))
    }
}

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}

/// Calls a function.
///
/// # Errors
///
/// As [`call`].
pub(super) fn run<'js>(
    ctx: &Ctx<'js>,
    handle: &Handle<'js>,
    roots: &Object<'js>,
    (func, ty): (Func, &FuncType),
    arguments: &[Val],
) -> rquickjs::Result<Vec<Val>> {
    let world = &of(handle);
    let _depth = Depth::enter(ctx, world)?;
    let results = ty.results().iter().map(|ty| Val::default_for_ty(*ty));
    let mut results: Vec<Val> = results.collect();
    let mut fuel = FUEL;
    let mut state = step(ctx, handle, &mut fuel, |store| {
        func.call_resumable(store, arguments, &mut results)
    })?;
    loop {
        state = match state {
            Ok(ResumableCall::Finished) => return Ok(results),
            Ok(ResumableCall::OutOfFuel(paused)) => {
                take_gas(ctx, FUEL / FUEL_PER_GAS);
                stop::look(ctx)?;
                fuel = FUEL.max(paused.required_fuel());
                step(ctx, handle, &mut fuel, |store| {
                    paused.resume(store, &mut results)
                })?
            }
            Ok(ResumableCall::HostTrap(paused)) => {
                let values = match paused.host_error().downcast_ref::<Wanted>() {
                    Some(wanted) => import(ctx, world, roots, wanted)?,
                    None => return Err(trap(ctx, paused.host_error())),
                };
                step(ctx, handle, &mut fuel, |store| {
                    paused.resume(store, &values, &mut results)
                })?
            }
            Err(error) => match error.downcast_ref::<Wanted>() {
                // The function itself is one of a script.
                Some(wanted) => return import(ctx, world, roots, wanted),
                None => return Err(trap(ctx, &error)),
            },
        };
    }
}

/// What the interpreter has come to.
type State = Result<ResumableCall, Error>;

/// Has the interpreter run, with so much fuel; says what is left of it.
fn step<'js>(
    ctx: &Ctx<'js>,
    handle: &Handle<'js>,
    fuel: &mut u64,
    action: impl FnOnce(&mut wasmi::Store<super::world::Limiter>) -> State,
) -> rquickjs::Result<State> {
    let is_safe = handle.borrow().views.check(ctx);
    if !is_safe {
        let message = "the buffer of a memory was transferred, which no buffer of a memory can be";
        return Err(raise(ctx, Kind::Runtime, message));
    }
    let world = of(handle);
    let state = {
        let mut store = world.store.borrow_mut();
        // Fails only when no fuel is counted.
        let _ = store.set_fuel(*fuel);
        let state = action(&mut store);
        *fuel = store.get_fuel().unwrap_or_default();
        state
    };
    handle.borrow().views.settle(ctx, &world);
    Ok(state)
}

pub(super) fn take_gas(ctx: &Ctx<'_>, units: u64) {
    let engine = Engine::of(ctx);
    if let Some(isolate) = engine.as_ref().and_then(Engine::isolate) {
        isolate.take_gas(units);
    }
}

/// Calls a function of a script; gives its results.
fn import<'js>(
    ctx: &Ctx<'js>,
    world: &World,
    roots: &Object<'js>,
    wanted: &Wanted,
) -> rquickjs::Result<Vec<Val>> {
    let imports: Object<'js> = roots.get("imports")?;
    let function: Function<'js> = imports.get(wanted.import)?;
    let mut arguments = Args::new(ctx.clone(), wanted.arguments.len());
    for value in &wanted.arguments {
        arguments.push_arg(to_js(ctx, roots, world, value)?)?;
    }
    let returned: Value<'js> = function.call_arg(arguments)?;
    match wanted.ty.results() {
        [] => Ok(Vec::new()),
        [ty] => Ok(vec![to_wasm(ctx, roots, world, &returned, *ty)?]),
        several => {
            let list: Function<'js> = roots.get("list")?;
            let list: Array<'js> = list.call((returned, several.len()))?;
            let results = several.iter().enumerate();
            let result = |(index, ty): (usize, &wasmi::ValType)| {
                to_wasm(ctx, roots, world, &list.get(index)?, *ty)
            };
            results.map(result).collect()
        }
    }
}

/// Throws what the interpreter failed with.
pub(super) fn trap(ctx: &Ctx<'_>, error: &Error) -> rquickjs::Error {
    match error.as_trap_code() {
        Some(TrapCode::StackOverflow) => {
            Failure::range_error("Maximum call stack size exceeded").throw(ctx)
        }
        Some(code) => raise(ctx, Kind::Runtime, &code.to_string()),
        None => raise(ctx, Kind::Runtime, &error.to_string()),
    }
}
