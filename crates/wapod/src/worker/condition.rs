//! The condition of an app, for people and programs. Found by `app`, shown by `api`.

/// Condition of an app, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    /// It is not meant to run.
    Stopped,
    /// Its first instance is being made.
    Starting,
    /// It serves.
    Running,
    /// It crashed and starts again after a pause.
    Waiting,
    /// It did its work and ended by itself.
    Finished,
    /// It ended and stays ended.
    Failed,
    /// It runs on demand, and is idle at present.
    Idle,
}

impl Condition {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Idle => "idle",
        }
    }
}
