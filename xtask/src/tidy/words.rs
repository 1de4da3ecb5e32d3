//! Rules about words: pronouns that stand for every possible subject.
//!
//! Where a sentence has a pronoun for its subject, a reader has to guess whether a
//! client, a guest or the operator is meant. So comments, documents and messages name
//! the subject, and this check refuses the phrases that hide it. Names of tests and
//! other identifiers are left alone.

use super::{File, Finding};

/// Phrases that are refused, in lower case, and what to write instead.
const RIDDLES: &[(&str, &str)] = &[
    (
        "whoever",
        "the client, the caller, the holder of the key, ...",
    ),
    ("somebody", "a client, another task, the operator, ..."),
    ("anybody", "any client, the app's owner, ..."),
    ("everybody", "every client, all apps, ..."),
    ("nobody wants", "unwanted, unread, idle, ..."),
    (
        "who asks",
        "the client, the requester, the app that asks, ...",
    ),
];
/// Kinds of files that people write.
const EXTENSIONS: &[&str] = &[
    "c", "css", "h", "html", "js", "md", "mjs", "mts", "proto", "py", "rs", "sh", "toml", "ts",
    "wat",
];
/// Not written by hand, or has to spell the phrases.
const EXEMPT: &[&str] = &["bench/results/", "xtask/src/tidy/words.rs"];

/// Checks every file that people write.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    files
        .iter()
        .filter(|file| EXTENSIONS.iter().any(|kind| file.has_extension(kind)))
        .filter(|file| EXEMPT.iter().all(|path| !file.path.starts_with(path)))
        .flat_map(riddles)
        .collect()
}

fn riddles(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut before = String::new();
    for (line, word) in words(file.text.as_deref().unwrap_or_default()) {
        let pair = format!("{before} {word}");
        let riddle = RIDDLES
            .iter()
            .find(|(phrase, _)| *phrase == word || *phrase == pair);
        if let Some((phrase, instead)) = riddle {
            let advice = format!("`{phrase}`: name the subject, such as {instead}");
            findings.push(Finding::new(&file.path, line, "riddle", advice));
        }
        before = word;
    }
    findings
}

/// The words of a text with their lines, in lower case. Marks of comments are no
/// words, so a phrase may go on in the next line; an identifier is one word.
fn words(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .map(move |word| (index + 1, word.to_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::text_file;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let findings = check(&[text_file(path, text)]);
        assert!(findings.iter().all(|found| found.rule == "riddle"));
        findings.iter().map(|found| found.line).collect()
    }

    #[test]
    fn subjects_that_hide_are_refused_in_comments_documents_and_messages() {
        let text = "//! For whoever asks.\n\n/// Somebody\n/// reads.\nlet x = \"anybody's\";\n";
        assert_eq!(lines("a.rs", text), [1, 3, 5]);
        assert_eq!(lines("docs/a.md", "It is\nfor EVERYBODY.\n"), [2]);
        assert_eq!(lines("a.html", "<p>Whoever serves it</p>"), [1]);
    }

    #[test]
    fn a_phrase_is_found_across_lines_of_a_comment() {
        assert_eq!(lines("a.rs", "// a body that nobody\n// wants\n"), [2]);
        assert_eq!(lines("a.js", "// told to who\n\n  // asks\n"), [3]);
        assert!(lines("a.rs", "// a body that nobody reads\n").is_empty());
    }

    #[test]
    fn identifiers_and_other_files_are_left_alone() {
        let text = "fn whoever_waits_is_woken() {} // `port::somebody_listens`\n";
        assert!(lines("a.rs", text).is_empty());
        assert!(lines("a.json", "whoever").is_empty());
        assert!(lines("bench/results/a.md", "whoever").is_empty());
    }

    #[test]
    fn the_finding_says_what_to_write_instead() {
        let found = check(&[text_file("a.rs", "// for whoever asks")]);
        assert_eq!(
            found[0].to_string(),
            "a.rs:1: [riddle] `whoever`: name the subject, such as the client, the caller, the \
             holder of the key, ..."
        );
    }
}
