//! One line as it is typed: keys in, text and cursor out. Knows no terminal.

/// A key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Character(char),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    /// With the letter that is pressed along.
    Control(char),
    /// Something that means nothing here.
    Other,
}

/// What a key does beyond the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    None,
    Done(String),
    Interrupt,
    End,
    /// Empty the screen.
    Clear,
}

/// The line, and those before it.
#[derive(Default)]
pub(super) struct Line<'h> {
    characters: Vec<char>,
    cursor: usize,
    history: &'h [String],
    /// How far back in the history; 0 for the line itself.
    back: usize,
    /// The line itself, while another one is shown.
    own: Vec<char>,
}

impl<'h> Line<'h> {
    pub(super) fn new(history: &'h [String]) -> Self {
        Self {
            history,
            ..Self::default()
        }
    }

    /// The part that fits into so many columns with the cursor in it, and the cursor's
    /// place in that. Every character counts as one.
    pub(super) fn window(&self, columns: usize) -> (String, usize) {
        let columns = columns.max(2);
        let first = (self.cursor + 1).saturating_sub(columns);
        let end = self.characters.len().min(first + columns - 1);
        let shown = self.characters[first..end.max(first)].iter();
        (shown.collect(), self.cursor - first)
    }

    /// Presses a key.
    pub(super) fn press(&mut self, key: Key) -> Effect {
        match key {
            Key::Enter => return Effect::Done(self.characters.iter().collect()),
            Key::Control('c') => return Effect::Interrupt,
            Key::Control('d') if self.characters.is_empty() => return Effect::End,
            Key::Control('l') => return Effect::Clear,
            Key::Character(character) => {
                self.characters.insert(self.cursor, character);
                self.cursor += 1;
            }
            Key::Backspace | Key::Control('h') if self.cursor > 0 => {
                self.cursor -= 1;
                self.characters.remove(self.cursor);
            }
            Key::Delete | Key::Control('d') if self.cursor < self.characters.len() => {
                self.characters.remove(self.cursor);
            }
            Key::Left | Key::Control('b') => self.cursor = self.cursor.saturating_sub(1),
            Key::Right | Key::Control('f') => {
                self.cursor = self.characters.len().min(self.cursor + 1);
            }
            Key::Home | Key::Control('a') => self.cursor = 0,
            Key::End | Key::Control('e') => self.cursor = self.characters.len(),
            Key::Up | Key::Control('p') => self.go_back(self.back + 1),
            Key::Down | Key::Control('n') => self.go_back(self.back.saturating_sub(1)),
            Key::Control('k') => self.characters.truncate(self.cursor),
            Key::Control('u') => {
                self.characters.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::Control('w') => self.delete_word(),
            _ => {}
        }
        Effect::None
    }

    fn delete_word(&mut self) {
        let before = &self.characters[..self.cursor];
        let word = before.iter().rposition(|c| !c.is_whitespace());
        let start = word.and_then(|word| before[..word].iter().rposition(|c| c.is_whitespace()));
        let start = start.map_or(0, |space| space + 1);
        self.characters.drain(start..self.cursor);
        self.cursor = start;
    }

    /// Shows another line of the history, the `back`th from its end.
    fn go_back(&mut self, back: usize) {
        if back > self.history.len() || back == self.back {
            return;
        }
        if self.back == 0 {
            self.own = self.characters.clone();
        }
        self.back = back;
        self.characters = match back {
            0 => std::mem::take(&mut self.own),
            back => self.history[self.history.len() - back].chars().collect(),
        };
        self.cursor = self.characters.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed<'h>(history: &'h [String], keys: &[Key]) -> Line<'h> {
        let mut line = Line::new(history);
        for key in keys {
            assert_eq!(line.press(*key), Effect::None, "{key:?}");
        }
        line
    }

    fn keys(text: &str) -> Vec<Key> {
        text.chars().map(Key::Character).collect()
    }

    #[test]
    fn keys_change_the_line() {
        for (text, more, expected, cursor) in [
            (
                "abc",
                &[Key::Left, Key::Left, Key::Character('x')][..],
                "axbc",
                2,
            ),
            (
                "äö",
                &[Key::Backspace, Key::Backspace, Key::Backspace],
                "",
                0,
            ),
            (
                "abc",
                &[Key::Home, Key::Delete, Key::Right, Key::Right, Key::Right],
                "bc",
                2,
            ),
            ("one two  ", &[Key::Control('w')], "one ", 4),
            ("one", &[Key::Control('w'), Key::Control('w')], "", 0),
            (
                "one two",
                &[Key::Left, Key::Control('u'), Key::Control('k')],
                "",
                0,
            ),
            ("one two", &[Key::Left, Key::Control('k')], "one tw", 6),
            (
                "abc",
                &[
                    Key::Control('a'),
                    Key::Control('d'),
                    Key::Control('e'),
                    Key::Other,
                ],
                "bc",
                2,
            ),
        ] {
            let line = typed(&[], &[keys(text), more.to_vec()].concat());
            assert_eq!(line.window(80), (expected.to_owned(), cursor), "{text}");
        }
    }

    #[test]
    fn the_history_is_behind_the_line() {
        let history = ["first".to_owned(), "second".to_owned()];
        let mut line = typed(
            &history,
            &[keys("own"), vec![Key::Up, Key::Up, Key::Up]].concat(),
        );
        assert_eq!(line.window(80).0, "first");
        for (key, shown) in [
            (Key::Down, "second"),
            (Key::Down, "own"),
            (Key::Down, "own"),
        ] {
            line.press(key);
            assert_eq!(line.window(80).0, shown);
        }
        line.press(Key::Up);
        assert_eq!(line.press(Key::Enter), Effect::Done("second".to_owned()));
    }

    #[test]
    fn a_long_line_moves_with_the_cursor() {
        let mut line = typed(&[], &keys("0123456789"));
        assert_eq!(line.window(5), ("6789".to_owned(), 4));
        line.press(Key::Home);
        assert_eq!(line.window(5), ("0123".to_owned(), 0));
        assert_eq!(line.window(0).1, 0);
    }

    #[test]
    fn some_keys_are_for_the_prompt() {
        let mut line = Line::new(&[]);
        assert_eq!(line.press(Key::Control('d')), Effect::End);
        assert_eq!(line.press(Key::Control('c')), Effect::Interrupt);
        line.press(Key::Character('x'));
        assert_eq!(line.press(Key::Control('d')), Effect::None);
        assert_eq!(line.press(Key::Control('l')), Effect::Clear);
    }
}
