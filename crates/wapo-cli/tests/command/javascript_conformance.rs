//! Suites of the standards, run in the engine: Web Platform Tests as Debian's
//! source of nodejs carries them, and suites of ours in their form, some of them
//! over data of other packages (`cargo xtask conformance` fetches all of that).
//!
//! `guests/wapo-js/tests/conformance/expect` has the expectations, one file for an
//! area; `docs/conformance.md` has the counts, and is compared with them here.

use std::fs;
use std::path::Path;

use crate::support::ANY_PORT;
use crate::support::conformance::{self, counts};
use crate::support::running::Running;

/// Processor time of a request, which is a whole file of tests, in milliseconds.
const REQUEST_CPU_MS: &str = "300000";

/// Memory of the program: files of tests make large values, and all of their data
/// comes in one request.
const MEMORY: &str = "512M";

/// Areas, and what they are in the document.
const AREAS: &[(&str, &str)] = &[
    ("FileAPI", "File API"),
    ("WebCryptoAPI", "Web Cryptography"),
    ("console", "Console"),
    ("dom", "DOM: events, abort"),
    ("encoding", "Encoding"),
    ("hr-time", "High Resolution Time"),
    ("html", "HTML: base64, microtasks, structuredClone, timers"),
    ("performance-timeline", "Performance Timeline"),
    ("streams", "Streams"),
    ("url", "URL"),
    ("user-timing", "User Timing"),
    ("webidl", "Web IDL: exceptions"),
    ("own-url", "URL and URLPattern, data"),
    ("own-fetch", "Fetch, data: URLs, MIME types"),
    ("own-crypto", "Wycheproof"),
    ("own-language", "Programs that a parser accepts or refuses"),
];

async fn area(name: &str) {
    let place = tempfile::tempdir().expect("folder");
    let program = conformance::runner().display().to_string();
    let limit = format!("WAPO_JS_REQUEST_CPU_MS={REQUEST_CPU_MS}");
    let arguments = [&program, "--env", &limit, "--memory", MEMORY];
    let (running, address) = Running::serving(place.path(), ANY_PORT, &arguments).await;
    let wrong = conformance::area(&address, name).await;
    running.interrupt().await;
    assert!(wrong.is_empty(), "{name}: {}", conformance::shown(&wrong));
}

macro_rules! areas {
    ($($test:ident: $name:literal;)*) => {$(
        #[tokio::test]
        async fn $test() {
            assert!(AREAS.iter().any(|(known, _)| *known == $name), "tell of it in AREAS");
            area($name).await;
        }
    )*};
}

areas! {
    file_api: "FileAPI";
    web_crypto: "WebCryptoAPI";
    console: "console";
    dom: "dom";
    encoding: "encoding";
    hr_time: "hr-time";
    html: "html";
    performance_timeline: "performance-timeline";
    streams: "streams";
    url: "url";
    user_timing: "user-timing";
    web_idl: "webidl";
    own_url: "own-url";
    own_fetch: "own-fetch";
    own_crypto: "own-crypto";
    own_language: "own-language";
}

/// The lines of the document's table.
fn table() -> String {
    let mut lines = String::new();
    for (area, shown) in AREAS {
        let known: usize = conformance::expectations(area)
            .values()
            .flat_map(|expected| expected.known.values())
            .map(Vec::len)
            .sum();
        let [files, passed, not_run] = counts(area);
        let not_run = if not_run == 0 {
            String::new()
        } else {
            not_run.to_string()
        };
        let known = if known == 0 {
            String::new()
        } else {
            known.to_string()
        };
        lines += &format!("| {shown} | {files} | {passed} | {known} | {not_run} |\n");
    }
    lines
}

#[test]
fn the_document_has_the_counts() {
    let path = conformance::root().join("docs/conformance.md");
    let text = fs::read_to_string(&path).expect("the document");
    let wanted = with_table(&text, &table()).expect("the document has the table's head");
    if conformance::writes() {
        fs::write(&path, &wanted).expect("written");
    }
    let has = fs::read_to_string(&path).expect("the document");
    assert!(
        has == wanted,
        "docs/conformance.md has other counts than the expectations; run this with WAPO_CONFORMANCE=write"
    );
}

/// The document with these lines in its table of counts.
fn with_table(text: &str, lines: &str) -> Option<String> {
    let head = "| suite | files | tests right | known to differ | files not run |\n| --- | --- | --- | --- | --- |\n";
    let (before, after) = text.split_once(head)?;
    let (_, after) = after.split_once("\n\n")?;
    Some(format!("{before}{head}{lines}\n{after}"))
}

#[test]
fn every_file_of_expectations_is_of_an_area() {
    let folder = conformance::own().join("expect");
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.expect("a name").to_owned();
        let is_known = AREAS.iter().any(|(area, _)| *area == name);
        assert!(is_known && Path::new(&path).is_file(), "{name}");
    }
}
