//! Checks the house rules that no compiler knows.
//!
//! Each check returns findings instead of stopping at the first, so one run
//! shows everything. A finding names file, line, rule, and what to do about it.

mod calls;
pub(crate) mod dependencies;
mod figures;
mod imports;
pub(crate) mod layers;
mod packages;
mod repository;
mod sources;
mod specification;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// One broken rule.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    /// Path from the root of the repository.
    file: String,
    /// Line, from 1; 0 for the file as a whole.
    line: usize,
    /// Short name of the rule.
    rule: &'static str,
    /// What is wrong and what to do.
    advice: String,
}

impl Finding {
    fn new(file: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            rule,
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: [{}] {}",
            self.file,
            self.line.max(1),
            self.rule,
            self.advice
        )
    }
}

/// A file of the repository and, when it is text, what is in it.
pub(crate) struct File {
    path: String,
    size: u64,
    text: Option<String>,
}

impl File {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|own| own == extension)
    }

    /// The text, when this is a file of that kind.
    fn text_of(&self, extension: &str) -> Option<&str> {
        self.text
            .as_deref()
            .filter(|_| self.has_extension(extension))
    }

    /// The name without folder and extension.
    fn stem(&self) -> &str {
        Path::new(&self.path)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default()
    }
}

/// Checks everything.
///
/// # Errors
///
/// A rule is broken; or git, cargo or the disk fail.
pub(crate) fn run() -> Result<()> {
    let files = files(&process::root())?;
    let mut findings = Vec::new();
    findings.extend(sources::check(&files));
    findings.extend(imports::check(&files));
    findings.extend(repository::check(&files));
    findings.extend(calls::check(&files));
    findings.extend(figures::check(&files));
    findings.extend(specification::check(&files));
    findings.extend(words::check(&files));
    findings.extend(packages::check()?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("{} files are tidy", files.len());
            Ok(())
        }
        count => bail!("{count} rules broken; STYLE.md explains them"),
    }
}

/// What git tracks or would track, so that a slip shows before the commit.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ])
    .current_dir(root);
    let mut files = Vec::new();
    for path in process::read(&mut git)?.split_terminator('\0') {
        let full = root.join(path);
        // Deleted but not yet committed, or a link to nowhere.
        if !full.is_file() {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        files.push(File {
            path: path.to_owned(),
            size: bytes.len() as u64,
            text: String::from_utf8(bytes)
                .ok()
                .filter(|text| !text.contains('\0')),
        });
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) fn text_file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        size: text.len() as u64,
        text: Some(text.to_owned()),
    }
}
