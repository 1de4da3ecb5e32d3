//! The text of a line of an app's log.
//!
//! [`LineText`] can be made in one way only, which cuts it and makes visible what
//! a terminal would obey: code that keeps or shows a line need not check it
//! again. Made by `logs`, and by the embedder for its own lines.

use std::fmt;
use std::ops::Deref;

use crate::logs::printable;

/// The text of a line, cut and without control characters, apart from the line
/// breaks and tabs of backtraces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineText(String);

impl LineText {
    /// Takes any text.
    pub fn new(text: &str) -> Self {
        Self::of_cut(&crate::logs::cut(text))
    }

    /// Takes a text that has been cut.
    pub(crate) fn of_cut(text: &str) -> Self {
        Self(printable(text))
    }

    /// Takes any text of which at most so many bytes count, and leaves no line
    /// break in it.
    pub fn single(text: &str, bytes_max: usize) -> Self {
        let whole = cut(text, bytes_max);
        let line = printable(whole).replace('\n', "\\n");
        let kept = cut(&line, bytes_max);
        let is_cut = whole.len() < text.len() || kept.len() < line.len();
        Self(format!("{kept}{}", if is_cut { "…" } else { "" }))
    }
}

/// The beginning of a text, in whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
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
}
