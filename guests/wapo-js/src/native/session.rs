//! `native.session`: what `wapo test` and `wapo repl` and the engine tell each other.
//!
//! The command names the session in the arguments. What the engine has to say are
//! lines of standard output that begin with the session's mark, which scripts do not
//! get to know.

use std::cell::RefCell;

use rquickjs::prelude::Func;
use rquickjs::{Ctx, Object, Promise};
use serde::Deserialize;

use super::Nullable;
use crate::engine::{Engine, script};

/// What a text from the prompt is called in stack traces.
const PROMPT_NAME: &std::ffi::CStr = c"<repl>";

/// What the command says about the session, in JSON.
#[derive(Deserialize)]
struct Options {
    /// What lines for the command begin with.
    mark: String,
}

/// A session of a command.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    mark: String,
    options: String,
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

impl Session {
    /// Reads the options in JSON; those of the boot code are passed on unread.
    ///
    /// # Errors
    ///
    /// They have no mark.
    pub(crate) fn parse(options: String) -> Result<Self, String> {
        let Options { mark } = serde_json::from_str(&options)
            .map_err(|error| format!("the options of the session: {error}"))?;
        Ok(Self { mark, options })
    }

    /// The mark of its lines.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Makes it that of this program.
    pub(crate) fn begin(self) {
        SESSION.set(Some(self));
    }
}

/// `options()`: JSON, or `null` without a session; `report(text)`: a line for the
/// command; `evaluate(text)`: what the prompt of `wapo repl` does with a text;
/// `isOver()`: whether the program has ended itself.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("options", Func::from(options))?;
    area.set("report", Func::from(|text: String| report(&text)))?;
    area.set("evaluate", Func::from(evaluate))?;
    area.set("isOver", Func::from(is_over))?;
    Ok(area)
}

fn options() -> Nullable<String> {
    Nullable(SESSION.with_borrow(|session| session.as_ref().map(|it| it.options.clone())))
}

/// Tells the command something, in one line of ASCII.
pub(crate) fn report(text: &str) {
    SESSION.with_borrow(|session| {
        if let Some(session) = session {
            println!("{}{text}", session.mark);
        }
    });
}

/// Tells the command that the program could not begin.
pub(crate) fn report_failure(text: &str) {
    let text = serde_json::Value::from(text).to_string();
    let ascii: String = text
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    report(&format!("{{\"event\":\"failed\",\"text\":{ascii}}}"));
}

/// Whether the program has ended itself.
fn is_over(ctx: Ctx<'_>) -> bool {
    Engine::of(&ctx).is_some_and(|engine| engine.exit_code().is_some())
}

/// Evaluates a script that may await; the promise is of `{ value }`.
fn evaluate<'js>(ctx: Ctx<'js>, text: String) -> rquickjs::Result<Promise<'js>> {
    script::evaluate_async(&ctx, PROMPT_NAME, &text)?.get()
}
