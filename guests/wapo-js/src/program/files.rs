//! The files of a program of several modules: names, and hashes of blobs.
//!
//! The form is JSON: `{"version": 1, "entry": NAME, "files": {NAME: HASH, …},
//! "imports": {SPECIFIER: NAME, …}, "map": HASH}`. Names are relative paths with `/` and
//! without `.` and `..`; specifiers that end in `/` stand for what begins so. `map`
//! is the source map of a program of one file that is a bundle.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The form that this engine reads.
const VERSION: u32 = 1;

/// What a program consists of.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    version: u32,
    pub(crate) entry: String,
    files: BTreeMap<String, Text>,
    #[serde(default)]
    imports: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) map: Option<String>,
}

/// The text of a file: where it is.
#[derive(Clone, Debug)]
enum Text {
    Blob(String),
    Here(String),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Text::Blob)
    }
}

impl Files {
    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// Another form, or an entry that is not among the files.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let files: Self =
            serde_json::from_str(json).map_err(|error| format!("the list of files: {error}"))?;
        if files.version != VERSION {
            return Err(format!(
                "the list of files has version {}, this engine reads {VERSION}",
                files.version
            ));
        }
        if !files.files.contains_key(&files.entry) {
            return Err(format!(
                "the entry {:?} is not among the files",
                files.entry
            ));
        }
        Ok(files)
    }

    /// A program of one file, whose text is at hand.
    pub(crate) fn single(name: &str, text: String) -> Self {
        Self {
            version: VERSION,
            entry: name.to_owned(),
            files: BTreeMap::from([(name.to_owned(), Text::Here(text))]),
            imports: BTreeMap::new(),
            map: None,
        }
    }

    /// The text of a file.
    ///
    /// # Errors
    ///
    /// It is not there, or not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<String, String> {
        match self.files.get(name) {
            Some(Text::Here(text)) => Ok(text.clone()),
            Some(Text::Blob(hash)) => blob(hash),
            None => Err(format!("the program has no file {name:?}")),
        }
    }

    /// The file that a module means by a specifier; `None` when there is none.
    pub(crate) fn resolve(&self, base: &str, specifier: &str) -> Option<String> {
        let name = match specifier {
            _ if specifier.starts_with("./") || specifier.starts_with("../") => {
                join(base, specifier)
            }
            _ => match specifier.strip_prefix('/') {
                Some(path) => join("", path),
                None => self.mapped(specifier)?,
            },
        };
        self.files.contains_key(&name).then_some(name)
    }

    /// What the import map says: an exact entry, else the longest beginning.
    fn mapped(&self, specifier: &str) -> Option<String> {
        if let Some(name) = self.imports.get(specifier) {
            return Some(join("", name));
        }
        let begins = |key: &&String| key.ends_with('/') && specifier.starts_with(key.as_str());
        let key = self
            .imports
            .keys()
            .filter(begins)
            .max_by_key(|key| key.len())?;
        Some(join(
            "",
            &format!("{}{}", self.imports[key], &specifier[key.len()..]),
        ))
    }
}

/// Joins a relative path to the folder of the file that names it.
pub(super) fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The text of a blob.
pub(super) fn blob(hash: &str) -> Result<String, String> {
    let bytes = wapo::blob::get(hash).map_err(|error| format!("the source {hash}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("the source {hash} is not UTF-8"))
}
