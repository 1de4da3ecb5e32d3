//! Tables for people: columns as wide as they need to be, numbers to the right.

use crate::human::printable;
use crate::terminal::{DIM, PLAIN};

/// Blanks between two columns.
const GAP: usize = 2;

/// Where the text of a column stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of text under a heading.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

/// A text in a table.
pub(crate) struct Cell {
    text: String,
    colour: &'static str,
}

impl Cell {
    /// A text in a colour, given as `terminal` names it.
    pub(crate) fn coloured(text: &str, colour: &'static str) -> Self {
        // Names come from the deployer of the app: control characters are shown
        // as such.
        let text = printable(text);
        Self { text, colour }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::coloured(&text, PLAIN)
    }
}

impl Table {
    /// A table with these headings. Blanks stand for no heading at all.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// A list of names and what they stand for.
    pub(crate) fn pairs() -> Self {
        Self::new(&[("", Align::Left), ("", Align::Left)])
    }

    /// Adds a row, one text for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a name and what it stands for, unless that is nothing.
    pub(crate) fn pair(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.row([Cell::coloured(name, DIM), value.into()]);
        }
    }

    /// The lines. `paint` puts a colour on a text.
    pub(crate) fn lines(&self, paint: impl Fn(&str, &str) -> String) -> Vec<String> {
        let widths = self.widths();
        let line = |cells: Vec<(&str, &str)>| {
            let mut line = String::new();
            // Blanks are written before the next text only, so none end a line.
            let mut blanks = 0;
            for (((text, colour), width), (_, align)) in
                cells.iter().zip(&widths).zip(&self.columns)
            {
                let missing = width - text.chars().count();
                let (before, after) = match align {
                    Align::Left => (0, missing),
                    Align::Right => (missing, 0),
                };
                if !text.is_empty() {
                    line.push_str(&" ".repeat(blanks + before));
                    line.push_str(&paint(colour, text));
                    blanks = 0;
                } else {
                    blanks += before;
                }
                blanks += after + GAP;
            }
            line
        };
        let has_heading = self.columns.iter().any(|(name, _)| !name.is_empty());
        let heading = self.columns.iter().map(|(name, _)| (*name, DIM));
        let heading = has_heading.then(|| line(heading.collect()));
        let rows = self.rows.iter().map(|row| {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.colour));
            line(cells.collect())
        });
        heading.into_iter().chain(rows).collect()
    }

    /// Characters of the widest text in each column.
    fn widths(&self) -> Vec<usize> {
        let width = |(index, (name, _)): (usize, &(&str, Align))| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let cells = cells.map(|cell| cell.text.chars().count());
            cells.fold(name.chars().count(), usize::max)
        };
        self.columns.iter().enumerate().map(width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_does() {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("N", Align::Right),
            ("", Align::Left),
        ]);
        let cells = ["a", "10", "x"].map(|text| Cell::from(text.to_owned()));
        table.row(cells);
        let cells = ["ünï\x1b", "9", ""].map(|text| Cell::from(text.to_owned()));
        table.row(cells);
        let lines = table.lines(|_, text| text.to_owned());
        assert_eq!(
            lines,
            ["NAME        N", "a          10  x", "ünï\\u{1b}   9",]
        );
    }

    #[test]
    fn a_list_has_no_heading_and_leaves_out_what_is_empty() {
        let mut list = Table::pairs();
        list.pair("name", "x");
        list.pair("nothing", "");
        list.pair("address", "y");
        let lines = list.lines(|colour, text| match colour {
            PLAIN => text.to_owned(),
            _ => format!("<{text}>"),
        });
        assert_eq!(lines, ["<name>     x", "<address>  y"]);
    }
}
