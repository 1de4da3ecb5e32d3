//! Header fields between JavaScript and HTTP.
//!
//! To JavaScript they are a flat array, names and values in turn; a value has
//! a character for each of its bytes, as the Fetch standard wants it.

use std::borrow::Cow;

use rquickjs::{Array, Ctx, Exception};
use wapo::http::{HeaderMap, HeaderName, HeaderValue};

/// A map as a flat array.
pub(super) fn list<'js>(ctx: &Ctx<'js>, map: &HeaderMap) -> rquickjs::Result<Array<'js>> {
    let array = Array::new(ctx.clone())?;
    for (index, (name, value)) in map.iter().enumerate() {
        array.set(2 * index, name.as_str())?;
        array.set(2 * index + 1, text(value).as_ref())?;
    }
    Ok(array)
}

/// A flat array as a map.
///
/// # Errors
///
/// A `TypeError` for what cannot be sent.
pub(super) fn map<'js>(ctx: &Ctx<'js>, list: &Array<'js>) -> rquickjs::Result<HeaderMap> {
    let mut map = HeaderMap::with_capacity(list.len() / 2);
    let mut fields = list.iter::<rquickjs::String<'js>>();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let name = name?.to_string()?;
        let name = HeaderName::try_from(&name)
            .map_err(|_| Exception::throw_type(ctx, &format!("{name:?} is no header name")))?;
        let value = value_of(&value?.to_string()?)
            .ok_or_else(|| Exception::throw_type(ctx, &format!("header {name} cannot be sent")))?;
        map.append(name, value);
    }
    Ok(map)
}

/// A value as a text with a character for each byte.
pub(super) fn text(value: &HeaderValue) -> Cow<'_, str> {
    match str::from_utf8(value.as_bytes()) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}

fn value_of(text: &str) -> Option<HeaderValue> {
    if text.is_ascii() {
        return HeaderValue::from_str(text).ok();
    }
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    HeaderValue::try_from(bytes.ok()?).ok()
}
