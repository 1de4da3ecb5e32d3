//! Texts of others, such that a terminal shows them and does nothing else.
//!
//! Labels, messages and logs come from deployers and operators. Used by
//! [`manifest`](crate::manifest), which refuses such characters in labels, by `wapo-verify`
//! for the details of its checks, and by the `wapo` command for what it shows. No I/O.

/// Whether a character does something other than being seen: control characters, and
/// those that break lines or turn the direction of the text around them (Unicode,
/// annex 9).
pub fn is_hidden(character: char) -> bool {
    let turns = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    turns || character.is_control()
}

/// The text with each [hidden](is_hidden) character written as Rust writes it, but for
/// those in `kept`.
pub fn escape(text: &str, kept: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) && !kept.contains(&character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_in_its_place() {
        let text = "a\u{1b}[2Jb\n\u{9b}31m\t\u{7f}ä";
        assert_eq!(escape(text, &[]), "a\\u{1b}[2Jb\\n\\u{9b}31m\\t\\u{7f}ä");
        let kept = "a\\u{1b}[2Jb\n\\u{9b}31m\t\\u{7f}ä";
        assert_eq!(escape(text, &['\n', '\t']), kept);
        assert_eq!(escape(kept, &['\n', '\t']), kept, "once is enough");
        for turning in [
            '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{2069}',
        ] {
            let escaped = escape(&format!("x{turning}y"), &[]);
            assert_eq!(escaped, format!("x\\u{{{:x}}}y", u32::from(turning)));
        }
    }
}
