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
    let text = CString::new(text)?;
    let length = text.as_bytes().len();
    let flags = qjs::JS_EVAL_TYPE_GLOBAL.cast_signed();
    // SAFETY: both texts end with NUL and outlive the call; the length is that of
    // the first without it, as the function wants it.
    let value = unsafe {
        qjs::JS_Eval(
            ctx.as_raw().as_ptr(),
            text.as_ptr(),
            length as _,
            name.as_ptr(),
            flags,
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
