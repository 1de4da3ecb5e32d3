//! Values in the details of checks.

use chrono::{DateTime, SecondsFormat};
use wapo_rpc::text::escape;

/// Characters of a foreign text that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// A time in unix seconds, as a date of RFC 3339.
pub(crate) fn date(unix_s: u64) -> String {
    i64::try_from(unix_s)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or_else(
            || format!("second {unix_s}"),
            |date| date.to_rfc3339_opts(SecondsFormat::Secs, true),
        )
}

/// A text from the maker of the evidence, in one line and without control characters.
pub(crate) fn printable(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => escape(&text[..end], &[]) + "…",
        None => escape(text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_cut_and_escaped() {
        assert_eq!(printable("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), 201);
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(u64::MAX), "second 18446744073709551615");
    }
}
