//! Whether the program still has something to do.
//!
//! A program is over when no task of it runs and nothing listens, as with
//! Wapo 0.x, or when it says so.

use std::cell::Cell;

use super::{Engine, Signal};

/// What [`Engine::until`] waits for.
#[derive(Default)]
pub(super) struct Life {
    changed: Signal,
    /// The code with which the program ended itself.
    exit_code: Cell<Option<i32>>,
}

impl Life {
    /// Has those who wait look again: something has ended, or begun.
    pub(super) fn look(&self) {
        self.changed.notify();
    }
}

impl Engine {
    /// Ends the program after the present turn.
    pub(crate) fn exit(&self, code: i32) {
        self.0.life.exit_code.set(Some(code));
        self.0.life.look();
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
