//! Bytes of JavaScript, copied.
//!
//! The engine lends its buffers unsafely, because a script could change or
//! detach them meanwhile. Copying at once, while no script runs, is the one
//! way in which this program takes them.

#![allow(unsafe_code)]

use bytes::Bytes;
use rquickjs::{ArrayBuffer, Ctx, Exception, TypedArray, Value};

/// Copies what a value holds: nothing, a text as UTF-8, or bytes.
///
/// # Errors
///
/// A `TypeError` for other values and detached buffers.
pub(crate) fn copied<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> rquickjs::Result<Bytes> {
    if value.is_null() || value.is_undefined() {
        return Ok(Bytes::new());
    }
    if let Some(text) = value.as_string() {
        return Ok(Bytes::from(text.to_string()?));
    }
    if let Ok(array) = TypedArray::<u8>::from_value(value.clone()) {
        // SAFETY: copied before anything else runs.
        if let Some(bytes) = unsafe { array.as_bytes() } {
            return Ok(Bytes::copy_from_slice(bytes));
        }
    } else if let Some(buffer) = ArrayBuffer::from_value(value.clone()) {
        // SAFETY: as above.
        if let Some(bytes) = unsafe { buffer.as_bytes() } {
            return Ok(Bytes::copy_from_slice(bytes));
        }
    }
    Err(Exception::throw_type(ctx, "expected text, bytes or null"))
}
