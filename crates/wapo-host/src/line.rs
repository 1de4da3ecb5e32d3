//! The text of a line of an app's log.
//!
//! [`LineText`] can be made in one way only, which cuts it and makes visible what
//! a terminal would obey: code that keeps or shows a line need not check it
//! again. Made by `logs`, and by the embedder for its own lines.

use std::fmt;
use std::ops::Deref;

use crate::limits::LOG_LINE_BYTES_MAX;

/// The text of a line, cut and without control characters, apart from the line
/// breaks and tabs of backtraces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineText(String);

impl LineText {
    /// Takes any text.
    pub fn new(text: &str) -> Self {
        Self::of_cut(&cut(text))
    }

    /// Takes a text that has been cut.
    pub(crate) fn of_cut(text: &str) -> Self {
        Self(printable(text))
    }

    /// Takes any text of which at most so many bytes count, and leaves no line
    /// break in it.
    pub fn single(text: &str, bytes_max: usize) -> Self {
        let whole = beginning(text, bytes_max);
        let line = printable(whole).replace('\n', "\\n");
        let kept = beginning(&line, bytes_max);
        let is_cut = whole.len() < text.len() || kept.len() < line.len();
        Self(format!("{kept}{}", if is_cut { "…" } else { "" }))
    }
}

/// The beginning of a text, in whole characters.
fn beginning(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Cuts a line to its limit, and says so.
pub(crate) fn cut(text: &str) -> String {
    cut_to(text, LOG_LINE_BYTES_MAX)
}

/// Cuts a text to a limit, and says so.
pub(crate) fn cut_to(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    let mark = if end < text.len() { "…" } else { "" };
    format!("{}{mark}", &text[..end])
}

/// Takes colours and the like out and makes control characters visible.
///
/// Line breaks and tabs of the host's own multi-line messages (backtraces)
/// stay; a guest cannot forge a line of another app, since lines are records.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = skip_control_sequence(rest) {
            rest = after;
            continue;
        }
        match character {
            '\n' | '\t' => line.push(character),
            hidden if is_hidden(hidden) => line.extend(hidden.escape_default()),
            other => line.push(other),
        }
        rest = &rest[character.len_utf8()..];
    }
    line
}

/// What follows a whole control sequence at the beginning of a text: `ESC [`,
/// parameters, a final letter (ECMA-48, 5.4). Colours are such sequences.
fn skip_control_sequence(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|character| !(' '..='?').contains(&character))?;
    let is_final = ('@'..='~').contains(&parameters[end..].chars().next()?);
    is_final.then(|| &parameters[end + 1..])
}

impl Deref for LineText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LineText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for LineText {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for LineText {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl From<LineText> for String {
    fn from(text: LineText) -> Self {
        text.0
    }
}

/// Whether a character does something other than being seen: control characters,
/// and those that turn the direction of the text around them.
pub fn is_hidden(character: char) -> bool {
    let turns = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns || character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let text = LineText::new("a\u{1b}[31mb\u{9b}2J\r\u{202e}c\n  at d");
        assert_eq!(text, "ab\\u{9b}2J\\r\\u{202e}c\n  at d");
        assert_eq!(LineText::new(&text), text, "once is enough");
    }

    #[test]
    fn a_single_line_is_one_and_bounded() {
        let forged = "x\n2026-11-25T00:00:00Z ERROR wapod: forged";
        assert_eq!(
            LineText::single(forged, 1000),
            "x\\n2026-11-25T00:00:00Z ERROR wapod: forged"
        );
        assert_eq!(LineText::single("äää", 5), "ää…");
        assert!(LineText::single(&"\0".repeat(1000), 100).len() < 104);
    }

    #[test]
    fn lines_are_cut_and_cleaned() {
        assert_eq!(printable("plain\ttext"), "plain\ttext");
        assert_eq!(printable("bell\u{7} and \r"), "bell\\u{7} and \\r");
        let long = cut(&"ä".repeat(LOG_LINE_BYTES_MAX));
        assert!(long.len() <= LOG_LINE_BYTES_MAX + '…'.len_utf8());
        assert!(long.ends_with('…'));
    }

    #[test]
    fn colours_are_taken_out_and_what_is_no_colour_is_shown() {
        for (text, clean) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[1;38;5;208mbold\u{1b}[m, plain", "bold, plain"),
            ("\u{1b}[2Kcleared", "cleared"),
            ("\u{1b}[", "\\u{1b}["),
            ("\u{1b}[31", "\\u{1b}[31"),
            ("\u{1b}[31ä", "\\u{1b}[31ä"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{1b}", "\\u{1b}"),
        ] {
            assert_eq!(printable(text), clean, "{text:?}");
        }
    }
}
