//! Takes each setting from the first source that has it, and remembers it for
//! `--check-config`.
//!
//! Knows no setting: what a source says is a type that is handed in, a whole layer
//! (`layer`) or a part of one. Used by `settings`, and by the parts for what is theirs.

use std::fmt::Display;
use std::path::Path;

/// What each source says, the first that decides first.
pub(super) struct Sources<'a, L> {
    pub(super) command_line: &'a L,
    pub(super) environment: &'a L,
    pub(super) file: Option<(&'a Path, &'a L)>,
}

/// A setting as `--check-config` shows it.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: String,
}

impl<'a, L> Sources<'a, L> {
    /// The value of the first source that has one, with the source's name.
    pub(super) fn find<T>(&self, of: impl Fn(&L) -> Option<T>) -> Option<(T, String)> {
        let from = |layer, source: &str| of(layer).map(|value| (value, source.to_owned()));
        from(self.command_line, "command line")
            .or_else(|| from(self.environment, "environment"))
            .or_else(|| {
                let (path, layer) = self.file?;
                from(layer, &path.display().to_string())
            })
    }

    /// What they say about a part of it.
    fn part<P>(&self, of: fn(&L) -> &P) -> Sources<'a, P> {
        Sources {
            command_line: of(self.command_line),
            environment: of(self.environment),
            file: self.file.map(|(path, layer)| (path, of(layer))),
        }
    }
}

/// The sources with what was taken from them.
pub(super) struct Picker<'a, L> {
    sources: Sources<'a, L>,
    rows: &'a mut Vec<Row>,
}

impl<'a, L> Picker<'a, L> {
    /// Of these sources; `rows` are what was taken.
    pub(super) fn new(sources: Sources<'a, L>, rows: &'a mut Vec<Row>) -> Self {
        Self { sources, rows }
    }

    /// The same for a part of the settings.
    pub(super) fn part<P>(&mut self, of: fn(&L) -> &P) -> Picker<'_, P> {
        Picker::new(self.sources.part(of), self.rows)
    }

    /// What the file says.
    pub(super) fn file(&self) -> Option<&'a L> {
        self.sources.file.map(|(_, layer)| layer)
    }

    /// The value of the first source that has one, with the source's name.
    pub(super) fn find<T>(&self, of: impl Fn(&L) -> Option<T>) -> Option<(T, String)> {
        self.sources.find(of)
    }

    /// Takes a value and remembers it for people.
    pub(super) fn pick<T: Display>(
        &mut self,
        name: &'static str,
        default: T,
        of: impl Fn(&L) -> Option<T>,
    ) -> T {
        let found = self.find(of);
        let (value, source) = found.unwrap_or_else(|| (default, "default".to_owned()));
        self.show(name, &value, source);
        value
    }

    /// Names of what was taken so far, each with its source.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.rows.iter().map(|row| (row.name, row.source.as_str()))
    }

    pub(super) fn show(&mut self, name: &'static str, value: &impl Display, source: String) {
        let text = value.to_string();
        let is_bare = text == "true" || text == "false" || text.parse::<u64>().is_ok();
        let value = if is_bare { text } else { format!("{text:?}") };
        self.rows.push(Row {
            name,
            value,
            source,
        });
    }
}
