//! `native.log`: lines of the program's log.

use rquickjs::prelude::Func;
use rquickjs::{Ctx, Object};

use crate::engine::bytes::with_text;

/// Bytes of one line; the rest is cut at a character's border.
const LINE_BYTES_MAX: usize = 20 * 1024;

/// `print(level, text)`: 1 debug, 2 information, 3 warning, 4 error.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("print", Func::from(print))?;
    Ok(area)
}

fn print(level: u8, text: rquickjs::String<'_>) -> rquickjs::Result<()> {
    let level = match level {
        0 | 1 => log::Level::Debug,
        2 => log::Level::Info,
        3 => log::Level::Warn,
        _ => log::Level::Error,
    };
    with_text(&text, |text| {
        for line in text.split('\n') {
            log::log!(target: "js::console", level, "{}", cut(line));
        }
    })
}

fn cut(line: &str) -> &str {
    &line[..line.floor_char_boundary(LINE_BYTES_MAX)]
}
