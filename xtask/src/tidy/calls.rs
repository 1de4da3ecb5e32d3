//! Every host call is made by a guest in a test, and every guest has a test.
//!
//! Calls are made through the *probe*, a fixture that runs scripts of calls: it
//! has one method per row, of the row's name, which makes the call by its number,
//! and a test in `e2e/tests` uses it on a variable of the name `probe`. Methods of
//! the same name on something else are no calls. Scripts of noise draw from a list of
//! numbers, which has to be the table's.
//! Other guests are named by the test that runs them: `.wat` files by their
//! stem, crates below `guests/` by their folder.

use std::collections::BTreeSet;

use wapo_abi::{CALLS, CallInfo, GET_RETURN};

use super::{File, Finding};

const TABLE: &str = "crates/wapo-abi/src/calls.rs";
/// Where the probe's methods are.
const PROBE: &str = "e2e/src/probe/";
/// Draws calls for random scripts from its constant `CALLS`.
const NOISE: &str = "e2e/src/probe/noise.rs";
/// Where tests are.
const TESTS: &str = "e2e/tests/";
/// Folders whose crates are guests that a test runs.
const GUESTS: &[&str] = &["guests/fixtures/", "guests/examples/"];

/// Checks every row of the table and every guest.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = check_noise(files);
    for call in CALLS {
        let CallInfo { id, name, .. } = call;
        let mut found = |rule, advice: String| {
            findings.push(Finding::new(TABLE, row_line(files, call), rule, advice));
        };
        if !any(files, PROBE, |source| has_method(source, call)) {
            found(
                "call-fixture",
                format!(
                    "the probe lacks `{name}` ({id}), or it does not make call {id}; see {PROBE}"
                ),
            );
        }
        if !any(files, TESTS, |source| uses_probe(source, name)) {
            found(
                "call-test",
                format!("no test in {TESTS} makes the call `{name}` ({id}) with its `probe`"),
            );
        }
    }
    for file in files {
        if let Some(guest) = guest(file)
            && !files.iter().any(|test| names(test, guest))
        {
            let advice = format!("no test in e2e/ names the guest `{guest}`; add one");
            findings.push(Finding::new(&file.path, 0, "guest-test", advice));
        }
        if let Some(folder) = example(file)
            && files
                .iter()
                .all(|file| file.path != format!("{folder}/README.md"))
        {
            let advice = "an example has a README.md of some ten lines; write it";
            findings.push(Finding::new(&file.path, 0, "example-readme", advice));
        }
    }
    findings
}

/// A call that is not in the list is hardly ever drawn, by tests and by fuzzers.
fn check_noise(files: &[File]) -> Vec<Finding> {
    let file = files.iter().find(|file| file.path == NOISE);
    let text = file
        .and_then(|file| file.text.as_deref())
        .unwrap_or_default();
    let (before, list) = text
        .split_once("const CALLS: &[u32] = &[")
        .unwrap_or((text, ""));
    let list = list.split_once("];").map_or(list, |(list, _)| list);
    let numbers = list.split(',').map(str::trim);
    let listed: BTreeSet<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
    // Fetches the answer of a slow call; it has no row.
    let exist: BTreeSet<u32> = [GET_RETURN]
        .into_iter()
        .chain(CALLS.iter().map(|call| call.id))
        .collect();
    let shown = |ids: Vec<&u32>| {
        let ids: Vec<String> = ids.into_iter().map(u32::to_string).collect();
        ids.join(", ")
    };
    let line = before.lines().count() + 1;
    let lacks = exist.difference(&listed).collect::<Vec<_>>();
    let unknown = listed.difference(&exist).collect::<Vec<_>>();
    [
        (lacks, "lacks calls of the table: "),
        (unknown, "has what is no call: "),
    ]
    .into_iter()
    .filter(|(ids, _)| !ids.is_empty())
    .map(|(ids, what)| {
        let advice = format!("`CALLS` {what}{}", shown(ids));
        Finding::new(NOISE, line, "call-noise", advice)
    })
    .collect()
}

fn any(files: &[File], folder: &str, says: impl Fn(&str) -> bool) -> bool {
    files
        .iter()
        .filter(|file| file.path.starts_with(folder))
        .filter_map(|file| file.text_of("rs"))
        .any(says)
}

/// Whether this source has a method for the row that names the row's number.
fn has_method(source: &str, call: &CallInfo) -> bool {
    let begin = format!("fn {}(", call.name);
    let Some((_, rest)) = source.split_once(&begin) else {
        return false;
    };
    let body = rest.split("\n    }").next().unwrap_or(rest);
    has_word(body, &call.id.to_string())
}

/// Whether this source calls a method of this name on a `probe`.
fn uses_probe(source: &str, name: &str) -> bool {
    let call = format!(".{name}(");
    source.match_indices(&call).any(|(at, _)| {
        let receiver = source[..at].trim_end();
        let before = receiver.strip_suffix("probe");
        before.is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// The name of the guest that this file makes, if any.
fn guest(file: &File) -> Option<&str> {
    if file.path.starts_with("e2e/fixtures/") && file.has_extension("wat") {
        return Some(file.stem());
    }
    let folder = GUESTS
        .iter()
        .find_map(|folder| file.path.strip_prefix(folder))?;
    folder
        .strip_suffix("/Cargo.toml")
        .filter(|name| !name.contains('/'))
}

/// The folder of the example that this manifest describes.
fn example(file: &File) -> Option<&str> {
    let is_example = file.path.starts_with("guests/examples/");
    file.path.strip_suffix("/Cargo.toml").filter(|_| is_example)
}

/// Whether this is a test, or what tests use, and says the name.
fn names(test: &File, guest: &str) -> bool {
    let source = test.text_of("rs").filter(|_| test.path.starts_with("e2e/"));
    source.is_some_and(|source| has_word(source, guest))
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

    fn about(files: &[File], text: &str) -> Vec<&'static str> {
        let findings = check(files).into_iter();
        findings
            .filter(|found| found.advice.contains(text))
            .map(|found| found.rule)
            .collect()
    }

    #[test]
    fn a_call_needs_a_method_of_the_probe_and_a_test() {
        let probe = |body: &str| {
            let method = format!("    pub async fn close(&self) {{\n        {body}\n    }}\n");
            text_file("e2e/src/probe/calls.rs", &method)
        };
        let right = || probe("self.fast(101, [handle, 0, 0, 0])");
        let test = |text: &str| text_file("e2e/tests/e2e/calls.rs", text);
        let both = ["call-fixture", "call-test"];
        assert_eq!(about(&[], "`close` (101)"), both);
        assert_eq!(about(&[right()], "`close` (101)"), ["call-test"]);
        let used = || test("probe\n    .close(1).await");
        assert_eq!(about(&[right(), used()], "`close` (101)"), [] as [&str; 0]);
        // Another call, and something else that can be closed.
        let other = probe("self.fast(1010, [handle, 0, 0, 0])");
        assert_eq!(about(&[other, used()], "`close` (101)"), ["call-fixture"]);
        let page = test("page.close().await; no_probe.close()");
        assert_eq!(about(&[right(), page], "`close` (101)"), ["call-test"]);
    }

    #[test]
    fn scripts_of_noise_draw_from_all_calls_and_from_no_others() {
        let noise = |ids: &[u32]| {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            let list = format!(
                "//! A.\n\nconst CALLS: &[u32] = &[\n    {},\n];\n",
                ids.join(", ")
            );
            check_noise(&[text_file(NOISE, &list)])
        };
        let found = |ids: &[u32]| {
            let findings = noise(ids).into_iter();
            findings.map(|found| found.to_string()).collect::<Vec<_>>()
        };
        let mut ids: Vec<u32> = CALLS.iter().map(|call| call.id).collect();
        ids.push(GET_RETURN);
        assert_eq!(found(&ids), [] as [&str; 0]);
        let other = 299;
        ids.push(other);
        ids.retain(|id| *id != 101 && *id != 300);
        assert_eq!(
            found(&ids),
            [
                format!("{NOISE}:3: [call-noise] `CALLS` lacks calls of the table: 101, 300"),
                format!("{NOISE}:3: [call-noise] `CALLS` has what is no call: {other}"),
            ]
        );
        // Without the list none is drawn.
        assert_eq!(check_noise(&[]).len(), 1);
    }

    #[test]
    fn a_guest_needs_a_test_that_names_it() {
        let wat = || text_file("e2e/fixtures/lonely.wat", "");
        let example = || text_file("guests/examples/tcp-echo/Cargo.toml", "");
        let readme = || text_file("guests/examples/tcp-echo/README.md", "");
        let test = || text_file("e2e/tests/e2e/a.rs", "run(\"lonely\"); run(\"tcp-echo\")");
        assert_eq!(about(&[wat()], "lonely"), ["guest-test"]);
        assert_eq!(about(&[example()], "tcp-echo"), ["guest-test"]);
        assert_eq!(about(&[example()], "README"), ["example-readme"]);
        assert_eq!(about(&[wat(), test()], "lonely"), [] as [&str; 0]);
        assert_eq!(
            about(&[example(), readme(), test()], "tcp-echo"),
            [] as [&str; 0]
        );
        assert_eq!(
            about(&[example(), readme(), test()], "README"),
            [] as [&str; 0]
        );
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("start(\"tcp\")", "tcp"));
        assert!(!has_word("start(\"tcp_echo\")", "tcp"));
    }
}
