//! `native.log`: lines of the program's log, messages of several lines, and records that
//! are kept for the code that has started the script.

use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use rquickjs::prelude::Func;
use rquickjs::{Ctx, JsLifetime, Object};

use super::Nullable;
use crate::engine::Engine;
use crate::engine::bytes::with_text;

/// Bytes of one line; the rest is cut at a character's border.
const LINE_BYTES_MAX: usize = 20 * 1024;

/// Bytes of a message of several lines; a longer one goes on in the next record. Below
/// what the host cuts.
const MESSAGE_BYTES_MAX: usize = 15 * 1024;

/// Bytes of all records that are kept; later ones are left out, and the last says so.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that a record counts besides its text.
const RECORD_BYTES: usize = 64;

/// Records instead of lines.
#[derive(Default, JsLifetime)]
struct Kept {
    is_on: Cell<bool>,
    records: RefCell<Vec<Record>>,
    bytes: Cell<usize>,
}

struct Record {
    level: log::Level,
    /// Milliseconds since 1970.
    time: u64,
    message: String,
}

/// `print(level, text)` writes a record for each line, `message(level, text)` one for
/// all of them; levels: 1 debug, 2 information, 3 warning, 4 error. `keep(isOn)` has
/// records kept from now on, `kept()` gives them as JSON.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let _ = ctx.store_userdata(Kept::default());
    let area = Object::new(ctx.clone())?;
    area.set("print", Func::from(print))?;
    area.set("message", Func::from(message))?;
    area.set(
        "keep",
        Func::from(|ctx: Ctx<'js>, is_on: bool| keep(&ctx, is_on)),
    )?;
    area.set("kept", Func::from(|ctx: Ctx<'js>| Nullable(json(&ctx))))?;
    Ok(area)
}

/// Has a context keep records from now on, or no longer.
pub(crate) fn keep(ctx: &Ctx<'_>, is_on: bool) {
    if let Some(kept) = ctx.userdata::<Kept>() {
        kept.is_on.set(is_on);
    }
}

fn print(ctx: Ctx<'_>, level: u8, text: rquickjs::String<'_>) -> rquickjs::Result<()> {
    write(&ctx, level, &text, |text, record| {
        for line in text.split('\n') {
            record(cut(line));
        }
    })
}

fn message(ctx: Ctx<'_>, level: u8, text: rquickjs::String<'_>) -> rquickjs::Result<()> {
    write(&ctx, level, &text, |text, record| {
        let mut rest = text;
        while rest.len() > MESSAGE_BYTES_MAX {
            let limit = rest.floor_char_boundary(MESSAGE_BYTES_MAX);
            // Between two lines, where there are such.
            let (end, next) = match rest[..limit].rfind('\n') {
                Some(end) if end > 0 => (end, end + 1),
                _ => (limit, limit),
            };
            record(&rest[..end]);
            rest = &rest[next..];
        }
        record(rest);
    })
}

/// Keeps a text, or has it taken apart into records of the log.
fn write(
    ctx: &Ctx<'_>,
    level: u8,
    text: &rquickjs::String<'_>,
    apart: impl FnOnce(&str, &dyn Fn(&str)),
) -> rquickjs::Result<()> {
    let level = match level {
        0 | 1 => log::Level::Debug,
        2 => log::Level::Info,
        3 => log::Level::Warn,
        _ => log::Level::Error,
    };
    if let Some(kept) = ctx.userdata::<Kept>()
        && kept.is_on.get()
    {
        return with_text(text, |text| kept.keep(level, text));
    }
    let is_isolate = Engine::of(ctx).is_some_and(|engine| engine.isolate().is_some());
    let target = match is_isolate {
        true => "js::console::sandbox",
        false => "js::console",
    };
    with_text(text, |text| {
        apart(text, &|record| log::log!(target: target, level, "{record}"));
    })
}

impl Kept {
    fn keep(&self, level: log::Level, text: &str) {
        let before = self.bytes.get();
        if before > KEPT_BYTES_MAX {
            return;
        }
        let message = cut(text);
        let after = before + message.len() + RECORD_BYTES;
        self.bytes.set(after);
        let message = match after > KEPT_BYTES_MAX {
            true => "there is more, which is not kept",
            false => message,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = now.unwrap_or_default().as_millis();
        self.records.borrow_mut().push(Record {
            level,
            time: u64::try_from(time).unwrap_or(u64::MAX),
            message: message.to_owned(),
        });
    }
}

/// The records that a context has kept, as a list in JSON; `None` when it keeps none.
pub(crate) fn json(ctx: &Ctx<'_>) -> Option<String> {
    let kept = ctx.userdata::<Kept>()?;
    let records = kept.records.borrow();
    if !kept.is_on.get() && records.is_empty() {
        return None;
    }
    let list = records.iter().map(|record| {
        serde_json::json!({
            "message": record.message,
            "time": record.time,
            "level": record.level.as_str().to_ascii_lowercase(),
        })
    });
    Some(serde_json::Value::from_iter(list).to_string())
}

fn cut(line: &str) -> &str {
    &line[..line.floor_char_boundary(LINE_BYTES_MAX)]
}
