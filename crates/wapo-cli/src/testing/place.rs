//! Where a failure happened: the first place of a stack trace that is in a file of the
//! program, and the lines around it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lines that are shown before the one that is meant.
const LINES_BEFORE: usize = 2;
/// Characters of a line that are shown; longer lines are not hand-written source text.
const LINE_CHARACTERS_MAX: usize = 200;

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) line: usize,
    /// From 1.
    pub(super) column: usize,
}

impl Place {
    /// The first place of a text that is in one of the files, which are listed by
    /// their names in stack traces.
    pub(super) fn find(text: &str, files: &BTreeMap<String, PathBuf>) -> Option<Self> {
        text.lines().find_map(|line| {
            let place = line.trim().strip_prefix("at ")?;
            let place = place.rsplit(' ').next()?;
            let mut parts = place
                .trim_start_matches('(')
                .trim_end_matches(')')
                .rsplitn(3, ':');
            let column = parts.next()?.parse().ok()?;
            let line = parts.next()?.parse().ok()?;
            Some(Self {
                file: files.get(parts.next()?)?.clone(),
                line,
                column,
            })
        })
    }

    /// `file:line:column`, the file as seen from a folder.
    pub(super) fn shown_from(&self, folder: &Path) -> String {
        let file = self.file.strip_prefix(folder).unwrap_or(&self.file);
        format!("{}:{}:{}", file.display(), self.line, self.column)
    }

    /// The line, those before it, and a mark below; nothing when the file is not
    /// what it was.
    pub(super) fn excerpt(&self) -> Vec<String> {
        let Ok(text) = std::fs::read_to_string(&self.file) else {
            return Vec::new();
        };
        let lines: Vec<&str> = text.lines().collect();
        if self.line == 0 || self.line > lines.len() {
            return Vec::new();
        }
        let first = self.line.saturating_sub(LINES_BEFORE).max(1);
        let mut shown: Vec<String> = (first..=self.line)
            .map(|number| {
                let mark = if number == self.line { '>' } else { ' ' };
                let line = lines[number - 1].replace('\t', " ");
                let line: String = line.chars().take(LINE_CHARACTERS_MAX).collect();
                format!("{mark} {number:>4} | {}", crate::human::printable(&line))
            })
            .collect();
        if self.column <= LINE_CHARACTERS_MAX {
            shown.push(format!(
                "       | {}^",
                " ".repeat(self.column.saturating_sub(1))
            ));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_in_the_program_is_meant() {
        let file = PathBuf::from("/p/a.test.ts");
        let files = BTreeMap::from([("src/a.test.ts".to_owned(), file.clone())]);
        let stack = "Error: at night (x:1:2)\n    at equal (native)\n    at f (other.js:1:1)\n    \
                     at <anonymous> (src/a.test.ts:12:34)\n    at src/a.test.ts:50:6";
        let place = Place::find(stack, &files).expect("a place");
        assert_eq!((&place.file, place.line, place.column), (&file, 12, 34));
        assert_eq!(place.shown_from(Path::new("/p")), "a.test.ts:12:34");
        let bare = Place::find("    at src/a.test.ts:50:6", &files).expect("a place");
        assert_eq!((bare.line, bare.column), (50, 6));
        for text in [
            "",
            "at ",
            "at (::)",
            "at f (src/a.test.ts:x:1)",
            "at src/a.test.ts:1",
        ] {
            assert_eq!(Place::find(text, &files), None, "{text}");
        }
    }

    #[test]
    fn the_line_is_shown_with_those_before_it() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("a.js");
        std::fs::write(&file, "one\ntwo\n\tthree\u{1b}[2J\nfour\n").expect("file");
        let place = |line, column| Place {
            file: file.clone(),
            line,
            column,
        };
        assert_eq!(
            place(3, 2).excerpt(),
            [
                "     1 | one",
                "     2 | two",
                ">    3 |  three\\u{1b}[2J",
                "       |  ^"
            ]
        );
        assert_eq!(place(1, 1).excerpt(), [">    1 | one", "       | ^"]);
        for wrong in [place(0, 1), place(99, 1)] {
            assert!(wrong.excerpt().is_empty());
        }
    }
}
