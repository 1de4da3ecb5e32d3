//! The clock, as the wire and the store have it, counted from 1970.
//!
//! Not for intervals, which `Instant` measures: the host may set this clock. Called for what
//! is signed or stored, by most files of `worker`.

use std::time::SystemTime;

/// The time, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    unix_ms_of(SystemTime::now())
}

/// The time, in seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    unix_ms() / 1000
}

/// A moment, in milliseconds since 1970.
pub(crate) fn unix_ms_of(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
