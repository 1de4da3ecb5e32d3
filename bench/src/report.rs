//! The table: what was measured, beside what, and whether it is good enough.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::guests;
use crate::machine::Facts;

/// A bound that a value is held against.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Larger is better.
    AtLeast(f64),
    /// Smaller is better.
    AtMost(f64),
    /// Stated for readers.
    None,
}

/// One line of the table.
pub(crate) struct Line {
    /// The row of SPECIFICATION.md that it belongs to.
    pub(crate) row: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// The same natively, or what else ours is compared with.
    pub(crate) beside: String,
    /// Ours.
    pub(crate) ours: String,
    /// The number that counts, in the unit of the goal.
    pub(crate) value: f64,
    /// Unit of value and goal; `×` for ratios.
    pub(crate) unit: &'static str,
    /// What the number should be.
    pub(crate) goal: Goal,
}

impl Line {
    fn verdict(&self) -> &'static str {
        let met = match self.goal {
            Goal::AtLeast(bound) => self.value >= bound,
            Goal::AtMost(bound) => self.value <= bound,
            Goal::None => return "",
        };
        if met { "met" } else { "MISSED" }
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::AtLeast(bound) => format!("≥ {} {}", number(bound), self.unit),
            Goal::AtMost(bound) => format!("≤ {} {}", number(bound), self.unit),
            Goal::None => String::new(),
        }
    }
}

/// Three digits that matter.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Everything that a run found.
pub(crate) struct Report {
    facts: Facts,
    /// Whether the numbers are worth a verdict.
    judges: bool,
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(facts: Facts, judges: bool) -> Self {
        Self {
            facts,
            judges,
            lines: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a line and shows it at once: a full run takes a while.
    pub(crate) fn add(&mut self, line: Line) {
        println!(
            "{}: {} {} (beside: {}; ours: {}) {} {}",
            line.what,
            number(line.value),
            line.unit,
            line.beside,
            line.ours,
            line.goal(),
            self.verdict(&line)
        );
        self.lines.push(line);
    }

    fn verdict(&self, line: &Line) -> &'static str {
        if self.judges { line.verdict() } else { "" }
    }

    /// Adds a remark below the table.
    pub(crate) fn note(&mut self, text: String) {
        println!("note: {text}");
        self.notes.push(text);
    }

    /// The report as a document.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# Bench of {}\n\n", self.facts.date);
        for (name, value) in &self.facts.lines {
            let _ = writeln!(text, "- {name}: {value}");
        }
        text.push_str(
            "\n| row | what | beside | Wapo | result | goal | |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for line in &self.lines {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} {} | {} | {} |",
                line.row,
                line.what,
                line.beside,
                line.ours,
                number(line.value),
                line.unit,
                line.goal(),
                self.verdict(line)
            );
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// Writes the document to `bench/results/`, under a name with this suffix.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn keep(&self, suffix: &str) -> Result<PathBuf> {
        let folder = guests::root().join("bench/results");
        let path = folder.join(format!(
            "{}-{}{suffix}.md",
            self.facts.date, self.facts.slug
        ));
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&path, self.markdown()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: f64, goal: Goal) -> Line {
        Line {
            row: "http",
            what: "requests".to_owned(),
            beside: "100/s".to_owned(),
            ours: "80/s".to_owned(),
            value,
            unit: "×",
            goal,
        }
    }

    #[test]
    fn goals_have_a_direction() {
        assert_eq!(line(0.8, Goal::AtLeast(0.75)).verdict(), "met");
        assert_eq!(line(0.7, Goal::AtLeast(0.75)).verdict(), "MISSED");
        assert_eq!(line(1.2, Goal::AtMost(1.2)).verdict(), "met");
        assert_eq!(line(1.3, Goal::AtMost(1.2)).verdict(), "MISSED");
        assert_eq!(line(1.3, Goal::None).verdict(), "");
        assert_eq!(line(1.3, Goal::AtMost(1.2)).goal(), "≤ 1.20 ×");
    }
}
