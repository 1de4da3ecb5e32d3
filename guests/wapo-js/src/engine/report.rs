//! Failures of JavaScript that nobody caught: their text, and where they go.
//!
//! Everything here has to survive any value that a script can throw: `null`, a
//! revoked proxy, an object whose getters throw.

use rquickjs::{CatchResultExt, Ctx, Persistent, Value};

use super::Engine;

/// Rejected promises that nobody has handled so far in this turn.
#[derive(Default)]
pub(super) struct Rejections {
    unhandled: Vec<(Persistent<Value<'static>>, Persistent<Value<'static>>)>,
}

/// Characters of a failure's text that are kept.
const TEXT_CHARACTERS_MAX: usize = 8 * 1024;

/// Has the engine note rejections that are not handled.
pub(super) fn track(engine: &Engine) {
    let inner = std::rc::Rc::downgrade(&engine.0);
    engine
        .0
        .runtime
        .set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, handled| {
                let Some(inner) = inner.upgrade() else { return };
                let mut rejections = inner.rejections.borrow_mut();
                if handled {
                    rejections.unhandled.retain(|(known, _)| {
                        known
                            .clone()
                            .restore(&ctx)
                            .is_ok_and(|known| known != promise)
                    });
                } else {
                    rejections.unhandled.push((
                        Persistent::save(&ctx, promise),
                        Persistent::save(&ctx, reason),
                    ));
                }
            },
        )));
}

/// Reports rejections that are still not handled at the end of the turn.
pub(super) fn settle_rejections(engine: &Engine) {
    let unhandled = std::mem::take(&mut engine.0.rejections.borrow_mut().unhandled);
    if unhandled.is_empty() {
        return;
    }
    engine.0.context.with(|ctx| {
        for (_, reason) in unhandled {
            if let Ok(reason) = reason.restore(&ctx) {
                log::error!(target: "js", "unhandled rejection: {}", describe(&ctx, &reason));
            }
        }
    });
}

/// Takes the pending exception of a context and logs it.
pub(crate) fn exception(ctx: &Ctx<'_>, what: &str) {
    let thrown = ctx.catch();
    log::error!(target: "js", "{what} failed: {}", describe(ctx, &thrown));
}

/// A text for a thrown value: message, and the stack where there is one.
pub(crate) fn describe<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> String {
    let text = text_of(ctx, thrown);
    match text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn text_of<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> String {
    let plain = || {
        let text = ctx.globals().get::<_, rquickjs::Function<'js>>("String");
        text.and_then(|function| function.call::<_, String>((thrown.clone(),)))
            .catch(ctx)
            .unwrap_or_else(|_| format!("a value of type {}", thrown.type_name()))
    };
    let Some(object) = thrown.as_object() else {
        return plain();
    };
    let head = plain();
    match object.get::<_, Option<String>>("stack").catch(ctx) {
        Ok(Some(stack)) if !stack.trim().is_empty() => format!("{head}\n{}", stack.trim_end()),
        _ => head,
    }
}
