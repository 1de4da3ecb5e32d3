//! Values of JavaScript as bytes, on their way from one engine to another.
//!
//! The boot code takes apart what a script hands over (`js/web/clone.js`) and puts it
//! together on the other side. In between are plain objects, arrays, texts, numbers and
//! bytes, which the engine writes and reads itself. No code can be among them.

#![allow(unsafe_code)]

use std::slice;

use rquickjs::{Ctx, Error, Exception, Value, qjs};

/// The flag of both functions: one object may be named in several places.
const GRAPHS: i32 = qjs::JS_WRITE_OBJ_REFERENCE.cast_signed();

/// Bytes that one value may have.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Writes a value.
///
/// # Errors
///
/// No memory, too deep, or more bytes than [`BYTES_MAX`].
pub(crate) fn write<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> rquickjs::Result<Vec<u8>> {
    let mut size = 0;
    let context = ctx.as_raw().as_ptr();
    // SAFETY: the value is of this context; the engine gives a block or an exception.
    let block = unsafe { qjs::JS_WriteObject(context, &raw mut size, value.as_raw(), GRAPHS) };
    if block.is_null() {
        return Err(Error::Exception);
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    let fits = size <= BYTES_MAX && bytes.try_reserve_exact(size).is_ok();
    if fits {
        // SAFETY: the block has that many bytes.
        bytes.extend_from_slice(unsafe { slice::from_raw_parts(block, size) });
    }
    // SAFETY: the block is the caller's, who is done with it.
    unsafe { qjs::js_free(context, block.cast()) };
    let message = match fits {
        true => return Ok(bytes),
        false if size > BYTES_MAX => {
            format!("{size} bytes to hand over: {BYTES_MAX} is the most")
        }
        false => format!("there is no memory to hand over {size} bytes"),
    };
    Err(Exception::throw_range(ctx, &message))
}

/// Reads what [`write`] gave.
///
/// # Errors
///
/// No memory.
pub(crate) fn read<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> rquickjs::Result<Value<'js>> {
    let context = ctx.as_raw().as_ptr();
    // SAFETY: the bytes were written by the same engine, and are not kept.
    let value = unsafe { qjs::JS_ReadObject(context, bytes.as_ptr(), bytes.len() as _, GRAPHS) };
    // SAFETY: the value is the caller's.
    let value = unsafe { Value::from_raw(ctx.clone(), value) };
    // SAFETY: asks for the value's tag.
    match unsafe { qjs::JS_IsException(value.as_raw()) } {
        true => Err(Error::Exception),
        false => Ok(value),
    }
}
