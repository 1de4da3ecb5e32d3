//! Evaluates classic scripts under a name.
//!
//! The wrapper takes a name for them only with its feature `std`, which draws
//! seeds of hash tables before the image of memory is taken.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use rquickjs::{Ctx, Error, Value, qjs};

/// Evaluates a script in the global scope, not in strict mode.
///
/// # Errors
///
/// It throws; or it has a NUL character in it.
pub(crate) fn evaluate<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    text: &str,
) -> rquickjs::Result<Value<'js>> {
    evaluate_as(ctx, name, text, qjs::JS_EVAL_TYPE_GLOBAL)
}

/// As [`evaluate`], for a script that may await: gives a promise of an object with
/// the `value`.
///
/// # Errors
///
/// It is no script, or has a NUL character in it. What it throws rejects the promise.
pub(crate) fn evaluate_async<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    text: &str,
) -> rquickjs::Result<Value<'js>> {
    let flags = qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_ASYNC;
    evaluate_as(ctx, name, text, flags)
}

fn evaluate_as<'js>(
    ctx: &Ctx<'js>,
    name: &CStr,
    text: &str,
    flags: u32,
) -> rquickjs::Result<Value<'js>> {
    let text = CString::new(text)?;
    let length = text.as_bytes().len();
    // SAFETY: both texts end with NUL and outlive the call; the length is that of
    // the first without it, as the function wants it.
    let value = unsafe {
        qjs::JS_Eval(
            ctx.as_raw().as_ptr(),
            text.as_ptr(),
            length as _,
            name.as_ptr(),
            flags.cast_signed(),
        )
    };
    // SAFETY: the call gives the value, of this context, to its caller.
    let value = unsafe { Value::from_raw(ctx.clone(), value) };
    // SAFETY: asks for the value's tag.
    if unsafe { qjs::JS_IsException(value.as_raw()) } {
        return Err(Error::Exception);
    }
    Ok(value)
}
