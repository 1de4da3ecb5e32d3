//! Bytes and texts of JavaScript, copied in and out.
//!
//! The engine lends its buffers unsafely, because a script could change or
//! detach them meanwhile. Copying at once, while no script runs, is the one
//! way in which this program takes them. Texts of JavaScript may have
//! surrogates without their other half; here each of them becomes U+FFFD.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::slice;

use bytes::Bytes;
use rquickjs::{ArrayBuffer, CString, Ctx, Exception, FromJs, TypedArray, Value};

use super::spare::room_for;

/// Copies what a value holds: nothing, a text as UTF-8, or bytes.
///
/// # Errors
///
/// A `TypeError` for other values and detached buffers.
pub(crate) fn copied<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> rquickjs::Result<Bytes> {
    if value.is_null() || value.is_undefined() {
        return Ok(Bytes::new());
    }
    if let Some(given) = value.as_string() {
        return Ok(Bytes::from(text(given)?));
    }
    vector(ctx, value).map(Bytes::from)
}

/// Copies what a `Uint8Array` or an `ArrayBuffer` holds.
///
/// # Errors
///
/// A `TypeError` for other values and detached buffers.
pub(crate) fn vector<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> rquickjs::Result<Vec<u8>> {
    if let Ok(array) = TypedArray::<u8>::from_value(value.clone()) {
        // SAFETY: copied before anything else runs.
        if let Some(bytes) = unsafe { array.as_bytes() } {
            return to_vec(ctx, bytes);
        }
    } else if let Some(buffer) = ArrayBuffer::from_value(value.clone()) {
        // SAFETY: as above.
        if let Some(bytes) = unsafe { buffer.as_bytes() } {
            return to_vec(ctx, bytes);
        }
    }
    Err(Exception::throw_type(ctx, "expected bytes or text"))
}

/// A copy, or an exception when there is no memory for it.
fn to_vec(ctx: &Ctx<'_>, bytes: &[u8]) -> rquickjs::Result<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| {
        let message = format!("no memory for a copy of {} bytes", bytes.len());
        Exception::throw_range(ctx, &message)
    })?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Copies bytes to the beginning of an array; `false` when they do not fit,
/// which is so for a detached array.
pub(crate) fn put(array: &TypedArray<'_, u8>, bytes: &[u8]) -> bool {
    let Some(mut room) = array.as_raw() else {
        return bytes.is_empty();
    };
    // SAFETY: nothing else runs before the copy is made, and nothing else has
    // a reference to the buffer: Rust code takes copies only.
    let room = unsafe { room.as_mut() };
    match room.get_mut(..bytes.len()) {
        Some(room) => {
            room.copy_from_slice(bytes);
            true
        }
        None => false,
    }
}

/// Copies of a text that are made of it at the most.
const COPIES: usize = 3;

/// A text as natives take it: where there is no memory for it, the caller gets an
/// exception.
pub(crate) struct TextArg(pub(crate) String);

impl<'js> FromJs<'js> for TextArg {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Self> {
        text(&rquickjs::String::from_js(ctx, value)?).map(Self)
    }
}

/// A text of JavaScript as UTF-8.
///
/// # Errors
///
/// No memory for it.
pub(crate) fn text(given: &rquickjs::String<'_>) -> rquickjs::Result<String> {
    with_text(given, str::to_owned)
}

/// Gives an action a text of JavaScript as UTF-8, for as long as it lasts.
///
/// # Errors
///
/// No memory for it.
pub(crate) fn with_text<R>(
    given: &rquickjs::String<'_>,
    action: impl FnOnce(&str) -> R,
) -> rquickjs::Result<R> {
    let text = CString::from_string(given.clone())?;
    // Its receiver copies it, and some change their copy.
    room_for(given.ctx(), text.len().saturating_mul(COPIES))?;
    // SAFETY: the engine's copy of the text lives as long as `text`, and has
    // that many bytes.
    let bytes = unsafe { slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
    Ok(action(&well_formed(bytes)))
}

/// UTF-8 in which halves of surrogate pairs may be, with those replaced.
fn well_formed(bytes: &[u8]) -> Cow<'_, str> {
    let mut rest = match str::from_utf8(bytes) {
        Ok(text) => return Cow::Borrowed(text),
        Err(_) => bytes,
    };
    let mut out = String::with_capacity(bytes.len());
    while !rest.is_empty() {
        let (valid, after) = match str::from_utf8(rest) {
            Ok(text) => (text, &[][..]),
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                (str::from_utf8(valid).unwrap_or_default(), after)
            }
        };
        out.push_str(valid);
        if !after.is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        // Such a half has three bytes, and the engine makes no other mistake.
        rest = after.get(3..).unwrap_or_default();
    }
    Cow::Owned(out)
}
