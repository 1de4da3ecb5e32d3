//! `native.sourceMap`: places in a bundle, told as places in the files that it was
//! made of (ECMA-426).
//!
//! The command gives the map beside the bundle. It is fetched and read when the first
//! stack is looked at; most programs never need it. A map that cannot be read leaves
//! stacks as they are.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::prelude::Func;
use rquickjs::{Ctx, JsLifetime, Object};
use serde::Deserialize;

use crate::engine::Engine;
use crate::engine::bytes::text;
use crate::program::loader::BUNDLE;

/// Bytes of a map that is read. The command makes none that is longer.
const MAP_BYTES_MAX: usize = 8 << 20;
/// Lines of a bundle whose places are found; each takes 16 bytes of memory.
const LINES_MAX: usize = 500_000;
/// Bytes of a stack in which places are looked for.
const STACK_BYTES_MAX: usize = 64 * 1024;

/// The map of the program.
#[derive(JsLifetime)]
struct Installed {
    /// What the bundle is called in stacks, with the colon after it.
    name: String,
    map: RefCell<State>,
}

enum State {
    /// Its blob.
    Named(String),
    Read(Rc<Map>),
    Unreadable,
}

/// The form that the command writes.
#[derive(Deserialize)]
struct Form {
    sources: Vec<String>,
    mappings: String,
}

struct Map {
    form: Form,
    lines: Vec<Line>,
}

/// Where a line of the bundle begins in the mappings, and what holds there: the
/// numbers of a line are differences to those of the one before.
#[derive(Clone, Copy, Default)]
struct Line {
    offset: u32,
    place: Place,
}

/// A place in a source, counted from zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Place {
    source: u32,
    line: u32,
    column: u32,
}

/// `apply(stack)`: the same stack, told by the map; as it is when there is none.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("apply", Func::from(apply))?;
    Ok(area)
}

fn apply<'js>(
    ctx: Ctx<'js>,
    stack: rquickjs::String<'js>,
) -> rquickjs::Result<rquickjs::String<'js>> {
    if ctx.userdata::<Installed>().is_none() {
        return Ok(stack);
    }
    rquickjs::String::from_str(ctx.clone(), &applied(&ctx, &text(&stack)?))
}

/// Has stacks told by the map in a blob; `entry` is the name of the bundle.
///
/// # Errors
///
/// The boot code fails, for want of memory.
pub(crate) fn install(ctx: &Ctx<'_>, entry: &str, map: &str) -> rquickjs::Result<()> {
    let _ = ctx.store_userdata(Installed {
        name: format!("{BUNDLE}{entry}:"),
        map: RefCell::new(State::Named(map.to_owned())),
    });
    let engine = Engine::of(ctx).ok_or(rquickjs::Error::Unknown)?;
    engine.hook(ctx, |hooks| &hooks.map_stacks)?.call(())
}

/// A stack, told by the map if the program has one.
pub(crate) fn applied(ctx: &Ctx<'_>, stack: &str) -> String {
    let Some(installed) = ctx.userdata::<Installed>() else {
        return stack.to_owned();
    };
    if !stack.contains(&installed.name) {
        return stack.to_owned();
    }
    match installed.map() {
        Some(map) => map.told(stack, &installed.name),
        None => stack.to_owned(),
    }
}

impl Installed {
    fn map(&self) -> Option<Rc<Map>> {
        let mut state = self.map.borrow_mut();
        if let State::Named(hash) = &*state {
            let read = wapo::blob::get(hash)
                .ok()
                .filter(|bytes| bytes.len() <= MAP_BYTES_MAX)
                .and_then(|bytes| Map::parse(&bytes));
            *state = read.map_or(State::Unreadable, |map| State::Read(Rc::new(map)));
        }
        match &*state {
            State::Read(map) => Some(Rc::clone(map)),
            _ => None,
        }
    }
}

impl Map {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let form: Form = serde_json::from_slice(bytes).ok()?;
        let mut lines = vec![Line::default()];
        let mut reader = Reader::new(&form.mappings, Line::default());
        loop {
            match reader.next() {
                Some(Item::Segment(..)) => {}
                Some(Item::LineEnd) if lines.len() < LINES_MAX => lines.push(reader.line()),
                _ => break,
            }
        }
        Some(Self { form, lines })
    }

    /// What a place in the bundle comes from; both are counted from zero.
    fn find(&self, line: usize, column: u32) -> Option<Place> {
        let mut reader = Reader::new(&self.form.mappings, *self.lines.get(line)?);
        let mut found = None;
        while let Some(Item::Segment(at, place)) = reader.next() {
            if at > column {
                break;
            }
            found = place;
        }
        found
    }

    /// A text in which each `NAME:LINE:COLUMN` is replaced.
    fn told(&self, stack: &str, name: &str) -> String {
        let (stack, rest) = stack.split_at(stack.floor_char_boundary(STACK_BYTES_MAX));
        let mut out = String::with_capacity(stack.len());
        let mut parts = stack.split(name);
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            match self.place(part) {
                Some((place, after)) => {
                    out.push_str(&place);
                    out.push_str(after);
                }
                None => {
                    out.push_str(name);
                    out.push_str(part);
                }
            }
        }
        out.push_str(rest);
        out
    }

    /// The place that a text begins with, as `SOURCE:LINE:COLUMN`, and the rest.
    fn place<'a>(&self, text: &'a str) -> Option<(String, &'a str)> {
        let (line, rest) = number(text)?;
        let (column, rest) = number(rest.strip_prefix(':')?)?;
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        let place = self.find(line, column.saturating_sub(1))?;
        // Differences that lead before the first line.
        if place.line.max(place.column) > i32::MAX.unsigned_abs() {
            return None;
        }
        let source = self.form.sources.get(usize::try_from(place.source).ok()?)?;
        let (line, column) = (u64::from(place.line) + 1, u64::from(place.column) + 1);
        Some((format!("{source}:{line}:{column}"), rest))
    }
}

/// The number that a text begins with, and the rest.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

/// What mappings consist of.
enum Item {
    /// From this column of the bundle on: the place, if there is one.
    Segment(u32, Option<Place>),
    LineEnd,
}

/// Reads mappings from a line on.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    column: u32,
    place: Place,
}

impl<'a> Reader<'a> {
    fn new(mappings: &'a str, line: Line) -> Self {
        Self {
            text: mappings.as_bytes(),
            at: usize::try_from(line.offset).unwrap_or(usize::MAX),
            column: 0,
            place: line.place,
        }
    }

    /// The line that begins here.
    fn line(&self) -> Line {
        Line {
            offset: u32::try_from(self.at).unwrap_or(u32::MAX),
            place: self.place,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next item; `None` at the end, and where the text is no mapping.
    fn next(&mut self) -> Option<Item> {
        while self.peek()? == b',' {
            self.at += 1;
        }
        if self.peek()? == b';' {
            self.at += 1;
            self.column = 0;
            return Some(Item::LineEnd);
        }
        self.column = self.column.wrapping_add_signed(self.value()?);
        if matches!(self.peek(), None | Some(b',' | b';')) {
            return Some(Item::Segment(self.column, None));
        }
        let mut place = self.place;
        place.source = place.source.wrapping_add_signed(self.value()?);
        place.line = place.line.wrapping_add_signed(self.value()?);
        place.column = place.column.wrapping_add_signed(self.value()?);
        self.place = place;
        if !matches!(self.peek(), None | Some(b',' | b';')) {
            // The index of a name.
            self.value()?;
        }
        Some(Item::Segment(self.column, Some(self.place)))
    }

    /// A number in base 64 with variable length: groups of five bits from the lowest
    /// on, a sixth that says whether more follow, the sign in the lowest bit.
    fn value(&mut self) -> Option<i32> {
        let (mut value, mut shift) = (0_u32, 0);
        loop {
            let digit = digit(self.peek()?)?;
            self.at += 1;
            value |= (digit & 31).checked_shl(shift)?;
            if digit & 32 == 0 {
                break;
            }
            shift += 5;
        }
        let size = (value >> 1).cast_signed();
        Some(if value & 1 == 1 { -size } else { size })
    }
}

fn digit(byte: u8) -> Option<u32> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(digit))
}
