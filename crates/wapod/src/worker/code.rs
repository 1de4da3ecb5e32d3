//! The compiled code of one app, as far as it is in memory.
//!
//! Loaded by `instances`, let go of by `compiled`.

use wapo_host::{Program, WeakProgram};

/// The compiled code of an app.
#[derive(Default)]
pub(super) enum Code {
    /// It was not loaded yet.
    #[default]
    Absent,
    /// In memory, while the app is active.
    Held(Program),
    /// In memory while the engine keeps it.
    Released(WeakProgram),
}
