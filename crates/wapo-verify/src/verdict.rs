//! What a verification found: a list of checks, each with its outcome.
//!
//! Filled by the modules beside this one, shown by their callers. A verdict
//! is good when no check failed and at least one passed: a verification that ended
//! before it checked anything is not a success.

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// What was claimed is so.
    Passed,
    /// It is not so, or could not be found out.
    Failed,
    /// Nothing was demanded: a fact for the reader of the verdict.
    Noted,
}

impl Outcome {
    /// Its name, for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Noted => "noted",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// A short name that stays the same over releases, as `quote.signature`.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found, with the values; for a failure what to do.
    pub detail: String,
    /// What it proves when it passes, and what it does not.
    pub proves: &'static str,
}

/// All checks of one verification, in the order in which they were made.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verdict {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Adds a check that passed.
    pub fn passed(&mut self, name: &'static str, detail: impl Into<String>, proves: &'static str) {
        self.push(name, Outcome::Passed, detail.into(), proves);
    }

    /// Adds a check that failed.
    pub fn failed(&mut self, name: &'static str, detail: impl Into<String>, proves: &'static str) {
        self.push(name, Outcome::Failed, detail.into(), proves);
    }

    /// Adds a fact on which nothing depends.
    pub fn noted(&mut self, name: &'static str, detail: impl Into<String>, proves: &'static str) {
        self.push(name, Outcome::Noted, detail.into(), proves);
    }

    /// Appends the checks of a part that was verified on its own.
    pub fn extend(&mut self, other: Self) {
        self.checks.extend(other.checks);
    }

    /// Whether something was checked and nothing failed.
    pub fn is_good(&self) -> bool {
        self.failures().next().is_none()
            && self
                .checks
                .iter()
                .any(|check| check.outcome == Outcome::Passed)
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Failed)
    }

    fn push(&mut self, name: &'static str, outcome: Outcome, detail: String, proves: &'static str) {
        self.checks.push(Check {
            name,
            outcome,
            detail,
            proves,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_without_a_check_that_passed_is_not_good() {
        let mut verdict = Verdict::default();
        assert!(!verdict.is_good());
        verdict.noted("a", "a fact", "nothing");
        assert!(!verdict.is_good());
        verdict.passed("b", "as claimed", "something");
        assert!(verdict.is_good());
        verdict.failed("c", "not as claimed", "something");
        assert!(!verdict.is_good());
        assert_eq!(verdict.failures().count(), 1);
    }
}
