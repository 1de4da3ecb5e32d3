//! Every promise of SPECIFICATION.md names tests or bench rows that exist.
//!
//! A promise is a list item that starts with its number: `1.2. …`. The tests
//! that hold it stand in backquotes after `Tests:`, as the path of a module
//! and a function (`lifecycle::restarts_after_a_trap`), or after `Bench:` as
//! the name of a row.

use std::collections::HashMap;

use syn::visit::{self, Visit};

use super::{File, Finding};

const SPECIFICATION: &str = "SPECIFICATION.md";

/// Checks the document against the functions marked as tests and the rows of
/// the bench.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path == SPECIFICATION) else {
        return Vec::new();
    };
    let tests = tests(files);
    let mut findings = Vec::new();
    let mut numbers = HashMap::new();
    for promise in promises(document.text.as_deref().unwrap_or_default()) {
        let mut found = |advice: String| {
            findings.push(Finding::new(
                SPECIFICATION,
                promise.line,
                "specification",
                advice,
            ));
        };
        if let Some(line) = numbers.insert(promise.number.clone(), promise.line) {
            found(format!("{} stands at line {line} already", promise.number));
        }
        if promise.tests.is_empty() && promise.rows.is_empty() {
            found(format!(
                "{} names no test; add `Tests: …` or `Bench: …`",
                promise.number
            ));
        }
        for name in &promise.tests {
            if !exists(&tests, name) {
                found(format!(
                    "{} names `{name}`, which is not a test",
                    promise.number
                ));
            }
        }
        for row in &promise.rows {
            if !is_row(files, row) {
                found(format!(
                    "{} names `{row}`, which no file of bench/ says",
                    promise.number
                ));
            }
        }
    }
    findings
}

struct Promise {
    number: String,
    line: usize,
    tests: Vec<String>,
    rows: Vec<String>,
}

fn promises(text: &str) -> Vec<Promise> {
    let mut promises: Vec<Promise> = Vec::new();
    // Which of the two lists the lines at hand belong to.
    let mut list = None;
    for (index, line) in text.lines().enumerate() {
        if let Some(number) = number(line) {
            list = None;
            let (tests, rows) = (Vec::new(), Vec::new());
            promises.push(Promise {
                number,
                line: index + 1,
                tests,
                rows,
            });
        } else if line.is_empty() || line.starts_with('#') {
            list = None;
        }
        let Some(promise) = promises.last_mut() else {
            continue;
        };
        let mut rest = line;
        for (mark, is_bench) in [("Tests:", false), ("Test:", false), ("Bench:", true)] {
            if let Some((_, after)) = line.split_once(mark) {
                list = Some(is_bench);
                rest = after;
            }
        }
        match list {
            Some(true) => promise.rows.extend(quoted(rest)),
            Some(false) => promise.tests.extend(quoted(rest)),
            None => {}
        }
    }
    promises
}

/// `1.2.` at the start of a line, perhaps after `- ` or in bold.
fn number(line: &str) -> Option<String> {
    let line = line.trim_start_matches(['-', '*', ' ']);
    let word = line.split_whitespace().next()?.trim_end_matches('*');
    let number = word.strip_suffix('.')?;
    let is_number = number.split('.').count() == 2
        && number
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    is_number.then(|| number.to_owned())
}

fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// File stems by the name of each test function in them.
fn tests(files: &[File]) -> HashMap<String, Vec<String>> {
    let mut tests: HashMap<String, Vec<String>> = HashMap::new();
    for file in files {
        let Some(parsed) = file
            .text_of("rs")
            .and_then(|text| syn::parse_file(text).ok())
        else {
            continue;
        };
        let mut names = TestNames(Vec::new());
        names.visit_file(&parsed);
        for name in names.0 {
            tests.entry(name).or_default().push(file.path.clone());
        }
    }
    tests
}

struct TestNames(Vec<String>);

impl<'ast> Visit<'ast> for TestNames {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        // `#[test]`, `#[tokio::test]`.
        let is_test = item.attrs.iter().any(|attribute| {
            attribute
                .path()
                .segments
                .last()
                .is_some_and(|segment| segment.ident == "test")
        });
        if is_test {
            self.0.push(item.sig.ident.to_string());
        }
        visit::visit_item_fn(self, item);
    }
}

/// `lifecycle::restarts`: a test `restarts` in a file whose path says `lifecycle`.
fn exists(tests: &HashMap<String, Vec<String>>, name: &str) -> bool {
    let mut parts: Vec<&str> = name.split("::").collect();
    let Some(files) = parts.pop().and_then(|function| tests.get(function)) else {
        return false;
    };
    files.iter().any(|file| {
        let path = file.trim_end_matches(".rs").replace('-', "_");
        parts
            .iter()
            .all(|part| path.split('/').any(|folder| folder == *part))
    })
}

fn is_row(files: &[File], row: &str) -> bool {
    files
        .iter()
        .filter(|file| file.path.starts_with("bench/"))
        .filter_map(|file| file.text_of("rs"))
        .any(|text| text.contains(&format!("{row:?}")))
}

#[cfg(test)]
mod tests {
    use super::super::text_file;
    use super::*;

    fn advice(document: &str) -> Vec<String> {
        let files = [
            text_file(SPECIFICATION, document),
            text_file(
                "e2e/tests/life.rs",
                "//! A.\n#[tokio::test]\nasync fn it_lives() {}\n",
            ),
            text_file("bench/src/main.rs", "//! A.\nconst ROW: &str = \"echo\";\n"),
        ];
        check(&files)
            .into_iter()
            .map(|finding| finding.advice)
            .collect()
    }

    #[test]
    fn a_promise_with_its_test_is_fine() {
        assert_eq!(
            advice("1.1. It lives. Tests: `life::it_lives`\n"),
            [] as [&str; 0]
        );
        assert_eq!(
            advice("- **1.1.** It lives.\n  Tests: `it_lives`,\n  `life::it_lives`\n"),
            [] as [&str; 0]
        );
        assert_eq!(advice("1.1. Fast. Bench: `echo`\n"), [] as [&str; 0]);
    }

    #[test]
    fn a_promise_without_test_is_found() {
        assert_eq!(
            advice("1.1. `code`.\n"),
            ["1.1 names no test; add `Tests: …` or `Bench: …`"]
        );
        assert_eq!(
            advice("1.1. A. Tests: `no`\n"),
            ["1.1 names `no`, which is not a test"]
        );
        assert_eq!(
            advice("1.1. A. Tests: `death::it_lives`\n"),
            ["1.1 names `death::it_lives`, which is not a test"]
        );
        assert_eq!(
            advice("1.1. A. Bench: `x`\n"),
            ["1.1 names `x`, which no file of bench/ says"]
        );
    }

    #[test]
    fn numbers_are_unique() {
        let text = "1.1. A. Tests: `it_lives`\n1.1. B. Tests: `it_lives`\n";
        assert_eq!(advice(text), ["1.1 stands at line 1 already"]);
    }
}
