//! Rules about what is committed: no keys, no binaries, nothing big; a
//! changelog in one form.

use super::{File, Finding};

/// More than this is data, and data is made at test time or fetched.
const FILE_BYTES_MAX: u64 = 200_000;
/// Kinds of files that are never committed.
const FORBIDDEN_EXTENSIONS: &[&str] = &["key", "pem", "p12", "pfx", "wasm", "so", "a", "o", "exe"];
/// Headings a version of the changelog may have.
const CHANGE_KINDS: &[&str] = &[
    "Added",
    "Changed",
    "Deprecated",
    "Removed",
    "Fixed",
    "Security",
];
const CHANGELOG: &str = "CHANGELOG.md";
/// Documents that every reader may expect.
const REQUIRED: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "SPECIFICATION.md",
    "STYLE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    CHANGELOG,
    "LICENSE",
    "docs/compatibility.md",
];

/// Checks every committed file and the list of documents.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        one(file, &mut findings);
        if file.path == CHANGELOG {
            changelog(file, &mut findings);
        }
    }
    for required in REQUIRED {
        if files.iter().all(|file| file.path != *required) {
            findings.push(Finding::new(required, 0, "documents", "missing; write it"));
        }
    }
    findings
}

fn one(file: &File, findings: &mut Vec<Finding>) {
    let mut found = |line, rule, advice: &str| {
        findings.push(Finding::new(&file.path, line, rule, advice));
    };
    if file.size > FILE_BYTES_MAX
        && file.path != "Cargo.lock"
        && !file.path.ends_with("/Cargo.lock")
    {
        found(0, "file-size", "over 200 KB; make it at test time instead");
    }
    if FORBIDDEN_EXTENSIONS
        .iter()
        .any(|extension| file.has_extension(extension))
    {
        found(
            0,
            "binary",
            "built or secret files are made at test time, never committed",
        );
    }
    let Some(text) = &file.text else {
        found(0, "binary", "not a text; make it at test time instead");
        return;
    };
    if let Some(line) = private_key(text) {
        found(
            line,
            "key",
            "a private key; revoke it, and generate keys when they are needed",
        );
    }
}

/// Line that opens a PEM private key with something in it.
fn private_key(text: &str) -> Option<usize> {
    let dashes = "-".repeat(5);
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        let opens = line.starts_with(&format!("{dashes}BEGIN"))
            && line.ends_with(&format!("PRIVATE KEY{dashes}"));
        let continues = lines.peek().is_some_and(|(_, next)| next.trim().len() > 40);
        if opens && continues {
            return Some(index + 1);
        }
    }
    None
}

/// The form of keepachangelog.com: versions, and kinds of change below them.
fn changelog(file: &File, findings: &mut Vec<Finding>) {
    let text = file.text.as_deref().unwrap_or_default();
    let mut has_unreleased = false;
    for (index, line) in text.lines().enumerate() {
        let wrong = if let Some(kind) = line.strip_prefix("### ") {
            (!CHANGE_KINDS.contains(&kind.trim()))
                .then(|| format!("`{kind}` is none of {}", CHANGE_KINDS.join(", ")))
        } else if let Some(version) = line.strip_prefix("## ") {
            has_unreleased |= version == "[Unreleased]";
            (!version.starts_with('[')).then(|| "write `## [version] - date`".to_owned())
        } else {
            None
        };
        if let Some(advice) = wrong {
            findings.push(Finding::new(&file.path, index + 1, "changelog", advice));
        }
    }
    if !has_unreleased {
        findings.push(Finding::new(
            &file.path,
            0,
            "changelog",
            "add `## [Unreleased]`",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::text_file;
    use super::*;

    fn rules(file: &File) -> Vec<&'static str> {
        let mut findings = Vec::new();
        one(file, &mut findings);
        if file.path == CHANGELOG {
            changelog(file, &mut findings);
        }
        findings.into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn keys_binaries_and_big_files_are_found() {
        let key = format!(
            "{0}BEGIN EC PRIVATE KEY{0}\n{1}\n",
            "-".repeat(5),
            "A".repeat(64)
        );
        assert_eq!(rules(&text_file("a.txt", &key)), ["key"]);
        assert_eq!(rules(&text_file("a.pem", "x")), ["binary"]);
        assert_eq!(
            rules(&text_file("a.md", &"x".repeat(200_001))),
            ["file-size"]
        );
        let binary = File {
            path: "a.bin".into(),
            size: 1,
            text: None,
        };
        assert_eq!(rules(&binary), ["binary"]);
        assert_eq!(rules(&text_file("a.md", "x")), [] as [&str; 0]);
    }

    #[test]
    fn the_changelog_has_one_form() {
        let good = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A.\n";
        assert_eq!(rules(&text_file(CHANGELOG, good)), [] as [&str; 0]);
        let bad = "# Changelog\n\n## 1.0\n\n### New\n";
        assert_eq!(rules(&text_file(CHANGELOG, bad)), ["changelog"; 3]);
    }
}
