//! Messages about mistakes in settings: invalid numbers, misspelt names.
//!
//! Texts only. Called by the options of `wapod` and by the `wapo` command.

use std::fmt::Display;
use std::str::FromStr;

/// How alike two names are for one to be taken for a slip of the other.
const SIMILAR_MIN: f64 = 0.85;

/// Reads a value, such as a number.
///
/// # Errors
///
/// What is wrong with the text, in words for people.
pub fn value<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    let read = text.parse();
    read.map_err(|error: T::Err| in_words(text, &error.to_string()))
}

/// Reads a whole number from 1 on.
///
/// # Errors
///
/// What is wrong with the text, in words for people.
pub fn count(text: &str) -> Result<u32, String> {
    match value(text)? {
        0 => Err(format!("`{text}` is too small: 1 is the least")),
        count => Ok(count),
    }
}

/// What is wrong with a value. The words of the standard library help nobody, and
/// its errors do not repeat the value.
pub fn in_words(text: &str, error: &str) -> String {
    let error = if error.contains("digit found") || error.contains("integer from empty") {
        match text.trim().parse::<f64>() {
            Ok(number) if number < 0.0 => "is negative",
            Ok(number) if number.is_finite() => "is not a whole number",
            _ => "is not a number",
        }
    } else if error.contains("number too large") {
        "is too large"
    } else if error.contains("`true` or `false`") {
        "is neither true nor false"
    } else {
        error
    };
    if error.contains(text) && !text.is_empty() {
        error.to_owned()
    } else {
        format!("`{text}` {error}")
    }
}

/// The one of these names that the user may have meant.
pub fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let alike = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name, known), known));
    let best = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(alike, _)| *alike >= SIMILAR_MIN)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_number_is_said_in_words() {
        assert_eq!(value("70"), Ok(70_u16));
        for (text, words) in [
            ("many", "`many` is not a number"),
            ("", "`` is not a number"),
            ("-1", "`-1` is negative"),
            ("1.5", "`1.5` is not a whole number"),
            ("70000", "`70000` is too large"),
        ] {
            assert_eq!(value::<u16>(text), Err(words.to_owned()));
        }
        assert_eq!(count("3"), Ok(3));
        let none = count("0").expect_err("too few");
        assert_eq!(none, "`0` is too small: 1 is the least");
    }

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let known = || ["memory", "max-instances", "cors"];
        assert_eq!(similar("memroy", known()), Some("memory"));
        assert_eq!(similar("MAX_INSTANCE", known()), Some("max-instances"));
        assert_eq!(similar("colour", known()), None);
    }
}
