//! Runs suites in the form of Web Platform Tests in the engine and compares with
//! what is expected: for each file how many tests are right, and which are known
//! not to be, with the reason.
//!
//! `WAPO_CONFORMANCE=write` writes what it finds instead; reasons are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::expectation;

/// The reason that a new failure gets when expectations are written. It has to be
/// replaced: with it the tests fail.
pub(crate) const NO_REASON: &str = "WHY?";

/// What is expected of the files of an area, by their paths within it.
pub(crate) type Expectations = BTreeMap<String, Expected>;

/// What is expected of a file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Expected {
    /// Tests that are right.
    #[serde(default)]
    pub(crate) passed: usize,
    /// Names of tests that are not, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) known: BTreeMap<String, Vec<String>>,
    /// The only one of its variants that is run, as its address has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    /// Why the file is not run at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_run: Option<String>,
}

/// What a file did.
#[derive(Debug, Deserialize)]
struct Outcome {
    passed: usize,
    failed: Vec<(String, String)>,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Our part of the suites.
pub(crate) fn own() -> PathBuf {
    root().join("guests/wapo-js/tests/conformance")
}

/// The program that runs a file for each request.
pub(crate) fn runner() -> PathBuf {
    own().join("runner.js")
}

/// What `cargo xtask conformance` fetched.
fn fetched() -> PathBuf {
    let folder = root().join("target/conformance");
    assert!(
        folder.join("stamp").exists(),
        "fetch the suites first: cargo xtask conformance"
    );
    folder
}

/// Expectations are written, not compared.
#[allow(clippy::disallowed_methods, reason = "a person asks for it")]
pub(crate) fn writes() -> bool {
    std::env::var_os("WAPO_CONFORMANCE").is_some_and(|value| value == "write")
}

/// The file of an area's expectations.
pub(crate) fn expectations_path(area: &str) -> PathBuf {
    own().join("expect").join(format!("{area}.json"))
}

/// Where the harness of interfaces decides which of them are tested, and what is put
/// there: those that workers of browsers have. It knows of no other global object
/// without a document.
const EXPOSED: &str = "function exposed_in(globals) {";
const EXPOSED_HERE: &str = "return globals === '*' || globals.has('DedicatedWorker');";

/// What is expected of an area.
pub(crate) fn expectations(area: &str) -> Expectations {
    let path = expectations_path(area);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        Err(_) if writes() => Expectations::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Runs all files of an area, and says what is not as expected. An area is a
/// folder of Web Platform Tests, or `own-NAME` for a folder of ours.
pub(crate) async fn area(address: &str, area: &str) -> Vec<String> {
    let folder = match area.strip_prefix("own-") {
        Some(name) => format!("/own/{name}"),
        None => format!("/{area}"),
    };
    let expected = expectations(area);
    let mut files = BTreeSet::new();
    list(&located(&folder), "", &mut files);
    let mut found = Expectations::new();
    let mut wrong: Vec<String> = expected
        .keys()
        .filter(|file| !files.contains(*file))
        .map(|file| format!("{file}: there is no such file"))
        .collect();
    for file in &files {
        let before = expected.get(file);
        if let Some(Expected {
            not_run: Some(_), ..
        }) = before
        {
            found.insert(file.clone(), before.cloned().unwrap_or_default());
            continue;
        }
        let before = before.cloned().unwrap_or_default();
        let variant = before.variant.as_deref().unwrap_or_default();
        let outcome = run(address, &format!("{folder}/{file}"), variant).await;
        wrong.extend(differences(&before, &outcome).map(|text| format!("{file}: {text}")));
        found.insert(file.clone(), renewed(&before, &outcome));
    }
    if writes() {
        let text = serde_json::to_string_pretty(&found).expect("JSON");
        fs::write(expectations_path(area), text + "\n").expect("written");
        wrong.clear();
    }
    wrong
}

/// Where a path of the suites is: ours, data of packages, or Web Platform Tests.
fn located(path: &str) -> PathBuf {
    let path = path.trim_start_matches('/');
    // The server of Web Platform Tests has one file under two names.
    let path = match path {
        "resources/WebIDLParser.js" => "resources/webidl2/lib/webidl2.js",
        path => path,
    };
    match path.split_once('/') {
        Some(("own", rest)) => own().join("own").join(rest),
        Some(("data", _)) => fetched().join(path),
        _ => fetched().join("wpt").join(path),
    }
}

/// Adds the tests below a folder, by their paths within it.
fn list(folder: &Path, prefix: &str, out: &mut BTreeSet<String>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.is_dir() {
            list(&path, &format!("{prefix}{name}/"), out);
        } else if name.ends_with(".any.js") {
            out.insert(format!("{prefix}{name}"));
        }
    }
}

/// Runs one file: the scripts that it names, then itself.
async fn run(address: &str, path: &str, variant: &str) -> Outcome {
    let read = |path: &str| {
        fs::read_to_string(located(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let text = read(path);
    let scripts = text
        .lines()
        .take_while(|line| line.starts_with("//"))
        .filter_map(|line| line.strip_prefix("// META: script="));
    let mut sources = Vec::new();
    let mut files = BTreeMap::new();
    for script in scripts {
        let mut source = read(&resolved(path, script.trim()));
        if script.ends_with("/idlharness.js") {
            let at = source
                .find(EXPOSED)
                .expect("the harness asks what is exposed")
                + EXPOSED.len();
            source.insert_str(at, EXPOSED_HERE);
            files.extend(interfaces());
        }
        sources.push(source);
    }
    sources.push(text.clone());
    for source in &sources {
        for name in fetches(source) {
            if let Ok(text) = fs::read_to_string(located(&resolved(path, &name))) {
                files.insert(name, text);
            }
        }
    }
    let harness = read("/resources/testharness.js");
    let job = json!({
        "harness": harness, "sources": sources, "files": files, "path": path, "search": variant,
    });
    let answer = expectation::post(address, &job.to_string()).await;
    serde_json::from_str(&answer).unwrap_or_else(|_| Outcome {
        passed: 0,
        failed: vec![("(the file)".into(), format!("the engine answered {answer}"))],
    })
}

/// The files that the harness of interfaces fetches, by the names that it makes.
fn interfaces() -> BTreeMap<String, String> {
    let folder = located("/interfaces");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("interfaces: {error}"));
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let text = fs::read_to_string(&path).expect("a text");
        files.insert(format!("/interfaces/{name}"), text);
    }
    files
}

/// The literal names in calls of `fetch`.
fn fetches(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, call) in source.match_indices("fetch(") {
        let rest = &source[at + call.len()..];
        let Some(quote) = rest.chars().next().filter(|first| "\"'".contains(*first)) else {
            continue;
        };
        let name = rest[1..].split(quote).next().unwrap_or_default();
        if !name.contains(':') {
            found.push(name.to_owned());
        }
    }
    found
}

/// A reference in a file, as a path of the suites.
fn resolved(file: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in reference.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What differs between expectation and outcome.
fn differences(expected: &Expected, outcome: &Outcome) -> impl Iterator<Item = String> {
    let mut wrong = Vec::new();
    let known: Vec<(&String, &String)> = expected
        .known
        .iter()
        .flat_map(|(reason, names)| names.iter().map(move |name| (reason, name)))
        .collect();
    for (name, message) in &outcome.failed {
        if !known.iter().any(|(_, pattern)| fits(pattern, name)) {
            wrong.push(format!("{name:?} is wrong: {message}"));
        }
    }
    for (reason, pattern) in known {
        if !outcome.failed.iter().any(|(name, _)| fits(pattern, name)) {
            wrong.push(format!("{pattern:?} is right now; update the expectations"));
        }
        if reason == NO_REASON {
            wrong.push(format!("{pattern:?} is known to be wrong without a reason"));
        }
    }
    if outcome.passed != expected.passed {
        wrong.push(format!(
            "{} tests are right, {} were expected; if that is progress, update the expectations",
            outcome.passed, expected.passed
        ));
    }
    wrong.into_iter()
}

/// The name is the pattern, or begins as one that ends with a star.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// Expectations of what was found; reasons that were known stay.
fn renewed(before: &Expected, outcome: &Outcome) -> Expected {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, _) in &outcome.failed {
        let old = before.known.iter().find_map(|(reason, patterns)| {
            let pattern = patterns.iter().find(|pattern| fits(pattern, name))?;
            Some((reason.clone(), pattern.clone()))
        });
        let (reason, pattern) = old.unwrap_or_else(|| (NO_REASON.to_owned(), name.clone()));
        let patterns = known.entry(reason).or_default();
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    Expected {
        passed: outcome.passed,
        known,
        variant: before.variant.clone(),
        not_run: None,
    }
}

/// Counts of an area: files, tests that are right, that are known not to be, files that are not run.
pub(crate) fn counts(area: &str) -> [usize; 3] {
    let all = expectations(area);
    let is_run = |expected: &&Expected| expected.not_run.is_none();
    let run = all.values().filter(is_run);
    let passed = run.clone().map(|expected| expected.passed).sum();
    let files = run.count();
    [files, passed, all.len() - files]
}

/// For messages of failures: pretty JSON of a value.
pub(crate) fn shown(wrong: &[String]) -> String {
    let value = Value::from(wrong.to_vec());
    serde_json::to_string_pretty(&value).unwrap_or_default()
}
