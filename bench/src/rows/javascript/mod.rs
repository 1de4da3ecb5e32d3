//! Rows of JavaScript apps: their speed beside other servers and beside the same
//! engine natively, how soon they start, and what they take.

pub(super) mod hello;
pub(super) mod loops;
pub(super) mod memory;
pub(super) mod start;

use crate::guests;
use crate::report::Report;

/// Whether there is an engine to measure; if not, the report says so.
fn has_engine(row: &str, report: &mut Report) -> bool {
    let path = guests::javascript_engine();
    if path.exists() {
        return true;
    }
    report.note(format!(
        "{row}: not measured, because {} is not built; `cargo xtask engine` says what it lacks",
        path.display()
    ));
    false
}
