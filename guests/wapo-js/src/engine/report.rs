//! Failures of JavaScript that nobody caught: where they go, and their text.
//!
//! Everything here has to survive any value that a script can throw: `null`, a
//! revoked proxy, an object whose getters throw.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};

use rquickjs::runtime::RejectionTracker;
use rquickjs::{CatchResultExt, Ctx, Function, Persistent, Value};

use super::Engine;
use super::Hooks;
use super::bytes::{text, with_text};
use crate::native::source_map;

/// A promise and what it was rejected with.
type Rejection = (Persistent<Value<'static>>, Persistent<Value<'static>>);

/// Order of rejections.
type Number = u64;

/// Rejected promises.
#[derive(Default)]
pub(super) struct Rejections {
    /// Not handled so far in this turn, in order.
    fresh: BTreeMap<Number, Rejection>,
    /// Where a promise is in `fresh`. Hashed without chance, of which there is
    /// none while the image of memory is made.
    numbers: HashMap<Persistent<Value<'static>>, Number, BuildHasherDefault<DefaultHasher>>,
    next: Number,
    /// Told to be unhandled, and handled in this turn.
    handled: Vec<Rejection>,
    /// Told to be unhandled; the newest of them, at the end.
    told: VecDeque<Rejection>,
}

/// Unhandled rejections that are remembered, to tell when they are handled
/// after all. A program with more has them in its log.
const TOLD_MAX: usize = 100;

/// Characters of a failure's text that are kept.
const TEXT_CHARACTERS_MAX: usize = 8 * 1024;

/// Has the engine note rejections that are not handled.
pub(super) fn track(engine: &Engine) {
    let weak = engine.weak();
    let note: RejectionTracker = Box::new(move |ctx, promise, reason, is_handled| {
        if let Some(engine) = weak.upgrade() {
            let saved = (
                Persistent::save(&ctx, promise),
                Persistent::save(&ctx, reason),
            );
            let mut rejections = engine.0.rejections.borrow_mut();
            rejections.note(saved, is_handled);
        }
    });
    engine
        .0
        .runtime
        .set_host_promise_rejection_tracker(Some(note));
}

impl Rejections {
    fn note(&mut self, rejection: Rejection, is_handled: bool) {
        let promise = &rejection.0;
        if !is_handled {
            self.numbers.insert(promise.clone(), self.next);
            self.fresh.insert(self.next, rejection);
            self.next += 1;
        } else if let Some(number) = self.numbers.remove(promise) {
            self.fresh.remove(&number);
        } else if let Some(index) = self.told.iter().position(|known| known.0 == *promise) {
            self.handled.extend(self.told.remove(index));
        }
    }
}

/// Tells the boot code, at the end of a turn, what is still not handled, and
/// what is handled after all. Answers whether there was something to tell.
pub(super) fn settle_rejections(engine: &Engine) -> bool {
    let (fresh, handled) = {
        let mut rejections = engine.0.rejections.borrow_mut();
        rejections.numbers.clear();
        (
            std::mem::take(&mut rejections.fresh),
            std::mem::take(&mut rejections.handled),
        )
    };
    if fresh.is_empty() && handled.is_empty() {
        return false;
    }
    let tell_one = |(promise, reason): &Rejection, is_handled: bool| {
        let (promise, reason) = (promise.clone(), reason.clone());
        tell(
            engine,
            |hooks| &hooks.rejection,
            |ctx, function| {
                let (promise, reason) = (promise.restore(ctx)?, reason.restore(ctx)?);
                function.call((promise, reason, is_handled))
            },
        );
    };
    for rejection in &handled {
        tell_one(rejection, true);
    }
    for rejection in fresh.into_values() {
        tell_one(&rejection, false);
        let mut rejections = engine.0.rejections.borrow_mut();
        if rejections.told.len() >= TOLD_MAX {
            rejections.told.pop_front();
        }
        rejections.told.push_back(rejection);
    }
    true
}

/// Calls a hook of the boot code, and logs what it throws.
fn tell(
    engine: &Engine,
    which: impl FnOnce(&Hooks) -> &Persistent<Function<'static>>,
    call: impl for<'js> FnOnce(&Ctx<'js>, Function<'js>) -> rquickjs::Result<()>,
) {
    engine.0.context.with(|ctx| {
        let called = engine
            .hook(&ctx, which)
            .and_then(|function| call(&ctx, function));
        if called.is_err() {
            let thrown = ctx.catch();
            log::error!(target: "js", "a report failed: {}", describe(&ctx, &thrown));
        }
    });
}

/// Reports what a call from outside has thrown, if it has.
pub(crate) fn outcome(ctx: &Ctx<'_>, called: rquickjs::Result<()>) {
    if called.is_err() {
        exception(ctx);
    }
}

/// Takes the pending exception of a context and reports it: to the program's
/// listeners of errors, else to the log.
pub(crate) fn exception(ctx: &Ctx<'_>) {
    let thrown = ctx.catch();
    let told = Engine::of(ctx).is_some_and(|engine| {
        let report = engine.hook(ctx, |hooks| &hooks.report);
        let told = report.and_then(|report| report.call::<_, ()>((thrown.clone(),)));
        told.is_ok()
    });
    if !told {
        ctx.catch();
        log::error!(target: "js", "{}", describe(ctx, &thrown));
    }
}

/// A text for a thrown value: message, and the stack where there is one.
pub(crate) fn describe<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> String {
    let all = words(ctx, thrown).unwrap_or_else(|| text_of(ctx, thrown));
    beginning(&all)
}

/// As much of a text as is told.
fn beginning(all: &str) -> String {
    match all.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &all[..end]),
        None => all.to_owned(),
    }
}

/// What the boot code says of it, if it has better words.
fn words<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> Option<String> {
    let engine = Engine::of(ctx)?;
    let words = engine.hook(ctx, |hooks| &hooks.words);
    let words = words.and_then(|words| words.call::<_, Value<'js>>((thrown.clone(),)));
    let words = words.catch(ctx).ok()?.into_string()?;
    text(&words).ok()
}

fn text_of<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> String {
    let convert = ctx.globals().get::<_, Function<'js>>("String");
    let head = convert
        .and_then(|convert| with_text(&convert.call((thrown.clone(),))?, beginning))
        .catch(ctx)
        .unwrap_or_else(|_| format!("a value of type {}", thrown.type_name()));
    let Some(object) = thrown.as_object() else {
        return head;
    };
    let stack = object.get::<_, Option<rquickjs::String<'js>>>("stack");
    let stack = stack.and_then(|stack| stack.as_ref().map(text).transpose());
    match stack.catch(ctx) {
        Ok(Some(stack)) if !stack.trim().is_empty() => {
            format!("{head}\n{}", source_map::applied(ctx, stack.trim_end()))
        }
        _ => head,
    }
}
