//! `native.text`: the encodings of the Encoding Standard.

use std::cell::RefCell;

use encoding_rs::{CoderResult, Decoder, DecoderResult, Encoding};
use rquickjs::class::{Trace, Tracer};
use rquickjs::prelude::Func;
use rquickjs::{Class, Ctx, JsLifetime, Object, TypedArray, Value};

use super::Nullable;
use crate::engine::Failure;
use crate::engine::bytes::{put, vector, with_text};

/// `encode`, `encodeInto`, `decode`, `label` and `decoder`.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("encode", Func::from(encode))?;
    area.set("encodeInto", Func::from(encode_into))?;
    area.set("decode", Func::from(decode))?;
    area.set("label", Func::from(label))?;
    area.set("decoder", Func::from(decoder))?;
    Ok(area)
}

fn encode<'js>(
    ctx: Ctx<'js>,
    text: rquickjs::String<'js>,
) -> rquickjs::Result<TypedArray<'js, u8>> {
    with_text(&text, |text| TypedArray::new_copy(ctx, text))?
}

/// Code units of UTF-16 that were read, and bytes that were written.
fn encode_into<'js>(
    text: rquickjs::String<'js>,
    into: TypedArray<'js, u8>,
) -> rquickjs::Result<Vec<usize>> {
    let room = into.len();
    let written = with_text(&text, |text| {
        let fits = &text[..text.floor_char_boundary(room)];
        put(&into, fits.as_bytes()).then(|| (fits.encode_utf16().count(), fits.len()))
    })?;
    let (read, written) = written.unwrap_or_default();
    Ok(vec![read, written])
}

fn decode<'js>(
    ctx: Ctx<'js>,
    bytes: Value<'js>,
    fatal: bool,
    keep_mark: bool,
) -> rquickjs::Result<rquickjs::String<'js>> {
    let bytes = vector(&ctx, &bytes)?;
    let content = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(content) if !keep_mark => content,
        _ => &bytes,
    };
    if fatal && str::from_utf8(content).is_err() {
        return Err(malformed("utf-8").throw(&ctx));
    }
    rquickjs::String::from_str(ctx, &String::from_utf8_lossy(content))
}

fn malformed(encoding: &str) -> Failure {
    Failure::type_error(format!("the bytes are not valid {encoding}"))
}

/// The name of an encoding by one of its labels, in lower case.
fn label(label: rquickjs::String<'_>) -> rquickjs::Result<Nullable<String>> {
    with_text(&label, |label| {
        let encoding = Encoding::for_label_no_replacement(label.as_bytes());
        Nullable(encoding.map(|encoding| encoding.name().to_ascii_lowercase()))
    })
}

fn decoder<'js>(
    ctx: Ctx<'js>,
    name: String,
    fatal: bool,
    keep_mark: bool,
) -> rquickjs::Result<Class<'js, TextDecoder>> {
    let encoding = Encoding::for_label_no_replacement(name.as_bytes())
        .ok_or_else(|| Failure::range_error(format!("{name:?} is no encoding")).throw(&ctx))?;
    let decoder = TextDecoder {
        encoding,
        fatal,
        keep_mark,
        state: RefCell::new(None),
    };
    Class::instance(ctx, decoder)
}

/// Decodes a text that comes in pieces.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(crate) struct TextDecoder {
    #[qjs(skip_trace)]
    encoding: &'static Encoding,
    #[qjs(skip_trace)]
    fatal: bool,
    #[qjs(skip_trace)]
    keep_mark: bool,
    /// What is known of the text so far; `None` at its beginning.
    #[qjs(skip_trace)]
    state: RefCell<Option<Decoder>>,
}

impl<'js> Trace<'js> for TextDecoder {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

#[rquickjs::methods]
impl TextDecoder {
    /// Decodes a piece; after the last one (`stream` is false) it is as new.
    fn decode<'js>(
        &self,
        ctx: Ctx<'js>,
        bytes: Value<'js>,
        stream: bool,
    ) -> rquickjs::Result<rquickjs::String<'js>> {
        let bytes = vector(&ctx, &bytes)?;
        let mut decoder = self.state.take().unwrap_or_else(|| {
            if self.keep_mark {
                self.encoding.new_decoder_without_bom_handling()
            } else {
                self.encoding.new_decoder_with_bom_removal()
            }
        });
        let text = if self.fatal {
            strictly(&mut decoder, &bytes, !stream)
        } else {
            Some(leniently(&mut decoder, &bytes, !stream))
        };
        let Some(text) = text else {
            let name = self.encoding.name().to_ascii_lowercase();
            return Err(malformed(&name).throw(&ctx));
        };
        if stream {
            *self.state.borrow_mut() = Some(decoder);
        }
        rquickjs::String::from_str(ctx, &text)
    }
}

/// Room for the text of so many bytes, for a start: legacy encodings of one
/// byte may need up to three times as much, which the loops below add.
fn room(bytes: usize) -> usize {
    bytes + bytes / 8 + 32
}

fn leniently(decoder: &mut Decoder, bytes: &[u8], last: bool) -> String {
    let mut text = String::with_capacity(room(bytes.len()));
    let mut at = 0;
    loop {
        let (result, read, _) = decoder.decode_to_string(&bytes[at..], &mut text, last);
        at += read;
        match result {
            CoderResult::InputEmpty => return text,
            CoderResult::OutputFull => text.reserve(room(bytes.len() - at)),
        }
    }
}

fn strictly(decoder: &mut Decoder, bytes: &[u8], last: bool) -> Option<String> {
    let mut text = String::with_capacity(room(bytes.len()));
    let mut at = 0;
    loop {
        let (result, read) =
            decoder.decode_to_string_without_replacement(&bytes[at..], &mut text, last);
        at += read;
        match result {
            DecoderResult::InputEmpty => return Some(text),
            DecoderResult::OutputFull => text.reserve(room(bytes.len() - at)),
            DecoderResult::Malformed(..) => return None,
        }
    }
}
