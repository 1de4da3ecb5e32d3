//! Every host call has a fixture that makes it, every fixture a test.
//!
//! Fixtures are guests: `.wat` files, which call by number, and Rust programs,
//! which call by name. A test names its fixture by the file's stem.

use wapo_abi::{CALLS, CallInfo};

use super::{File, Finding};

const TABLE: &str = "crates/wapo-abi/src/calls.rs";
/// Folders whose files are fixtures.
const FIXTURES: &[&str] = &[
    "e2e/fixtures/",
    "guests/fixtures/",
    "crates/wapo-host/tests/",
];
/// Folders in which tests are looked for.
const TESTS: &[&str] = &["e2e/", "crates/wapo-host/"];

/// Checks every row of the table and every fixture.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let fixtures: Vec<&File> = files.iter().filter(|file| is_in(file, FIXTURES)).collect();
    for call in CALLS {
        if !fixtures.iter().any(|fixture| calls(fixture, call)) {
            let advice = format!(
                "no fixture calls {} ({}); add one to e2e/fixtures or guests/fixtures",
                call.name, call.id
            );
            findings.push(Finding::new(
                TABLE,
                row_line(files, call),
                "call-fixture",
                advice,
            ));
        }
    }
    for fixture in fixtures.iter().filter(|fixture| is_program(fixture)) {
        if !files.iter().any(|file| names_fixture(file, fixture)) {
            let advice = format!("no test names the fixture `{}`; add one", fixture.stem());
            findings.push(Finding::new(&fixture.path, 0, "fixture-test", advice));
        }
    }
    findings
}

fn is_in(file: &File, folders: &[&str]) -> bool {
    folders.iter().any(|folder| file.path.starts_with(folder))
}

/// Tests in crates/ bring their fixtures along as text.
fn is_program(file: &File) -> bool {
    let is_rust_program = file.has_extension("rs") && file.path.contains("/bin/");
    is_rust_program || (file.has_extension("wat") && is_in(file, FIXTURES))
}

fn calls(file: &File, call: &CallInfo) -> bool {
    let text = file.text.as_deref().unwrap_or_default();
    let by_number = text.contains(&format!("(i32.const {})", call.id));
    let by_name = file.has_extension("rs") && text.contains(&format!("sys::{}(", call.name));
    by_number || by_name
}

fn names_fixture(file: &File, fixture: &File) -> bool {
    let is_test = file.has_extension("rs") && file.path != fixture.path && is_in(file, TESTS);
    is_test
        && file
            .text
            .as_deref()
            .is_some_and(|text| has_word(text, fixture.stem()))
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

fn row_line(files: &[File], call: &CallInfo) -> usize {
    let table = files.iter().find(|file| file.path == TABLE);
    let text = table
        .and_then(|file| file.text.as_deref())
        .unwrap_or_default();
    let row = format!(" {} {}(", call.id, call.name);
    // The last one: the table's documentation shows a row as well.
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(&row));
    lines.last().map_or(0, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::super::text_file;
    use super::*;

    fn row(id: u32) -> &'static CallInfo {
        CALLS.iter().find(|call| call.id == id).expect("row")
    }

    #[test]
    fn a_fixture_calls_by_number_or_by_name() {
        let wat = text_file(
            "e2e/fixtures/a.wat",
            "(call $fast (local.get 0) (i32.const 101))",
        );
        assert!(calls(&wat, row(101)));
        assert!(!calls(&wat, row(102)));
        let rust = text_file("guests/fixtures/src/bin/a.rs", "wapo::sys::close(h)");
        assert!(calls(&rust, row(101)));
        assert!(!calls(&rust, row(102)));
    }

    #[test]
    fn a_call_without_fixture_and_a_fixture_without_test_are_found() {
        let findings = check(&[text_file("e2e/fixtures/lonely.wat", "(i32.const 101)")]);
        assert_eq!(findings.len(), CALLS.len());
        assert!(
            findings
                .iter()
                .all(|found| !found.advice.contains("calls close "))
        );
        assert!(findings.iter().any(|found| found.rule == "fixture-test"));
        let findings = check(&[
            text_file("e2e/fixtures/tested.wat", "(i32.const 101)"),
            text_file("e2e/tests/a.rs", "start(\"tested\")"),
        ]);
        assert!(findings.iter().all(|found| found.rule != "fixture-test"));
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("start(\"tcp\")", "tcp"));
        assert!(!has_word("start(\"tcp_echo\")", "tcp"));
    }
}
