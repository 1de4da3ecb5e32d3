//! Values between WebAssembly and JavaScript (WebAssembly JavaScript Interface,
//! ToWebAssemblyValue and ToJSValue).

use rquickjs::{BigInt, Ctx, FromJs, Function, IntoJs, Object, Value};
use wasmi::{Extern, Nullable, Val, ValType};

use super::world::World;
use crate::engine::Failure;

/// A value for a place of a type.
///
/// # Errors
///
/// What the conversion throws, or a `TypeError`.
pub(super) fn to_wasm<'js>(
    ctx: &Ctx<'js>,
    roots: &Object<'js>,
    world: &World,
    value: &Value<'js>,
    ty: ValType,
) -> rquickjs::Result<Val> {
    Ok(match ty {
        ValType::I32 => Val::I32(match value.as_int() {
            Some(number) => number,
            None => to_int32(number(roots, value)?),
        }),
        ValType::I64 => Val::I64(
            helped::<BigInt<'js>>(roots, "toBigInt", value)?
                .to_i64()
                .map_err(|_| Failure::type_error("expected a BigInt").throw(ctx))?,
        ),
        ValType::F32 => Val::F32((number(roots, value)? as f32).into()),
        ValType::F64 => Val::F64(number(roots, value)?.into()),
        ValType::ExternRef if value.is_null() => Val::ExternRef(Nullable::Null),
        ValType::ExternRef => {
            let number: u32 = helped(roots, "keep", value)?;
            Val::ExternRef(Nullable::Val(world.reference(number)))
        }
        ValType::FuncRef if value.is_null() => Val::FuncRef(Nullable::Null),
        ValType::FuncRef => {
            let id: Option<u32> = helped(roots, "idOf", value)?;
            let func = id.and_then(|id| world.func(id));
            let (func, _) = func.ok_or_else(|| {
                Failure::type_error("expected null or a function that was exported").throw(ctx)
            })?;
            Val::FuncRef(Nullable::Val(func))
        }
        ValType::V128 => return Err(Failure::type_error("vectors have no value here").throw(ctx)),
    })
}

/// A value of WebAssembly for a script.
///
/// # Errors
///
/// No memory.
pub(super) fn to_js<'js>(
    ctx: &Ctx<'js>,
    roots: &Object<'js>,
    world: &World,
    value: &Val,
) -> rquickjs::Result<Value<'js>> {
    match value {
        Val::I32(number) => number.into_js(ctx),
        Val::I64(number) => BigInt::from_i64(ctx.clone(), *number)?.into_js(ctx),
        Val::F32(number) => f64::from(number.to_float()).into_js(ctx),
        Val::F64(number) => number.to_float().into_js(ctx),
        Val::FuncRef(Nullable::Val(func)) => {
            let count = func.ty(&*world.store.borrow()).params().len();
            let id = world.id(Extern::Func(*func));
            roots.get::<_, Function<'js>>("function")?.call((id, count))
        }
        Val::ExternRef(Nullable::Val(reference)) => {
            let number = world.number_of(*reference);
            roots.get::<_, Function<'js>>("value")?.call((number,))
        }
        Val::FuncRef(Nullable::Null) | Val::ExternRef(Nullable::Null) => {
            Ok(Value::new_null(ctx.clone()))
        }
        Val::V128(_) => Err(Failure::type_error("vectors have no value here").throw(ctx)),
    }
}

fn number<'js>(roots: &Object<'js>, value: &Value<'js>) -> rquickjs::Result<f64> {
    match value.as_number() {
        Some(number) => Ok(number),
        None => helped(roots, "toNumber", value),
    }
}

/// Has the boot code convert a value.
fn helped<'js, T: FromJs<'js>>(
    roots: &Object<'js>,
    name: &str,
    value: &Value<'js>,
) -> rquickjs::Result<T> {
    roots.get::<_, Function<'js>>(name)?.call((value.clone(),))
}

/// ToInt32 of ECMAScript: the integer part, modulo 2^32.
fn to_int32(number: f64) -> i32 {
    if !number.is_finite() {
        return 0;
    }
    let wrapped = number.trunc().rem_euclid(4_294_967_296.0);
    // Exact: between 0 and 2^32.
    (wrapped as u32).cast_signed()
}
