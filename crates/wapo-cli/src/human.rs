//! Numbers, times and texts as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wapo_rpc::{AppAddress, text};

/// Digits of an address that tell apps of one worker apart, as a rule.
const SHORT_ADDRESS: usize = 12;

/// A duration in its two largest units.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, large_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{large}{large_name}"),
        small => format!("{large}{large_name} {small}{small_name}"),
    };
    match seconds {
        0 => format!("{}ms", time.subsec_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// A duration in milliseconds.
pub(crate) fn millis(time_ms: u64) -> String {
    duration(Duration::from_millis(time_ms))
}

/// Time since a moment, given in milliseconds since 1970.
pub(crate) fn ago(then_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = Duration::from_millis(then_ms);
    let since = now.unwrap_or_default().saturating_sub(then);
    match since.as_secs() {
        0 => "just now".to_owned(),
        seconds => format!("{} ago", duration(Duration::from_secs(seconds))),
    }
}

/// A count with its thousands apart.
pub(crate) fn count(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The beginning of an address, for tables.
pub(crate) fn short(address: &AppAddress) -> String {
    let mut text = address.to_string();
    text.truncate(SHORT_ADDRESS);
    text
}

/// A moment in UTC, given in milliseconds since 1970: `2026-03-01 12:00:00.250Z`.
pub(crate) fn moment(time_ms: u64) -> String {
    let (seconds, millis) = (time_ms / 1000, time_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a number of days since 1970. Years begin in March
/// here, so that the day that comes and goes is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    // Days since 1 March of the year 0, and four hundred years' worth of them.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (
        era * 400 + year + u64::from(is_next_year),
        month,
        day_of_month,
    )
}

/// A text that does nothing to a terminal, in one line.
pub(crate) fn printable(text: &str) -> String {
    text::escape(text, &[])
}

/// A message that does nothing to a terminal but to have several lines.
pub(crate) fn message(text: &str) -> String {
    text::escape(text, &['\n', '\t'])
}

/// What to do about a value of yes or no that stands apart from its option; `None`
/// for any other word.
pub(crate) fn stray_value(word: &str) -> Option<String> {
    matches!(word, "true" | "false")
        .then(|| format!("the value of an option follows `=`, as in --resizable={word}"))
}

/// The first line of a text. Reasons of a trap go on with a backtrace, which is
/// in the log.
pub(crate) fn first_line(text: &str) -> String {
    printable(text.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (59_999, "59s"),
            (60_000, "1m"),
            (3_599_000, "59m 59s"),
            (3_600_000, "1h"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(millis(ms), text);
        }
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        for (number, text) in [(0u64, "0"), (999, "999"), (1000, "1,000")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00.000Z"),
            (951_782_400, "2000-02-29 00:00:00.000Z"),
            (1_700_000_000, "2023-11-14 22:13:20.000Z"),
            (4_107_542_399, "2100-02-28 23:59:59.000Z"),
            (4_107_542_400, "2100-03-01 00:00:00.000Z"),
        ] {
            assert_eq!(moment(seconds * 1000), text);
        }
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(first_line("trapped: x\n  0: main"), "trapped: x");
        assert_eq!(message("a\u{61c}b\nc\x1b"), "a\\u{61c}b\nc\\u{1b}");
    }
}
