//! Bounds of the bill: how often usage is reported, and how much of that is kept.
//!
//! Named by `limits`, used by `worker::reports` and by `store`.

use std::time::Duration;

/// Time between two reports of usage, unless the operator says otherwise.
///
/// What a customer waits for the next link of the bill. Each costs a signature, and
/// some hundred bytes for every app that did something.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest time between two reports that are asked for.
///
/// More frequent requests wait, so that no client fills the store with reports.
pub const REPORT_SPACING: Duration = Duration::from_secs(1);

/// How long an app that does nothing but hold memory or storage is left out of
/// reports.
///
/// What it holds is in the next entry. Without this, thousands of idle apps would
/// write megabytes every minute.
pub const QUIET_REPORT_INTERVAL: Duration = Duration::from_secs(3600);

/// Reports of usage that are kept: five weeks of one a minute.
///
/// A customer who wants more exports them; what is missing shows in the first number.
pub const REPORTS_MAX: u64 = 50_000;

/// Bytes of all reports of usage that are kept.
///
/// They are a part of the state that a start looks through and a backup copies. A
/// thousand apps that all do something write 300 KB a minute, ten apps 3 KB.
pub const REPORTS_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Bytes of reports that are read for one answer, unless one alone has more.
///
/// Meanwhile nothing is written.
pub const EXPORT_BYTES_MAX: u64 = 1024 * 1024;
