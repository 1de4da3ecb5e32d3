//! Whether the program still has something to do.
//!
//! A program is over when no task of it runs and nothing listens, as with
//! Wapo 0.x, or when it says so.

use std::cell::Cell;

use rquickjs::{Persistent, Value};

use super::{Engine, Signal};

/// What [`Engine::until`] waits for.
#[derive(Default)]
pub(super) struct Life {
    changed: Signal,
    /// The code with which the program ended itself.
    exit_code: Cell<Option<i32>>,
    /// Whether requests have a handler to answer them, as far as that is known.
    is_serving: Cell<Option<bool>>,
}

impl Life {
    /// Has those who wait look again: something has ended, or begun. A program that
    /// serves goes on whatever else ends, and need not be asked after every turn.
    pub(super) fn look(&self) {
        if self.is_serving.get() != Some(true) || self.exit_code.get().is_some() {
            self.changed.notify();
        }
    }
}

impl Engine {
    /// Ends the program after the present turn.
    pub(crate) fn exit(&self, code: i32) {
        self.0.life.exit_code.set(Some(code));
        self.0.life.look();
    }

    /// Whether requests have a handler to answer them: the program's default
    /// export, or a listener.
    pub(crate) fn is_serving(&self, handler: Option<&Persistent<Value<'static>>>) -> bool {
        let known = &self.0.life.is_serving;
        if let Some(answer) = known.get() {
            return answer;
        }
        let answer = self.0.context.with(|ctx| {
            let hook = self.hook(&ctx, |hooks| &hooks.is_serving);
            let answer = hook.and_then(|function| {
                let handler = handler
                    .map(|handler| handler.clone().restore(&ctx))
                    .transpose()?;
                function.call::<_, bool>((handler,))
            });
            answer.unwrap_or(false)
        });
        known.set(Some(answer));
        answer
    }

    /// Has [`is_serving`](Self::is_serving) ask again: a listener came or went.
    pub(crate) fn listeners_changed(&self) {
        self.0.life.is_serving.set(None);
    }

    /// Waits until a question about the program is answered with yes.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let changed = self.0.life.changed.clone();
        changed.wait_for(|| is_so(self).then_some(())).await;
    }

    /// The code with which the program has ended itself, if it has.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.0.life.exit_code.get()
    }

    /// Whether it has nothing to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.0
            .tasks
            .borrow()
            .values()
            .all(|task| task.is_background)
            && !self.0.runtime.is_job_pending()
    }
}
